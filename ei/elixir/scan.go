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
	Comment: '#', NoComment: func(rest string) bool { return opaqueHead(rest) != "" },
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

// A textLevel is a term of which only the beginning has been read. The key of a keyword in a list
// or tuple stands among the parts until its value has been read.
type textLevel struct {
	kind   textKind
	ts     []ei.Term // its parts so far
	n      int       // of a list, how many brackets are open; of a map, where it begins
	isPair bool      // the last one of the parts is the key of a keyword
	pairs  int       // where the keywords begin, behind which nothing else may come; -1: nowhere
}

type textKind int8

const (
	noText textKind = iota
	tupleText
	listText
	tailText // a list whose tail is next
	mapText
)

// inKey reports whether the next part of l is the key of a map.
func (l *textLevel) inKey() bool { return l.kind == mapText && len(l.ts)%2 == 0 }

// end makes the term, of which all has been read.
func (p *parser) end(in *textLevel) (ei.Term, error) {
	switch in.kind {
	case tupleText:
		if in.pairs >= 0 {
			pairs := append(ei.List{}, in.ts[in.pairs:]...)
			in.ts = append(in.ts[:in.pairs], pairs)
		}
		return ei.Tuple(in.ts), nil
	case listText:
		return ei.List(in.ts), nil
	case mapText:
		m := make(ei.Map, len(in.ts)/2)
		for i := range m {
			m[i] = ei.Pair{Key: in.ts[2*i], Value: in.ts[2*i+1]}
		}
		if p.inKeys == 0 && p.duplicate(m) {
			return nil, &ei.TextError{Offset: in.n, Err: ei.ErrDuplicate}
		}
		return m, nil
	}
	n := len(in.ts) - 1
	return cons(in.ts[:n:n], in.ts[n]), nil
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
