package ei

import (
	"cmp"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei/internal/scan"
)

// Parse reads one term written in Erlang, in UTF-8: ei_x_format_wo_ver, with all that AppendText
// writes, except closures and a Local. A full stop may end it; white space and comments may stand
// around it. There are numbers (16#FF, $a, 1_000), atoms, "text" (adjacent ones are joined),
// ~"text" (a binary of UTF-8), lists, tuples, maps, binaries of text and of integers of up to 64
// bits (<<1:4,300:16,"é"/utf8>>), fun m:f/1, native records (taken as exported), and the forms
// #Pid<…>, #Port<…>, #Ref<…> of AppendText, in which a node's name needs no quotes. Variables,
// operators, calls, parentheses, triple-quoted text, other sigils and types of segments, and maps
// with equal keys are not accepted.
//
// Every error is a *TextError. Text is as untrusted as an encoded term: an integer may have 65536
// digits (any number of them in base 16). It may be nested as deep as memory allows.
func Parse(text string) (Term, error) {
	p := newTextParser(text)
	return p.whole()
}

// whole reads a term that is all of the text.
func (p *textParser) whole() (Term, error) {
	t, err := p.Term(p)
	if err != nil {
		return nil, err
	}
	p.Space()
	if p.Peek() == '.' {
		p.Pos++
		p.Space()
	}
	if p.Pos < len(p.S) {
		return nil, p.Unexpected()
	}
	return t, nil
}

var erlang = scan.Language{
	Comment: '%', IsVariable: unicode.IsUpper,
	AtomOf: func(variable string) string { return "'" + variable + "'" },
	Fail:   func(offset int, reason string) error { return &TextError{Offset: offset, Reason: reason, Err: ErrText} },
}

type textParser struct {
	scan.Terms[Term]
	args *[]any // of Format, for the directives that are still to come; nil: there are none

	keys keySet
}

func newTextParser(text string) *textParser {
	return &textParser{Terms: scan.Terms[Term]{Text: scan.Text{Language: &erlang, S: text}}}
}

type textLevel = scan.Level[Term]

// Begin is that of a scan.Grammar.
func (p *textParser) Begin(in, inner *textLevel) (Term, error) {
	if in.Kind == scan.Record && len(in.Parts)%2 == 0 {
		name, err := p.name()
		if err != nil {
			return nil, err
		}
		in.Parts = append(in.Parts, name)
		if err := p.Expect("="); err != nil {
			return nil, err
		}
	}
	p.Space()
	switch p.Peek() {
	case '{':
		p.Pos++
		if p.Accept("}") {
			return emptyTuple, nil
		}
		*inner = textLevel{Kind: scan.Tuple}
		return nil, nil
	case '[':
		p.Pos++
		if p.Accept("]") {
			return emptyList, nil
		}
		*inner = textLevel{Kind: scan.List, N: 1}
		return nil, nil
	case '#':
		return p.hash(inner)
	}
	return p.leaf()
}

// leaf reads a term without parts.
func (p *textParser) leaf() (Term, error) {
	switch x := p.Peek(); {
	case x == '"':
		return p.text()
	case p.isDirective():
		return p.directive()
	case x == '~':
		return p.sigil()
	case x == '\'':
		return p.quotedAtom()
	case x == '<':
		return p.binary()
	case x == '-', x == '+', x == '$', x >= '0' && x <= '9':
		return p.number()
	}
	start := p.Pos
	word := p.word()
	switch {
	case word == "":
		return nil, p.Unexpected()
	case word == "fun":
		return p.export()
	case isAlwaysReserved(word):
		p.Pos = start
		return nil, p.Unexpected()
	}
	return p.atom(word, start)
}

// atom makes an atom of text that began at start.
func (p *textParser) atom(text string, start int) (Term, error) {
	if !validAtom(Atom(text)) {
		return nil, &TextError{Offset: start, Err: ErrAtom}
	}
	return Atom(strings.Clone(text)), nil // so that the atom does not keep a large text in memory
}

// word reads the letters of an atom without quotes; "" if there is none. Besides ASCII, Erlang
// takes the letters of Latin-1.
func (p *textParser) word() string {
	start := p.Pos
	r, n := utf8.DecodeRuneInString(p.S[p.Pos:])
	if !(r >= 'a' && r <= 'z' || r >= 0xdf && r <= 0xff && r != 0xf7) {
		return ""
	}
	for ; n > 0; r, n = utf8.DecodeRuneInString(p.S[p.Pos:]) {
		if !(r < utf8.RuneSelf && isNameByte(byte(r)) || r >= 0xc0 && r <= 0xff && r != 0xd7 && r != 0xf7) {
			break
		}
		p.Pos += n
	}
	return p.S[start:p.Pos]
}

// name reads an atom, with or without quotes.
func (p *textParser) name() (Atom, error) {
	p.Space()
	if p.Peek() == '\'' {
		t, err := p.quotedAtom()
		a, _ := t.(Atom)
		return a, err
	}
	start := p.Pos
	word := p.word()
	if word == "" || isAlwaysReserved(word) {
		p.Pos = start
		return "", p.Unexpected()
	}
	t, err := p.atom(word, start)
	a, _ := t.(Atom)
	return a, err
}

// End is that of a scan.Grammar.
func (p *textParser) End(in *textLevel) (Term, error) {
	switch in.Kind {
	case scan.Tuple:
		return Tuple(in.Parts), nil
	case scan.List:
		return List(in.Parts), nil
	case scan.Map:
		m := make(Map, len(in.Parts)/2)
		for i := range m {
			m[i] = Pair{Key: in.Parts[2*i], Value: in.Parts[2*i+1]}
		}
		if p.InKeys == 0 && p.keys.duplicate(m) {
			return nil, &TextError{Offset: in.N, Err: ErrDuplicate}
		}
		return m, nil
	case scan.Record:
		return record(in)
	}
	n := len(in.Parts) - 1
	return cons(in.Parts[:n:n], in.Parts[n]), nil
}

// cons makes one list of elements and a tail.
func cons(ts []Term, tail Term) Term {
	switch tail := tail.(type) {
	case List:
		return List(append(ts, tail...))
	case String:
		for i := range len(tail) {
			ts = append(ts, Int(tail[i]))
		}
		return List(ts)
	}
	return ImproperList{Elems: ts, Tail: tail}
}

// export reads the rest of fun m:f/1.
func (p *textParser) export() (Term, error) {
	var f Export
	var err error
	if f.Module, err = p.name(); err != nil {
		return nil, err
	}
	if err = p.Expect(":"); err != nil {
		return nil, err
	}
	if f.Function, err = p.name(); err != nil {
		return nil, err
	}
	if err = p.Expect("/"); err != nil {
		return nil, err
	}
	p.Space()
	start := p.Pos
	arity, err := p.natural()
	if err != nil || arity > math.MaxUint8 {
		p.Pos = start
		return nil, p.Unexpected()
	}
	f.Arity = uint8(arity)
	return f, nil
}

// natural reads an integer without sign; one that does not fit in an Int gives the largest Int.
func (p *textParser) natural() (Int, error) {
	if x := p.Peek(); x < '0' || x > '9' {
		return 0, p.Unexpected()
	}
	switch t, err := p.number(); t := t.(type) {
	case Int:
		return t, err
	case BigInt:
		return math.MaxInt64, err
	default:
		return 0, cmp.Or(err, p.Unexpected())
	}
}
