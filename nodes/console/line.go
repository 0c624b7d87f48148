package console

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
)

// What is typed, and shown: terms.

var (
	isWord       = regexp.MustCompile(`^[\pL\pN_@.:?!/*-]+$`)
	isErlangCall = regexp.MustCompile(`^(\p{Ll}[\pL\pN_@]*|'(?:[^'\\]|\\.)*')\s*:\s*(\p{Ll}[\pL\pN_@]*|'(?:[^'\\]|\\.)*')`)
	isElixirCall = regexp.MustCompile(`^(:[\p{Ll}_][\pL\pN_@]*|:"(?:[^"\\]|\\.)*"|\p{Lu}[\pL\pN_]*(?:\.\p{Lu}[\pL\pN_]*)*)` +
		`\.([\p{Ll}_][\pL\pN_]*[?!]?)`)
	isShortPid = regexp.MustCompile(`^(?:#PID)?<\d+\.(\d+)\.(\d+)>$`)
)

// parse reads a line: a name, or a function and its module, and arguments with spaces or commas
// between them, also in parentheses; a full stop may end it.
func (s *session) parse(line string) (t typed, err error) {
	line = strings.TrimSpace(line)
	rest, isCall := s.parseCall(line, &t)
	if !isCall {
		end := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-' })
		if end <= 0 { // there are no arguments; or no name
			t.name = line
			return t, nil
		}
		t.name, rest = line[:end], line[end:]
	}
	rest = strings.TrimSpace(strings.TrimSuffix(rest, "."))
	if strings.HasPrefix(rest, "(") && strings.HasSuffix(rest, ")") {
		rest = rest[1 : len(rest)-1]
	}
	words, last := split(rest, s.elixir)
	if last != "" {
		words = append(words, last)
	}
	for _, word := range words {
		arg, err := s.term(word)
		if err != nil {
			return t, err
		}
		t.args = append(t.args, arg)
	}
	return t, nil
}

// parseCall reads the function that a line begins with, and its module; false: it does not.
func (s *session) parseCall(line string, t *typed) (rest string, ok bool) {
	is, read := isErlangCall, ei.Parse
	if s.elixir {
		is, read = isElixirCall, elixir.Parse
	}
	m := is.FindStringSubmatch(line)
	if m == nil {
		return line, false
	}
	module, err := read(m[1])
	name := ei.Term(ei.Atom(m[2]))
	if err == nil && !s.elixir {
		name, err = read(m[2])
	}
	moduleName, ok1 := module.(ei.Atom)
	function, ok2 := name.(ei.Atom)
	t.module, t.name = string(moduleName), string(function)
	return line[len(m[0]):], err == nil && ok1 && ok2
}

// split takes text apart at spaces and commas, except within brackets and quotes. last is the word
// that the text ends with.
func split(text string, elixir bool) (words []string, last string) {
	depth, quote, before, begin := 0, rune(0), ' ', 0
	for i, r := range text {
		was := before
		before = r
		switch {
		case was == '\\', was == '$' && !elixir, was == '?' && elixir && i-begin == 1:
			before = 0 // a character, whatever it is
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'':
			quote = r
		case strings.ContainsRune("([{<", r):
			depth++
		case strings.ContainsRune(")]}>", r):
			if r != '>' || was != '=' { // an arrow is no bracket
				depth--
			}
		case depth <= 0 && (r == ',' || unicode.IsSpace(r)):
			if i > begin {
				words = append(words, text[begin:i])
			}
			begin = i + 1
		}
	}
	return words, text[begin:]
}

// term is what a word is: a pid as the tables show it, a term, or else an atom.
func (s *session) term(word string) (t ei.Term, err error) {
	if m := isShortPid.FindStringSubmatch(word); m != nil {
		id, err1 := strconv.ParseUint(m[1], 10, 32)
		serial, err2 := strconv.ParseUint(m[2], 10, 32)
		return ei.Pid{Node: ei.Atom(s.c.n.Name()), ID: uint32(id), Serial: uint32(serial), Creation: s.c.n.Creation()}, cmp.Or(err1, err2)
	}
	if s.elixir {
		t, err = elixir.Parse(word)
	} else {
		t, err = ei.Parse(word)
	}
	if err != nil && isWord.MatchString(word) {
		return ei.Atom(word), nil
	}
	return t, err
}

// show is a value in the user's syntax.
func (s *session) show(v any) (string, error) {
	o, text := ei.EncodeOptions{Absent: "undefined"}, ei.AppendText
	if s.elixir {
		o, text = ei.EncodeOptions{Absent: "nil"}, elixir.AppendText
	}
	raw, err := o.Append(nil, v)
	return string(text(nil, ei.Raw(raw))), err
}

// atom is an atom as it is typed: a word where that will do.
func (s *session) atom(a ei.Atom) string {
	if t, err := s.term(string(a)); err == nil && t == a {
		return string(a)
	}
	text, _ := s.show(a)
	return text
}

// pid is a pid as tables show it.
func (s *session) pid(p ei.Pid) (text string) {
	switch {
	case p.Node == "":
	case string(p.Node) != s.c.n.Name():
		text, _ = s.show(p)
	case s.elixir:
		text = fmt.Sprintf("#PID<0.%d.%d>", p.ID, p.Serial)
	default:
		text = fmt.Sprintf("<0.%d.%d>", p.ID, p.Serial)
	}
	return text
}
