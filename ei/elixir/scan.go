package elixir

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
)

// A scanner reads the tokens of a text.
type scanner struct {
	s   string
	pos int
}

func (p *scanner) fail(reason string) error { return failAt(p.pos, reason) }

func failAt(start int, reason string) error {
	return &ei.TextError{Offset: start, Reason: reason, Err: ei.ErrText}
}

func (p *scanner) unexpected() error {
	if p.pos >= len(p.s) {
		return p.fail("unexpected end")
	}
	rest := p.s[p.pos:]
	hint := ""
	if name := variable(rest); name != "" && len(name) <= ei.MaxAtomChars {
		hint = ", a variable: an atom is :" + name
	}
	if len(rest) > 20 {
		rest = strings.ToValidUTF8(rest[:20], "") + "..."
	}
	return p.fail("unexpected " + strconv.Quote(rest) + hint)
}

// variable is the name of a variable, which has no value here, that text begins with; "": none.
func variable(text string) string {
	if first, _ := utf8.DecodeRuneInString(text); first != '_' && !unicode.IsUpper(first) && !unicode.IsLower(first) {
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
func (p *scanner) peek() byte {
	if p.pos < len(p.s) {
		return p.s[p.pos]
	}
	return 0
}

// space skips white space and comments.
func (p *scanner) space() {
	for p.pos < len(p.s) {
		switch x := p.s[p.pos]; {
		case x <= ' ':
			p.pos++
		case x == '#' && opaqueHead(p.s[p.pos:]) == "":
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
func (p *scanner) accept(token string) bool {
	p.space()
	if strings.HasPrefix(p.s[p.pos:], token) {
		p.pos += len(token)
		return true
	}
	return false
}

func (p *scanner) expect(token string) error {
	if p.accept(token) {
		return nil
	}
	return p.unexpected()
}

// atom makes an atom of text that began at start.
func (p *scanner) atom(text string, start int) (ei.Term, error) {
	if len(text) > ei.MaxAtomChars && utf8.RuneCountInString(text) > ei.MaxAtomChars || !utf8.ValidString(text) {
		return nil, &ei.TextError{Offset: start, Err: ei.ErrAtom}
	}
	return ei.Atom(strings.Clone(text)), nil // so that the atom does not keep a large text in memory
}

// digitRun reads one or more digits, with single underscores between them.
func (p *scanner) digitRun(base int) (string, error) {
	start := p.pos
	for isDigit(p.peek(), base) {
		p.pos++
		if p.peek() == '_' && p.pos+1 < len(p.s) && isDigit(p.s[p.pos+1], base) {
			p.pos++
		}
	}
	if p.pos == start {
		return "", p.unexpected()
	}
	return p.s[start:p.pos], nil
}

func isDigit(x byte, base int) bool {
	_, err := strconv.ParseUint(string(x), base, 8)
	return err == nil
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

// goOnList reads what follows an element. A tail that is a list again is read into the same
// elements.
func (p *parser) goOnList(in *textLevel) (more bool, err error) {
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

func (p *parser) closeList(in *textLevel) error {
	for range in.n {
		if err := p.expect("]"); err != nil {
			return err
		}
	}
	return nil
}

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
