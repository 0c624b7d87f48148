package elixir

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
)

// numberOrRange reads a number, a character, or a range of integers.
func (p *parser) numberOrRange() (ei.Term, error) {
	first, err := p.number()
	if err != nil {
		return nil, err
	}
	if isFloat(first) || !p.accept("..") {
		return first, nil
	}
	last, err := p.rangeEnd()
	if err != nil {
		return nil, err
	}
	step := ei.Term(ei.Int(1))
	if ei.Compare(first, last) > 0 {
		step = ei.Int(-1)
	}
	if p.accept("//") {
		if step, err = p.rangeEnd(); err != nil {
			return nil, err
		}
		if step == ei.Int(0) {
			return nil, p.fail("a range with steps of 0")
		}
	}
	return ei.MapOf(structKey, ei.Atom("Elixir.Range"), "first", first, "last", last, "step", step), nil
}

func (p *parser) rangeEnd() (ei.Term, error) {
	p.space()
	start := p.pos
	t, err := p.number()
	if err == nil && isFloat(t) {
		p.pos = start
		err = p.fail("a range is of integers")
	}
	return t, err
}

func isFloat(t ei.Term) bool {
	_, ok := t.(ei.Float)
	return ok
}

// number reads an integer, a character or a float, with or without a sign.
func (p *parser) number() (ei.Term, error) {
	sign := ""
	if x := p.peek(); x == '-' || x == '+' {
		sign = strings.Trim(string(x), "+")
		p.pos++
		p.space()
	}
	start := p.pos
	if p.peek() == '?' {
		return p.character(sign != "")
	}
	if p.peek() == '0' {
		for head, base := range map[string]int{"0x": 16, "0o": 8, "0b": 2} {
			if strings.HasPrefix(p.s[start:], head) {
				p.pos += len(head)
				digits, err := p.digitRun(base)
				if err != nil {
					return nil, err
				}
				return asErlang(fmt.Sprintf("%s%d#%s", sign, base, digits), p.pos)
			}
		}
	}
	if _, err := p.digitRun(10); err != nil {
		return nil, err
	}
	if p.peek() != '.' || p.pos+1 >= len(p.s) || !isDigit(p.s[p.pos+1], 10) {
		return asErlang(sign+p.s[start:p.pos], p.pos)
	}
	p.pos++
	if _, err := p.digitRun(10); err != nil {
		return nil, err
	}
	if x := p.peek(); x == 'e' || x == 'E' {
		p.pos++
		if x := p.peek(); x == '+' || x == '-' {
			p.pos++
		}
		if _, err := p.digitRun(10); err != nil {
			return nil, err
		}
	}
	return asErlang(sign+p.s[start:p.pos], start)
}

// character reads ?a. There is no number of a character in it: ?\x is an x.
func (p *parser) character(neg bool) (ei.Term, error) {
	p.pos++
	isEscape := p.peek() == '\\'
	if isEscape {
		p.pos++
	}
	r, n := utf8.DecodeRuneInString(p.s[p.pos:])
	if n == 0 || r == utf8.RuneError && n == 1 {
		return nil, p.unexpected()
	}
	p.pos += n
	if i := escapeIndex(r); isEscape && i >= 0 {
		r = rune(escaped[i])
	}
	return signed(ei.Int(r), neg), nil
}

func signed(v ei.Int, neg bool) ei.Int {
	if neg {
		return -v
	}
	return v
}

// small reads a number of at most most.
func (p *parser) small(most ei.Int) (ei.Int, error) {
	p.space()
	start := p.pos
	digits, err := p.digitRun(10)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseInt(strings.ReplaceAll(digits, "_", ""), 10, 64)
	if err == nil && v <= int64(most) {
		return ei.Int(v), nil
	}
	p.pos = start
	return 0, p.unexpected()
}
