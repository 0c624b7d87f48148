package ei

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// An elixirAtom is how Elixir writes an atom.
type elixirAtom int8

const (
	atomQuoted     elixirAtom = iota // :"a b"
	atomAlias                        // Shop.Order
	atomIdentifier                   // :ok
	atomOperator                     // :+
	// :Foo, :{}, which are written so, but in quotes behind a point
	atomUncallable
	// :"::", which is written so, but without quotes behind a point
	atomQuotedOperator
)

// elixirSigns are the atoms of signs that are read without quotes, longer ones first.
var elixirSigns = []string{"..//", "<<>>", "%{}", "...", "&&&", "|||", "<<<", ">>>", "<<~", "~>>", "<~>", "===", "!==", "+++", "---",
	"~~~", "^^^", "<|>", "{}", "<-", `\\`, "||", "&&", "==", "!=", "=~", "<=", ">=", "|>", "<~", "~>", "++", "--", "..", "<>", "**",
	"->", "%", "&", "!", "^", "+", "-", "@", "|", "=", "<", ">", "*", "/", "."}

// elixirAtomOf says how Elixir writes an atom: Macro.classify_atom.
func elixirAtomOf(a Atom) elixirAtom {
	switch a {
	case "%", "%{}", "{}", "<<>>", "...", "..", ".", "..//", "->":
		return atomUncallable
	case "::", "^^^", "~~~", "<|>":
		return atomQuotedOperator
	case "and", "or", "in", "not", "when":
		return atomOperator
	}
	s := string(a)
	if rest, ok := strings.CutPrefix(s, "Elixir"); ok && isAliasRest(rest) {
		return atomAlias
	}
	if slices.Contains(elixirSigns, s) {
		return atomOperator
	}
	end := elixirWord(s, isElixirLatin1)
	switch {
	case end == 0 || end < len(s):
		return atomQuoted
	case strings.Contains(s, "@") || isElixirUpper(s):
		return atomUncallable
	}
	return atomIdentifier
}

// isAliasRest reports whether s is what may follow Elixir in the name of a module: parts that begin
// with a point and a capital.
func isAliasRest(s string) bool {
	for s != "" {
		if len(s) < 2 || s[0] != '.' || s[1] < 'A' || s[1] > 'Z' {
			return false
		}
		s = s[aliasPart(s[1:])+1:]
	}
	return true
}

// aliasPart gives the length of the part of a module's name that s begins with.
func aliasPart(s string) int {
	n := 0
	for n < len(s) && s[n] != '@' && isNameByte(s[n]) {
		n++
	}
	return n
}

// elixirWord gives the length of the identifier that s begins with, ? or ! at its end included.
// Letters beyond ASCII are those that isLetter takes.
func elixirWord(s string, isLetter func(r rune) bool) int {
	end := 0
	for end < len(s) {
		r, n := utf8.DecodeRuneInString(s[end:])
		switch {
		case r < utf8.RuneSelf && isNameByte(byte(r)) && (end > 0 || r != '@' && (r < '0' || r > '9')),
			r >= utf8.RuneSelf && isLetter(r):
			end += n
			continue
		case end > 0 && (r == '?' || r == '!'):
			end++
		}
		break
	}
	return end
}

// isElixirLatin1 reports whether r is a letter of Latin-1, which Elixir takes for one in every
// identifier.
func isElixirLatin1(r rune) bool { return r >= 0xc0 && r <= 0xff && r != 0xd7 && r != 0xf7 }

func isElixirUpper(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return r >= 'A' && r <= 'Z' || r >= 0xc0 && r <= 0xde
}

// appendElixirAtom appends an atom: Macro.inspect_atom(:literal, a).
func appendElixirAtom(b []byte, a Atom) []byte {
	if a == "nil" || a == "true" || a == "false" {
		return append(b, a...)
	}
	switch elixirAtomOf(a) {
	case atomAlias:
		if rest := strings.TrimPrefix(string(a), "Elixir."); rest != "Elixir" && !strings.HasPrefix(rest, "Elixir.") {
			return append(b, rest...)
		}
		return append(b, a...)
	case atomQuoted, atomQuotedOperator:
		return append(appendElixirQuoted(append(b, `:"`...), string(a)), '"')
	}
	return append(append(b, ':'), a...)
}

// appendElixirKey appends an atom as a keyword, with the space behind it: Macro.inspect_atom(:key,
// a).
func appendElixirKey(b []byte, a Atom) []byte {
	switch elixirAtomOf(a) {
	case atomAlias, atomQuoted, atomQuotedOperator:
		return append(appendElixirQuoted(append(b, '"'), string(a)), `": `...)
	}
	return append(append(b, a...), ": "...)
}

// appendElixirName appends an atom as the name of a function behind a point:
// Macro.inspect_atom(:remote_call, a).
func appendElixirName(b []byte, a Atom) []byte {
	switch elixirAtomOf(a) {
	case atomIdentifier, atomOperator, atomQuotedOperator:
		return append(b, a...)
	}
	return append(appendElixirQuoted(append(b, '"'), string(a)), '"')
}

// appendElixirQuoted appends what stands between double quotes.
func appendElixirQuoted(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n <= 1:
			b = appendElixirEscape(b, `\x`, rune(s[i]), 2)
		case r == '"' || r == '\\' || r == '#' && strings.HasPrefix(s[i:], "#{"):
			b = append(b, '\\', byte(r))
		case r >= 7 && r <= 13:
			b = append(b, '\\', "abtnvfr"[r-7])
		case r == 0x1b:
			b = append(b, `\e`...)
		case r == 0x7f:
			b = append(b, `\d`...)
		case r == 0:
			b = append(b, `\0`...)
		case r < ' ':
			b = appendElixirEscape(b, `\x`, r, 2)
		case isElixirHidden(r):
			b = appendElixirEscape(b, `\u`, r, 4)
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return b
}

// isElixirHidden reports whether Elixir shows the number of a character in place of it: what
// cannot be seen, or changes the direction of what follows.
func isElixirHidden(r rune) bool {
	switch {
	case r >= 0x80 && r <= 0xa0, r == 0x34f, r == 0x61c,
		r >= 0x2000 && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x205f && r <= 0x2064,
		r >= 0x2066 && r <= 0x2069, r == 0xfeff, r >= 0xfff9 && r <= 0xfffc, r == 0xfffe, r == 0xffff:
		return true
	}
	return false
}

// appendElixirEscape appends the number of a character in so many digits.
func appendElixirEscape(b []byte, escape string, r rune, digits int) []byte {
	b = append(b, escape...)
	hex := strings.ToUpper(strconv.FormatUint(uint64(r), 16))
	for range digits - len(hex) {
		b = append(b, '0')
	}
	return append(b, hex...)
}
