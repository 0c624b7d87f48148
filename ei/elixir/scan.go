package elixir

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/internal/scan"
)

var language = scan.Language{
	LastComma: true,
	Comment:   '#', NoComment: func(rest string) bool { return opaqueHead(rest) != "" },
	IsVariable: func(first rune) bool { return unicode.IsUpper(first) || unicode.IsLower(first) },
	AtomOf:     func(variable string) string { return ":" + variable },
	Fail:       failAt,
}

func failAt(start int, reason string) error {
	return &ei.TextError{Offset: start, Reason: reason, Err: ei.ErrText}
}

// atom makes an atom of text that began at start.
func (p *parser) atom(text string, start int) (ei.Term, error) {
	if len(text) > ei.MaxAtomChars && utf8.RuneCountInString(text) > ei.MaxAtomChars || !utf8.ValidString(text) {
		return nil, &ei.TextError{Offset: start, Err: ei.ErrAtom}
	}
	return ei.Atom(strings.Clone(text)), nil // so that the atom does not keep a large text in memory
}

// asErlang reads what is written in Erlang as well as in Elixir, or has been made of Elixir; start
// is where that began.
func asErlang(text string, start int) (ei.Term, error) {
	t, err := ei.Parse(text)
	var wrong *ei.TextError
	if errors.As(err, &wrong) {
		return nil, &ei.TextError{Offset: start, Reason: wrong.Reason, Err: wrong.Err}
	}
	return t, err
}

// End is that of a scan.Grammar.
func (p *parser) End(in *textLevel) (ei.Term, error) {
	switch in.Kind {
	case scan.Tuple:
		if in.Keywords > 0 {
			n := len(in.Parts) - in.Keywords
			return append(ei.Tuple(in.Parts[:n:n]), ei.List(pairs(nil, in.Parts[n:]))), nil
		}
		return ei.Tuple(in.Parts), nil
	case scan.List:
		n := len(in.Parts) - in.Keywords
		return ei.List(pairs(in.Parts[:n], in.Parts[n:])), nil
	case scan.Map:
		m := make(ei.Map, len(in.Parts)/2)
		for i := range m {
			m[i] = ei.Pair{Key: in.Parts[2*i], Value: in.Parts[2*i+1]}
		}
		if p.InKeys == 0 && p.duplicate(m) {
			return nil, &ei.TextError{Offset: in.N, Err: ei.ErrDuplicate}
		}
		return m, nil
	}
	n := len(in.Parts) - 1
	return cons(in.Parts[:n:n], in.Parts[n]), nil
}

// pairs appends the pairs of keywords.
func pairs(ts, keywords []ei.Term) []ei.Term {
	for ; len(keywords) > 0; keywords = keywords[2:] {
		ts = append(ts, ei.Tuple{keywords[0], keywords[1]})
	}
	return ts
}

// duplicate reports whether keys are equal, of m or of maps within its keys.
func (p *parser) duplicate(m ei.Map) bool {
	keys := append(p.keys[:0], m...)
	for i := range keys {
		keys[i].Value = ei.List(nil)
	}
	var err error
	p.encoded, err = ei.AppendTerm(p.encoded[:0], keys)
	p.keys = keys[:0]
	clear(keys)
	return errors.Is(err, ei.ErrDuplicate)
}

// cons makes one list of elements and a tail.
func cons(ts []ei.Term, tail ei.Term) ei.Term {
	if tail, ok := ei.Elements(tail); ok {
		return append(ei.List(ts), tail...)
	}
	return ei.ImproperList{Elems: ts, Tail: tail}
}
