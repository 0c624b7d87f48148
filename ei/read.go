package ei

import (
	"cmp"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei/internal/nested"
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
	p := textParser{s: text}
	return p.whole()
}

// whole reads a term that is all of the text.
func (p *textParser) whole() (Term, error) {
	t, err := p.term()
	if err != nil {
		return nil, err
	}
	p.space()
	if p.peek() == '.' {
		p.pos++
		p.space()
	}
	if p.pos < len(p.s) {
		return nil, p.unexpected()
	}
	return t, nil
}

type textParser struct {
	s    string
	pos  int
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

func (p *textParser) fail(reason string) error {
	return &TextError{Offset: p.pos, Reason: reason, Err: ErrText}
}

func (p *textParser) unexpected() error {
	if p.pos >= len(p.s) {
		return p.fail("unexpected end")
	}
	rest := p.s[p.pos:]
	hint := ""
	if name := variable(rest); name != "" && len(name) <= MaxAtomChars {
		hint = ", a variable: an atom is '" + name + "'"
	}
	if len(rest) > 20 {
		rest = strings.ToValidUTF8(rest[:20], "") + "..."
	}
	return p.fail("unexpected " + strconv.Quote(rest) + hint)
}

// variable is the name of a variable, which has no value here, that text begins with; "": none.
func variable(text string) string {
	if first, _ := utf8.DecodeRuneInString(text); first != '_' && !unicode.IsUpper(first) {
		return ""
	}
	end := strings.IndexFunc(text, func(r rune) bool {
		return r != '_' && r != '@' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	if end < 0 {
		return text
	}
	return text[:end]
}

// peek gives the next byte, 0 at the end (where every caller fails as with any unexpected byte).
func (p *textParser) peek() byte {
	if p.pos < len(p.s) {
		return p.s[p.pos]
	}
	return 0
}

// space skips white space and comments.
func (p *textParser) space() {
	for p.pos < len(p.s) {
		switch x := p.s[p.pos]; {
		case x <= ' ':
			p.pos++
		case x == '%':
			end := strings.IndexByte(p.s[p.pos:], '\n')
			if end < 0 {
				p.pos = len(p.s)
			} else {
				p.pos += end
			}
		case x == 0xc2 && p.pos+1 < len(p.s) && p.s[p.pos+1] <= 0xa0: // U+0080 to U+00A0
			p.pos += 2
		default:
			return
		}
	}
}

// accept skips white space, and the token when it is next.
func (p *textParser) accept(token string) bool {
	p.space()
	if strings.HasPrefix(p.s[p.pos:], token) {
		p.pos += len(token)
		return true
	}
	return false
}

func (p *textParser) expect(token string) error {
	if p.accept(token) {
		return nil
	}
	return p.unexpected()
}

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
			if in.kind <= listText && p.accept(",") {
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
	p.space()
	switch p.peek() {
	case '{':
		p.pos++
		if p.accept("}") {
			return emptyTuple, nil
		}
		*in = textLevel{kind: tupleText}
		return nil, nil
	case '[':
		p.pos++
		if p.accept("]") {
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
	switch x := p.peek(); {
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
	start := p.pos
	word := p.word()
	switch {
	case word == "":
		return nil, p.unexpected()
	case word == "fun":
		return p.export()
	case isAlwaysReserved(word):
		p.pos = start
		return nil, p.unexpected()
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
	start := p.pos
	r, n := utf8.DecodeRuneInString(p.s[p.pos:])
	if !(r >= 'a' && r <= 'z' || r >= 0xdf && r <= 0xff && r != 0xf7) {
		return ""
	}
	for ; n > 0; r, n = utf8.DecodeRuneInString(p.s[p.pos:]) {
		if !(r < utf8.RuneSelf && isNameByte(byte(r)) || r >= 0xc0 && r <= 0xff && r != 0xd7 && r != 0xf7) {
			break
		}
		p.pos += n
	}
	return p.s[start:p.pos]
}

// name reads an atom, with or without quotes.
func (p *textParser) name() (Atom, error) {
	p.space()
	if p.peek() == '\'' {
		t, err := p.quotedAtom()
		a, _ := t.(Atom)
		return a, err
	}
	start := p.pos
	word := p.word()
	if word == "" || isAlwaysReserved(word) {
		p.pos = start
		return "", p.unexpected()
	}
	t, err := p.atom(word, start)
	a, _ := t.(Atom)
	return a, err
}

// goOn reads what follows a part, up to the next one; false if there is none, and in is complete.
func (p *textParser) goOn(in *textLevel) (more bool, err error) {
	switch in.kind {
	case tupleText:
		if p.accept(",") {
			return true, nil
		}
		return false, p.expect("}")
	case listText:
		return p.goOnList(in)
	case mapText:
		if len(in.ts)%2 == 1 {
			return true, p.expect("=>")
		}
		if p.accept(",") {
			return true, nil
		}
		return false, p.expect("}")
	case recordText:
		return p.field(in)
	}
	return false, p.closeList(in)
}

// goOnList reads what follows an element. A tail that is a list again is read into the same
// elements.
func (p *textParser) goOnList(in *textLevel) (more bool, err error) {
	switch {
	case p.accept(","):
		return true, nil
	case !p.accept("|"):
	case !p.accept("["):
		in.kind = tailText
		return true, nil
	case !p.accept("]"):
		in.n++
		return true, nil
	}
	return false, p.closeList(in)
}

func (p *textParser) closeList(in *textLevel) error {
	for range in.n {
		if err := p.expect("]"); err != nil {
			return err
		}
	}
	return nil
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
	if err = p.expect(":"); err != nil {
		return nil, err
	}
	if f.Function, err = p.name(); err != nil {
		return nil, err
	}
	if err = p.expect("/"); err != nil {
		return nil, err
	}
	p.space()
	start := p.pos
	arity, err := p.natural()
	if err != nil || arity > math.MaxUint8 {
		p.pos = start
		return nil, p.unexpected()
	}
	f.Arity = uint8(arity)
	return f, nil
}

// natural reads an integer without sign; one that does not fit in an Int gives the largest Int.
func (p *textParser) natural() (Int, error) {
	if x := p.peek(); x < '0' || x > '9' {
		return 0, p.unexpected()
	}
	switch t, err := p.number(); t := t.(type) {
	case Int:
		return t, err
	case BigInt:
		return math.MaxInt64, err
	default:
		return 0, cmp.Or(err, p.unexpected())
	}
}
