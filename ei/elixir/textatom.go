package elixir

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
)

// An atomForm is how Elixir writes an atom.
type atomForm int8

const (
	atomQuoted     atomForm = iota // :"a b"
	atomAlias                      // Shop.Order
	atomIdentifier                 // :ok
	atomOperator                   // :+
	// :Foo, :{}, which are written so, but in quotes behind a point
	atomUncallable
	// :"::", which is written so, but without quotes behind a point
	atomQuotedOperator
)

// signs are the atoms of signs that are read without quotes, longer ones first.
var signs = []string{"..//", "<<>>", "%{}", "...", "&&&", "|||", "<<<", ">>>", "<<~", "~>>", "<~>", "===", "!==", "+++", "---",
	"~~~", "^^^", "<|>", "{}", "<-", `\\`, "||", "&&", "==", "!=", "=~", "<=", ">=", "|>", "<~", "~>", "++", "--", "..", "<>", "**",
	"->", "%", "&", "!", "^", "+", "-", "@", "|", "=", "<", ">", "*", "/", "."}

// atomFormOf says how Elixir writes an atom: Macro.classify_atom.
func atomFormOf(a ei.Atom) atomForm {
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
	if slices.Contains(signs, s) {
		return atomOperator
	}
	end := wordLen(s, isLatin1)
	switch {
	case end == 0 || end < len(s):
		return atomQuoted
	case strings.Contains(s, "@") || isUpper(s):
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

// wordLen gives the length of the identifier that s begins with, ? or ! at its end included.
// Letters beyond ASCII are those that isLetter takes.
func wordLen(s string, isLetter func(r rune) bool) int {
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

// isLatin1 reports whether r is a letter of Latin-1, which Elixir takes for one in every
// identifier.
func isLatin1(r rune) bool { return r >= 0xc0 && r <= 0xff && r != 0xd7 && r != 0xf7 }

func isUpper(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return r >= 'A' && r <= 'Z' || r >= 0xc0 && r <= 0xde
}

// appendAtom appends an atom: Macro.inspect_atom(:literal, a).
func appendAtom(b []byte, a ei.Atom) []byte {
	if a == "nil" || a == "true" || a == "false" {
		return append(b, a...)
	}
	switch atomFormOf(a) {
	case atomAlias:
		if rest := strings.TrimPrefix(string(a), "Elixir."); rest != "Elixir" && !strings.HasPrefix(rest, "Elixir.") {
			return append(b, rest...)
		}
		return append(b, a...)
	case atomQuoted, atomQuotedOperator:
		return append(appendQuoted(append(b, `:"`...), string(a)), '"')
	}
	return append(append(b, ':'), a...)
}

// appendKey appends an atom as a keyword, with the space behind it: Macro.inspect_atom(:key,
// a).
func appendKey(b []byte, a ei.Atom) []byte {
	switch atomFormOf(a) {
	case atomAlias, atomQuoted, atomQuotedOperator:
		return append(appendQuoted(append(b, '"'), string(a)), `": `...)
	}
	return append(append(b, a...), ": "...)
}

// appendName appends an atom as the name of a function behind a point:
// Macro.inspect_atom(:remote_call, a).
func appendName(b []byte, a ei.Atom) []byte {
	switch atomFormOf(a) {
	case atomIdentifier, atomOperator, atomQuotedOperator:
		return append(b, a...)
	}
	return append(appendQuoted(append(b, '"'), string(a)), '"')
}

// appendQuoted appends what stands between double quotes.
func appendQuoted(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n <= 1:
			b = appendEscape(b, `\x`, rune(s[i]), 2)
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
			b = appendEscape(b, `\x`, r, 2)
		case isHidden(r):
			b = appendEscape(b, `\u`, r, 4)
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return b
}

// isHidden reports whether Elixir shows the number of a character in place of it: what
// cannot be seen, or changes the direction of what follows.
func isHidden(r rune) bool {
	switch {
	case r >= 0x80 && r <= 0xa0, r == 0x34f, r == 0x61c,
		r >= 0x2000 && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x205f && r <= 0x2064,
		r >= 0x2066 && r <= 0x2069, r == 0xfeff, r >= 0xfff9 && r <= 0xfffc, r == 0xfffe, r == 0xffff:
		return true
	}
	return false
}

// appendEscape appends the number of a character in so many digits.
func appendEscape(b []byte, escape string, r rune, digits int) []byte {
	b = append(b, escape...)
	hex := strings.ToUpper(strconv.FormatUint(uint64(r), 16))
	for range digits - len(hex) {
		b = append(b, '0')
	}
	return append(b, hex...)
}

func isNameByte(x byte) bool {
	return x >= 'a' && x <= 'z' || x >= 'A' && x <= 'Z' || x >= '0' && x <= '9' || x == '_' || x == '@'
}
