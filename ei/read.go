package ei

import (
	"cmp"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei/internal/nested"
	"github.com/cnode-go/cnode/ei/internal/scan"
)

// Parse reads one term written in Erlang, in UTF-8: ei_x_format_wo_ver, with all that AppendText
// writes, except closures and a Local. A full stop may end it; white space and comments may stand
// around it. There are numbers (16#FF, $a, 1_000), atoms, "text" (adjacent ones are joined),
// ~"text" (a binary of UTF-8), lists, tuples, maps, binaries with sizes and types
// (<<1:4,"é"/utf8,3.0:32/float>>), fun m:f/1, native records (taken as exported), and the forms
// #Pid<…>, #Port<…>, #Ref<…> of AppendText, in which a node's name needs no quotes. Variables,
// operators, calls, parentheses, triple-quoted text, other sigils, and maps with equal keys are not
// accepted; nor are, in binaries, what depends on the machine (native), little-endian integers
// without a whole number of bytes, floats of 16 bits, and floats that their size has no room for.
//
// Every error is a *TextError. Text is as untrusted as an encoded term: an integer may have 65536
// digits (any number of them in base 16), and binaries are not made much larger than the text. It
// may be nested as deep as memory allows.
func Parse(text string) (Term, error) {
	p := textParser{Text: scan.Text{Language: &erlang, S: text}}
	return p.whole()
}

// whole reads a term that is all of the text.
func (p *textParser) whole() (Term, error) {
	t, err := p.term()
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
	scan.Text
	args *[]any // of Format, for the directives that are still to come; nil: there are none

	above  nested.Stack[textLevel] // what the term in hand is part of
	keys   keySet
	inKeys int // how many keys of maps the term in hand is within
	made   int // bytes that segments of binaries have asked for
}

// A textLevel is a term of which only the beginning has been read.
type textLevel struct {
	kind textKind
	// its parts so far; in a record module and name, then names of fields and values in turn
	ts []Term
	n  int // of a list, how many brackets are open; of a map or record, where it begins
}

type textKind int8

const (
	noText textKind = iota
	tupleText
	listText
	tailText // a list whose tail is next
	mapText
	recordText
)

// inKey reports whether the next part of l is the key of a map.
func (l *textLevel) inKey() bool { return l.kind == mapText && len(l.ts)%2 == 0 }

func (p *textParser) term() (Term, error) {
	var in, inner textLevel
	for {
		inner.kind = noText
		t, err := p.begin(&inner)
		if err != nil {
			return nil, err
		}
		if inner.kind != noText {
			if in.inKey() {
				p.inKeys++
			}
			p.above.Push(in)
			in = inner
			continue
		}
		for more := false; !more; {
			if in.kind == noText {
				return t, nil
			}
			in.ts = append(in.ts, t)
			if in.kind <= listText && p.Accept(",") {
				break
			}
			if more, err = p.goOn(&in); err != nil {
				return nil, err
			}
			if !more {
				if t, err = p.end(&in); err != nil {
					return nil, err
				}
				if in, _ = p.above.Pop(); in.inKey() {
					p.inKeys--
				}
			}
		}
	}
}

// begin reads a term without parts, or the beginning of one, up to its first part; then it gives a
// level of it.
func (p *textParser) begin(in *textLevel) (Term, error) {
	p.Space()
	switch p.Peek() {
	case '{':
		p.Pos++
		if p.Accept("}") {
			return emptyTuple, nil
		}
		*in = textLevel{kind: tupleText}
		return nil, nil
	case '[':
		p.Pos++
		if p.Accept("]") {
			return emptyList, nil
		}
		*in = textLevel{kind: listText, n: 1}
		return nil, nil
	case '#':
		return p.hash(in)
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

// goOn reads what follows a part, up to the next one; false if there is none, and in is complete.
func (p *textParser) goOn(in *textLevel) (more bool, err error) {
	switch in.kind {
	case tupleText:
		if p.Accept(",") {
			return true, nil
		}
		return false, p.Expect("}")
	case listText:
		more, isTail, err := p.GoOnList(&in.n)
		if isTail {
			in.kind = tailText
		}
		return more, err
	case mapText:
		if len(in.ts)%2 == 1 {
			return true, p.Expect("=>")
		}
		if p.Accept(",") {
			return true, nil
		}
		return false, p.Expect("}")
	case recordText:
		return p.field(in)
	}
	return false, p.CloseList(in.n)
}

// end makes the term, of which all has been read.
func (p *textParser) end(in *textLevel) (Term, error) {
	switch in.kind {
	case tupleText:
		return Tuple(in.ts), nil
	case listText:
		return List(in.ts), nil
	case mapText:
		m := make(Map, len(in.ts)/2)
		for i := range m {
			m[i] = Pair{Key: in.ts[2*i], Value: in.ts[2*i+1]}
		}
		if p.inKeys == 0 && p.keys.duplicate(m) {
			return nil, &TextError{Offset: in.n, Err: ErrDuplicate}
		}
		return m, nil
	case recordText:
		return in.record()
	}
	n := len(in.ts) - 1
	return cons(in.ts[:n:n], in.ts[n]), nil
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
