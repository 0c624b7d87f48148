package elixir

import (
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/internal/scan"
)

// Parse reads one term written in Elixir, in UTF-8, with all that AppendText writes, except
// what that says is not read. White space and comments may stand around it. There are numbers
// (1_000, 0xff, 0b11, 0o17, 1.0e3, ?a), atoms, modules, "text" and 'text' with escapes, the sigils
// that inspect writes (~c"text", ~D[…], ~T[…], ~N[…], ~U[…]), lists with keywords, tuples, maps,
// structs, binaries of text and of integers, which may have sizes (<<"é", 1, 2::size(3)>>), ranges
// (1..3, 1..9//2), &Mod.fun/1, and the forms #PID<…>, #Port<…>, #Reference<…> of AppendText. Of a
// struct only the fields are there that are written: the defaults of others are known to its
// module alone. Variables, operators, calls, parentheses, interpolation, heredocs, other sigils and
// segments, and maps with equal keys are not accepted.
//
// Every error is a *TextError. The limits are those of ei.Parse.
func Parse(text string) (ei.Term, error) {
	p := parser{Terms: scan.Terms[ei.Term]{Text: scan.Text{Language: &language, S: text}}}
	t, err := p.Term(&p)
	if err != nil {
		return nil, err
	}
	if p.Space(); p.Pos < len(p.S) {
		return nil, p.Unexpected()
	}
	return t, nil
}

type parser struct {
	scan.Terms[ei.Term]

	keys    ei.Map // room to look for duplicates in
	encoded []byte
}

type textLevel = scan.Level[ei.Term]

// Begin is that of a scan.Grammar. The key of a keyword becomes a part as soon as it has been read.
func (p *parser) Begin(in, inner *textLevel) (ei.Term, error) {
	for {
		p.Space()
		start := p.Pos
		isValue := in.Keywords%2 == 1
		takesKey := !isValue && (in.Kind == scan.Tuple || in.Kind == scan.List || in.InKey())
		var t ei.Term
		var isKey bool
		var err error
		switch x := p.Peek(); {
		case x == '"' || x == '\'':
			t, isKey, err = p.quotedTerm()
		case takesKey:
			if t, isKey, err = p.signKey(); isKey || err != nil {
				break
			}
			fallthrough
		default:
			t, err = p.beginOther(inner)
		}
		switch {
		case err != nil:
			return nil, err
		case isKey && !takesKey:
			p.Pos = start
			return nil, p.Bad("a keyword where a value is due")
		case !isKey && takesKey && in.Keywords > 0:
			p.Pos = start
			return nil, p.Bad("a keyword is due behind keywords")
		case !isKey:
			return t, nil
		}
		in.Parts = append(in.Parts, t)
		in.Keywords++
	}
}

// beginOther reads a term that does not begin with a quote, or the beginning of one.
func (p *parser) beginOther(inner *textLevel) (ei.Term, error) {
	start := p.Pos
	switch p.Peek() {
	case '{':
		p.Pos++
		if p.Accept("}") {
			return ei.Tuple{}, nil
		}
		*inner = textLevel{Kind: scan.Tuple}
		return nil, nil
	case '[':
		p.Pos++
		if p.Accept("]") {
			return ei.List{}, nil
		}
		*inner = textLevel{Kind: scan.List, N: 1}
		return nil, nil
	case '%':
		p.Pos++
		*inner = textLevel{Kind: scan.Map, N: start}
		if p.Peek() != '{' {
			name, err := p.moduleName()
			if err != nil {
				return nil, err
			}
			inner.Parts = []ei.Term{structKey, name}
		}
		if err := p.Expect("{"); err != nil {
			return nil, err
		}
		if !p.Accept("}") {
			return nil, nil
		}
		m, err := p.End(inner)
		inner.Kind = scan.NoParts
		return m, err
	}
	return p.leaf()
}

// moduleName reads the name of a module, which is any atom.
func (p *parser) moduleName() (ei.Term, error) {
	if p.Peek() == ':' {
		return p.colonAtom()
	}
	return p.bareAtom()
}

// bareAtom reads an atom without a colon: the name of a module, nil, true or false.
func (p *parser) bareAtom() (ei.Term, error) {
	start := p.Pos
	if name := p.alias(); name != "" {
		return p.atom(name, start)
	}
	switch word := p.S[p.Pos : p.Pos+wordLen(p.S[p.Pos:], isLetter)]; word {
	case "nil", "true", "false":
		p.Pos += len(word)
		return ei.Atom(word), nil
	}
	return nil, p.Unexpected()
}

// isKeyEnd reads the colon and the space that make a key of what has been read.
func (p *parser) isKeyEnd() bool {
	rest := p.S[p.Pos:]
	if strings.HasPrefix(rest, ":") && (len(rest) == 1 || rest[1] <= ' ') {
		p.Pos++
		return true
	}
	return false
}

// signKey reads the key of a keyword that is not in quotes.
func (p *parser) signKey() (ei.Term, bool, error) {
	start := p.Pos
	rest := p.S[start:]
	n := wordLen(rest, isLetter)
	if n == 0 {
		const longest = len("..//")
		if sign, _, ok := strings.Cut(rest[:min(len(rest), longest+1)], ":"); ok && slices.Contains(signs, sign) {
			n = len(sign)
		}
	}
	if p.Pos += n; n == 0 || !p.isKeyEnd() {
		p.Pos = start
		return nil, false, nil
	}
	t, err := p.atom(rest[:n], start)
	return t, true, err
}

// isLetter reports whether r, which is beyond ASCII, may be in an identifier that is read.
func isLetter(r rune) bool {
	return unicode.In(r, unicode.L, unicode.Nl, unicode.Mn, unicode.Mc, unicode.Nd, unicode.Pc,
		unicode.Other_ID_Start, unicode.Other_ID_Continue)
}

// leaf reads a term without parts.
func (p *parser) leaf() (ei.Term, error) {
	switch x := p.Peek(); {
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
	return p.bareAtom()
}

// alias reads the name of a module; "" if there is none.
func (p *parser) alias() string {
	if x := p.Peek(); x < 'A' || x > 'Z' {
		return ""
	}
	start := p.Pos
	for {
		p.Pos += aliasPart(p.S[p.Pos:])
		if rest := p.S[p.Pos:]; len(rest) < 2 || rest[0] != '.' || rest[1] < 'A' || rest[1] > 'Z' {
			break
		}
		p.Pos++
	}
	name := p.S[start:p.Pos]
	if name != "Elixir" && !strings.HasPrefix(name, "Elixir.") {
		name = "Elixir." + name
	}
	return name
}

// colonAtom reads an atom that begins with a colon.
func (p *parser) colonAtom() (ei.Term, error) {
	start := p.Pos
	p.Pos++
	rest := p.S[p.Pos:]
	if rest != "" && (rest[0] == '"' || rest[0] == '\'') {
		text, err := p.quotedText(rest[0])
		if err != nil {
			return nil, err
		}
		return p.atom(string(text), start)
	}
	n := wordLen(rest, isLetter)
	for _, sign := range signs {
		if n == 0 && strings.HasPrefix(rest, sign) {
			n = len(sign)
		}
	}
	if n == 0 {
		p.Pos = start
		return nil, p.Unexpected()
	}
	p.Pos += n
	return p.atom(rest[:n], start)
}

// capture reads &Mod.fun/1.
func (p *parser) capture() (ei.Term, error) {
	p.Pos++
	module, err := p.moduleName()
	if err != nil {
		return nil, err
	}
	start := p.Pos
	if err := p.Expect("."); err != nil {
		return nil, err
	}
	function, err := p.functionName(start)
	if err != nil {
		return nil, err
	}
	if err := p.Expect("/"); err != nil {
		return nil, err
	}
	arity, err := p.small(math.MaxUint8)
	if err != nil {
		return nil, err
	}
	return ei.Export{Module: module.(ei.Atom), Function: function.(ei.Atom), Arity: uint8(arity)}, nil
}

// functionName reads the name of a function behind a point.
func (p *parser) functionName(start int) (ei.Term, error) {
	switch rest := p.S[p.Pos:]; {
	case strings.HasPrefix(rest, `"`):
		text, err := p.quotedText('"')
		if err != nil {
			return nil, err
		}
		return p.atom(string(text), start)
	case strings.HasPrefix(rest, "::"):
		p.Pos += len("::")
		return ei.Atom("::"), nil
	}
	p.Pos-- // otherwise it is what may stand behind a colon
	return p.colonAtom()
}

// opaque reads #PID<…>, #Port<…> or #Reference<…>.
func (p *parser) opaque() (ei.Term, error) {
	start := p.Pos
	kind := opaqueHead(p.S[start:])
	erlang, ok := map[string]string{"#PID<": "#Pid<", "#Port<": "#Port<", "#Reference<": "#Ref<"}[kind]
	if !ok {
		return nil, p.Bad(kind + "…> has no syntax in Elixir")
	}
	p.Pos += len(kind)
	inside := p.S[p.Pos:]
	name := 0 // in quotes a > is part of it
	if inside != "" && inside[0] == '\'' {
		for name = 1; name < len(inside) && inside[name] != '\''; name++ {
			if inside[name] == '\\' {
				name++
			}
		}
	}
	end := strings.IndexByte(inside[min(name, len(inside)):], '>')
	if end < 0 {
		return nil, p.Bad("no closing >")
	}
	end += name
	t, err := asErlang(erlang+inside[:end+1], p.Pos)
	p.Pos += end + 1
	return t, err
}
