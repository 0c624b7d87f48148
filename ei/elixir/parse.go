package ei

import (
	"math"
	"slices"
	"strings"
	"unicode"
)

// ParseElixir reads one term written in Elixir, in UTF-8, with all that AppendElixir writes, except
// what that says is not read. White space and comments may stand around it. There are numbers
// (1_000, 0xff, 0b11, 0o17, 1.0e3, ?a), atoms, modules, "text" and 'text' with escapes, the sigils
// ~c, ~C, ~s, ~S, ~D, ~T, ~N and ~U, lists with keywords, tuples, maps, structs, binaries with
// sizes and types (<<1, 2::size(3), "é"::utf16>>), ranges (1..3, 1..9//2), &Mod.fun/1, and the
// forms #PID<…>, #Port<…>, #Reference<…> of AppendElixir. Of a struct only the fields are there
// that are written: the defaults of others are known to its module alone. Variables, operators,
// calls, parentheses, interpolation, heredocs, binaries within binaries, other sigils, and maps
// with equal keys are not accepted.
//
// Every error is a *TextError. The limits are those of Parse.
func ParseElixir(text string) (Term, error) {
	p := elixirParser{textParser: textParser{s: text, elixir: true}}
	t, err := p.term()
	if err != nil {
		return nil, err
	}
	if p.space(); p.pos < len(p.s) {
		return nil, p.unexpected()
	}
	return t, nil
}

type elixirParser struct {
	textParser

	above stack[elixirTextLevel] // what the term in hand is part of
}

// An elixirTextLevel is a term of which only the beginning has been read. The key of a keyword in a
// list or tuple stands among the parts until its value has been read.
type elixirTextLevel struct {
	textLevel
	isPair bool // the last one of the parts is such a key
	pairs  int  // where the keywords begin, behind which nothing else may come; -1: nowhere
}

func (p *elixirParser) term() (Term, error) {
	var in elixirTextLevel
	for {
		inner := elixirTextLevel{pairs: -1}
		t, err := p.begin(&in, &inner)
		if err != nil {
			return nil, err
		}
		if inner.kind != noText {
			if in.inKey() {
				p.inKeys++
			}
			p.above.push(in)
			in = inner
			continue
		}
		for more := false; !more; {
			if in.kind == noText {
				return t, nil
			}
			in.add(t)
			if more, err = p.goOn(&in); err != nil {
				return nil, err
			}
			if !more {
				if t, err = p.end(&in); err != nil {
					return nil, err
				}
				if in, _ = p.above.pop(); in.inKey() {
					p.inKeys--
				}
			}
		}
	}
}

// add takes a part that has been read.
func (l *elixirTextLevel) add(t Term) {
	if l.isPair {
		last := len(l.ts) - 1
		l.ts[last], l.isPair = Tuple{l.ts[last], t}, false
		return
	}
	l.ts = append(l.ts, t)
}

// begin reads a part of in up to its first own part, of which inner is then a level, or all of it.
func (p *elixirParser) begin(in, inner *elixirTextLevel) (Term, error) {
	for {
		p.space()
		start := p.pos
		takesKey := in.kind == tupleText || in.kind == listText || in.inKey()
		var t Term
		var isKey bool
		var err error
		switch x := p.peek(); {
		case x == '"' || x == '\'':
			t, isKey, err = p.quotedTerm()
		case takesKey && !in.isPair:
			if t, isKey, err = p.signKey(); isKey || err != nil {
				break
			}
			fallthrough
		default:
			t, err = p.beginOther(&inner.textLevel)
		}
		switch {
		case err != nil:
			return nil, err
		case isKey && (!takesKey || in.isPair):
			p.pos = start
			return nil, p.fail("a keyword where a value is due")
		case !isKey && in.pairs >= 0 && !in.isPair && takesKey:
			p.pos = start
			return nil, p.fail("a keyword is due behind keywords")
		case !isKey:
			return t, nil
		}
		if in.pairs < 0 {
			in.pairs = len(in.ts)
		}
		in.ts = append(in.ts, t)
		in.isPair = in.kind != mapText
	}
}

// beginOther reads a term that does not begin with a quote, or the beginning of one.
func (p *elixirParser) beginOther(inner *textLevel) (Term, error) {
	start := p.pos
	switch p.peek() {
	case '{':
		p.pos++
		if p.accept("}") {
			return emptyTuple, nil
		}
		*inner = textLevel{kind: tupleText}
		return nil, nil
	case '[':
		p.pos++
		if p.accept("]") {
			return emptyList, nil
		}
		*inner = textLevel{kind: listText, n: 1}
		return nil, nil
	case '%':
		p.pos++
		*inner = textLevel{kind: mapText, n: start}
		if p.peek() != '{' {
			name, err := p.moduleName()
			if err != nil {
				return nil, err
			}
			inner.ts = []Term{structKey, name}
		}
		if err := p.expect("{"); err != nil {
			return nil, err
		}
		if !p.accept("}") {
			return nil, nil
		}
		m, err := p.textParser.end(inner)
		inner.kind = noText
		return m, err
	}
	return p.leaf()
}

// moduleName reads the name of a struct.
func (p *elixirParser) moduleName() (Term, error) {
	if p.peek() == ':' {
		return p.colonAtom()
	}
	start := p.pos
	if name := p.alias(); name != "" {
		return p.atom(name, start)
	}
	return nil, p.unexpected()
}

// goOn reads what follows a part, up to the next one; false if there is none, and in is complete.
func (p *elixirParser) goOn(in *elixirTextLevel) (more bool, err error) {
	closing := "}"
	switch in.kind {
	case mapText:
		if len(in.ts)%2 == 1 {
			return true, p.expect("=>")
		}
	case listText:
		closing = "]"
		if p.accept(",") {
			if p.accept("]") {
				in.n--
				return false, p.closeList(&in.textLevel)
			}
			return true, nil
		}
		if in.pairs >= 0 {
			return false, p.closeList(&in.textLevel)
		}
		return p.goOnList(&in.textLevel)
	case tailText:
		return false, p.closeList(&in.textLevel)
	}
	if p.accept(",") {
		return !p.accept(closing), nil
	}
	return false, p.expect(closing)
}

// end makes the term, of which all has been read.
func (p *elixirParser) end(in *elixirTextLevel) (Term, error) {
	if in.kind == tupleText && in.pairs >= 0 {
		pairs := append(List{}, in.ts[in.pairs:]...)
		in.ts = append(in.ts[:in.pairs], pairs)
	}
	return p.textParser.end(&in.textLevel)
}

// isKeyEnd reads the colon and the space that make a key of what has been read.
func (p *elixirParser) isKeyEnd() bool {
	rest := p.s[p.pos:]
	if strings.HasPrefix(rest, ":") && (len(rest) == 1 || rest[1] <= ' ') {
		p.pos++
		return true
	}
	return false
}

// signKey reads the key of a keyword that is not in quotes.
func (p *elixirParser) signKey() (Term, bool, error) {
	start := p.pos
	rest := p.s[start:]
	n := elixirWord(rest, isElixirLetter)
	if n == 0 {
		const longest = len("..//")
		if sign, _, ok := strings.Cut(rest[:min(len(rest), longest+1)], ":"); ok && slices.Contains(elixirSigns, sign) {
			n = len(sign)
		}
	}
	if p.pos += n; n == 0 || !p.isKeyEnd() {
		p.pos = start
		return nil, false, nil
	}
	t, err := p.atom(rest[:n], start)
	return t, true, err
}

// isElixirLetter reports whether r, which is beyond ASCII, may be in an identifier that is read.
func isElixirLetter(r rune) bool {
	return unicode.In(r, unicode.L, unicode.Nl, unicode.Mn, unicode.Mc, unicode.Nd, unicode.Pc,
		unicode.Other_ID_Start, unicode.Other_ID_Continue)
}

// leaf reads a term without parts.
func (p *elixirParser) leaf() (Term, error) {
	start := p.pos
	switch x := p.peek(); {
	case x == ':':
		return p.colonAtom()
	case x == '~':
		return p.sigil()
	case x == '<':
		return p.binary()
	case x == '&':
		return p.capture()
	case x == '#':
		return p.opaque()
	case x == '-', x == '+', x == '?', x >= '0' && x <= '9':
		return p.numberOrRange()
	}
	if name := p.alias(); name != "" {
		return p.atom(name, start)
	}
	switch word := p.s[p.pos : p.pos+elixirWord(p.s[p.pos:], isElixirLetter)]; word {
	case "nil", "true", "false":
		p.pos += len(word)
		return Atom(word), nil
	}
	return nil, p.unexpected()
}

// alias reads the name of a module; "" if there is none.
func (p *elixirParser) alias() string {
	if x := p.peek(); x < 'A' || x > 'Z' {
		return ""
	}
	start := p.pos
	for {
		p.pos += aliasPart(p.s[p.pos:])
		if rest := p.s[p.pos:]; len(rest) < 2 || rest[0] != '.' || rest[1] < 'A' || rest[1] > 'Z' {
			break
		}
		p.pos++
	}
	name := p.s[start:p.pos]
	if name != "Elixir" && !strings.HasPrefix(name, "Elixir.") {
		name = "Elixir." + name
	}
	return name
}

// colonAtom reads an atom that begins with a colon.
func (p *elixirParser) colonAtom() (Term, error) {
	start := p.pos
	p.pos++
	rest := p.s[p.pos:]
	if rest != "" && (rest[0] == '"' || rest[0] == '\'') {
		text, err := p.quotedText(rest[0])
		if err != nil {
			return nil, err
		}
		return p.atom(string(text), start)
	}
	n := elixirWord(rest, isElixirLetter)
	for _, sign := range elixirSigns {
		if n == 0 && strings.HasPrefix(rest, sign) {
			n = len(sign)
		}
	}
	if n == 0 {
		p.pos = start
		return nil, p.unexpected()
	}
	p.pos += n
	return p.atom(rest[:n], start)
}

// capture reads &Mod.fun/1.
func (p *elixirParser) capture() (Term, error) {
	p.pos++
	module, err := p.moduleName()
	if err != nil {
		return nil, err
	}
	start := p.pos
	if err := p.expect("."); err != nil {
		return nil, err
	}
	function, err := p.functionName(start)
	if err != nil {
		return nil, err
	}
	if err := p.expect("/"); err != nil {
		return nil, err
	}
	arity, err := p.small(math.MaxUint8)
	if err != nil {
		return nil, err
	}
	return Export{Module: module.(Atom), Function: function.(Atom), Arity: uint8(arity)}, nil
}

// functionName reads the name of a function behind a point.
func (p *elixirParser) functionName(start int) (Term, error) {
	switch rest := p.s[p.pos:]; {
	case strings.HasPrefix(rest, `"`):
		text, err := p.quotedText('"')
		if err != nil {
			return nil, err
		}
		return p.atom(string(text), start)
	case strings.HasPrefix(rest, "::"):
		p.pos += len("::")
		return Atom("::"), nil
	}
	p.pos-- // otherwise it is what may stand behind a colon
	return p.colonAtom()
}

// opaque reads #PID<…>, #Port<…> or #Reference<…>.
func (p *elixirParser) opaque() (Term, error) {
	kind := opaqueHead(p.s[p.pos:])
	read, ok := map[string]func() (Term, error){"#PID<": p.pid, "#Port<": p.port, "#Reference<": p.ref}[kind]
	if ok {
		p.pos += len(kind)
		return read()
	}
	return nil, p.fail(kind + "…> has no syntax in Elixir")
}
