package ei

import (
	"cmp"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Parse reads one term written in Erlang, in UTF-8: ei_x_format_wo_ver, with all that AppendText writes, except closures and a Local. A
// full stop may end it; white space and comments may stand around it. There are numbers (16#FF, $a, 1_000), atoms, "text" (adjacent ones
// are joined), ~"text" (a binary of UTF-8), lists, tuples, maps, binaries with sizes and types (<<1:4,"é"/utf8,3.0:32/float>>), fun m:f/1,
// native records (taken as exported), and the forms #Pid<…>, #Port<…>, #Ref<…> of AppendText, in which a node's name needs no quotes.
// Variables, operators, calls, parentheses, triple-quoted text, other sigils, and maps with equal keys are not accepted; nor are, in
// binaries, what depends on the machine (native), little-endian integers without a whole number of bytes, floats of 16 bits, and floats
// that their size has no room for.
//
// Every error is a *TextError. Text is as untrusted as an encoded term: it may be 10000 terms deep, with binaries nested 4 deep; an integer
// may have 65536 digits (any number of them in base 16), and binaries are not made much larger than the text.
func Parse(text string) (Term, error) {
	p := textParser{s: text, depth: Limits{}.withDefaults().Depth}
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
	s     string
	pos   int
	depth int // how many levels may still be opened

	keys        keySet
	keyDepth    int // how many keys of maps this term is within
	binaryDepth int // how many binaries it is within
	made        int // bytes that segments of binaries have asked for
}

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

func (p *textParser) open() error {
	if p.depth--; p.depth < 0 {
		return &TextError{Offset: p.pos, Err: &LimitError{Limit: "Depth", Max: Limits{}.withDefaults().Depth}}
	}
	return nil
}

func (p *textParser) term() (Term, error) {
	p.space()
	switch x := p.peek(); {
	case x == '{':
		return p.tuple()
	case x == '[':
		return p.list()
	case x == '"':
		return p.text()
	case x == '~':
		return p.sigil()
	case x == '#':
		return p.hash()
	case x == '\'':
		return p.quotedAtom()
	case x == '<':
		if err := p.open(); err != nil {
			return nil, err
		}
		defer func() { p.depth++ }()
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

// word reads the letters of an atom without quotes; "" if there is none. Besides ASCII, Erlang takes the letters of Latin-1.
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

// terms reads terms with commas between them, as long as there is a comma, and appends them to ts.
func (p *textParser) terms(ts []Term) ([]Term, error) {
	for {
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		ts = append(ts, t)
		if !p.accept(",") {
			return ts, nil
		}
	}
}

func (p *textParser) tuple() (Term, error) {
	if err := p.open(); err != nil {
		return nil, err
	}
	p.pos++
	if p.accept("}") {
		p.depth++
		return emptyTuple, nil
	}
	ts, err := p.terms(nil)
	if err != nil {
		return nil, err
	}
	p.depth++
	return Tuple(ts), p.expect("}")
}

// list reads a list. A tail that is a list again is read into the same elements and is no deeper, as on the wire.
func (p *textParser) list() (Term, error) {
	if err := p.open(); err != nil {
		return nil, err
	}
	p.pos++
	if p.accept("]") {
		p.depth++
		return emptyList, nil
	}
	var ts []Term
	var tail Term = emptyList
	brackets := 1
	for {
		var err error
		if ts, err = p.terms(ts); err != nil {
			return nil, err
		}
		if !p.accept("|") {
			break
		}
		if !p.accept("[") {
			if tail, err = p.term(); err != nil {
				return nil, err
			}
			break
		}
		if p.accept("]") {
			break
		}
		brackets++
	}
	for range brackets {
		if err := p.expect("]"); err != nil {
			return nil, err
		}
	}
	p.depth++
	return cons(ts, tail), nil
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

// hash reads what starts with #: a map, an identifier or a native record.
func (p *textParser) hash() (Term, error) {
	p.pos++
	switch {
	case p.accept("{"):
		return p.mapping()
	case strings.HasPrefix(p.s[p.pos:], "Pid<"):
		p.pos += len("Pid<")
		return p.pid()
	case strings.HasPrefix(p.s[p.pos:], "Port<"):
		p.pos += len("Port<")
		return p.port()
	case strings.HasPrefix(p.s[p.pos:], "Ref<"):
		p.pos += len("Ref<")
		return p.ref()
	}
	return p.record()
}

func (p *textParser) mapping() (Term, error) {
	start := p.pos
	if err := p.open(); err != nil {
		return nil, err
	}
	if p.accept("}") {
		p.depth++
		return emptyMap, nil
	}
	depth := p.keyDepth
	if depth == maxKeyDepth {
		return nil, &TextError{Offset: start, Err: &LimitError{Limit: "map keys within map keys", Max: maxKeyDepth}}
	}
	var m Map
	for {
		p.keyDepth = depth + 1
		key, err := p.term()
		if err != nil {
			return nil, err
		}
		p.keyDepth = depth
		if err := p.expect("=>"); err != nil {
			return nil, err
		}
		value, err := p.term()
		if err != nil {
			return nil, err
		}
		m = append(m, Pair{Key: key, Value: value})
		if !p.accept(",") {
			break
		}
	}
	if depth == 0 && p.keys.duplicate(m) {
		return nil, &TextError{Offset: start, Err: ErrDuplicate}
	}
	p.depth++
	return m, p.expect("}")
}

func (p *textParser) record() (Term, error) {
	start := p.pos
	if err := p.open(); err != nil {
		return nil, err
	}
	r := Record{Flags: RecordExported, Fields: []Field{}}
	var err error
	if r.Module, err = p.name(); err != nil {
		return nil, err
	}
	if err = p.expect(":"); err != nil {
		return nil, err
	}
	if r.Name, err = p.name(); err != nil {
		return nil, err
	}
	if err = p.expect("{"); err != nil {
		return nil, err
	}
	for !p.accept("}") {
		if len(r.Fields) > 0 {
			if err = p.expect(","); err != nil {
				return nil, err
			}
		}
		var f Field
		if f.Name, err = p.name(); err != nil {
			return nil, err
		}
		if err = p.expect("="); err != nil {
			return nil, err
		}
		if f.Value, err = p.term(); err != nil {
			return nil, err
		}
		r.Fields = append(r.Fields, f)
	}
	if duplicateField(r.Fields) {
		return nil, &TextError{Offset: start, Err: ErrDuplicate}
	}
	p.depth++
	return r, nil
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
