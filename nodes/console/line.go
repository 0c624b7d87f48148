package console

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/cnode-go/cnode/ei"
)

// What is typed, and shown, as terms.

var (
	isWord     = regexp.MustCompile(`^[\pL\pN_@.:?!/*-]+$`)
	isShortPid = regexp.MustCompile(`^(?:#PID)?<\d+\.(\d+)\.(\d+)>$`)
)

// parse reads a line: a name, and arguments with spaces or commas between them, also in
// parentheses; a full stop may end it.
func (s *session) parse(line string) (name string, args []ei.Term, err error) {
	line = strings.TrimSpace(line)
	end := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-' })
	if end < 0 {
		return line, nil, nil
	}
	name, rest := line[:end], strings.TrimSpace(strings.TrimSuffix(line[end:], "."))
	if name == "" {
		return line, nil, nil // there is no such command
	}
	if strings.HasPrefix(rest, "(") && strings.HasSuffix(rest, ")") {
		rest = rest[1 : len(rest)-1]
	}
	words, _ := split(rest, s.elixir)
	for _, word := range words {
		arg, err := s.term(word)
		if err != nil {
			return name, nil, err
		}
		args = append(args, arg)
	}
	return name, args, nil
}

// split takes text apart at spaces and commas, except within brackets and quotes. last is the
// beginning of a word that the text ends with.
func split(text string, elixir bool) (words []string, last string) {
	var word strings.Builder
	depth, quote, begins := 0, rune(0), true
	isChar := map[bool]rune{false: '$', true: '?'}[elixir] // $a, ?a
	var before rune
	skip := false
	for _, r := range text {
		arrow := r == '>' && (before == '=' || before == '-')
		before = r
		switch {
		case skip:
			skip = false
		case r == '\\':
			skip = true
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'':
			quote = r
		case r == isChar && (begins || !elixir):
			skip = true
		case strings.ContainsRune("([{<", r):
			depth++
		case strings.ContainsRune(")]}>", r) && !arrow:
			depth--
		case depth <= 0 && (r == ',' || unicode.IsSpace(r)):
			if word.Len() > 0 {
				words = append(words, word.String())
				word.Reset()
			}
			begins = true
			continue
		}
		begins = strings.ContainsRune("([{<, ", r)
		word.WriteRune(r)
	}
	if last = word.String(); last != "" {
		words = append(words, last)
	}
	return words, last
}

// term is what a word is: a pid as the tables show it, a term, or else an atom.
func (s *session) term(word string) (t ei.Term, err error) {
	if m := isShortPid.FindStringSubmatch(word); m != nil {
		id, err1 := strconv.ParseUint(m[1], 10, 32)
		serial, err2 := strconv.ParseUint(m[2], 10, 32)
		return ei.Pid{Node: ei.Atom(s.c.n.Name()), ID: uint32(id), Serial: uint32(serial), Creation: s.c.n.Creation()}, cmp.Or(err1, err2)
	}
	if s.elixir {
		t, err = ei.ParseElixir(word)
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
	o := ei.EncodeOptions{Absent: "undefined"}
	if s.elixir {
		o.Absent = "nil"
	}
	raw, err := o.Append(nil, v)
	if err != nil {
		return "", err
	}
	t, err := ei.Raw(raw).Decode()
	switch {
	case err != nil:
		return "", err
	case s.elixir:
		return string(ei.AppendElixir(nil, t)), nil
	}
	return string(ei.AppendText(nil, t)), nil
}

// atom is an atom as it is typed: a word where that will do.
func (s *session) atom(a ei.Atom) string {
	if t, err := s.term(string(a)); err == nil && t == a && isWord.MatchString(string(a)) {
		return string(a)
	}
	text, _ := s.show(a)
	return text
}

// pid is a pid as tables show it.
func (s *session) pid(p ei.Pid) string {
	if string(p.Node) != s.c.n.Name() {
		text, _ := s.show(p)
		return text
	}
	text := "<0." + strconv.Itoa(int(p.ID)) + "." + strconv.Itoa(int(p.Serial)) + ">"
	if s.elixir {
		text = "#PID" + text
	}
	return text
}

func charlist(text string) ei.List {
	list := ei.List{}
	for _, r := range text {
		list = append(list, ei.Int(r))
	}
	return list
}
