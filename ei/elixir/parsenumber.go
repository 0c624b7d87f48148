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
	if isFloat(first) || !p.Accept("..") {
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
	if p.Accept("//") {
		if step, err = p.rangeEnd(); err != nil {
			return nil, err
		}
		if step == ei.Int(0) {
			return nil, p.Bad("a range with steps of 0")
		}
	}
	return ei.MapOf(structKey, ei.Atom("Elixir.Range"), "first", first, "last", last, "step", step), nil
}

func (p *parser) rangeEnd() (ei.Term, error) {
	p.Space()
	start := p.Pos
	t, err := p.number()
	if err == nil && isFloat(t) {
		p.Pos = start
		err = p.Bad("a range is of integers")
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
	if x := p.Peek(); x == '-' || x == '+' {
		sign = strings.Trim(string(x), "+")
		p.Pos++
		p.Space()
	}
	start := p.Pos
	if p.Peek() == '?' {
		return p.character(sign != "")
	}
	if p.Peek() == '0' {
		for head, base := range map[string]int{"0x": 16, "0o": 8, "0b": 2} {
			if strings.HasPrefix(p.S[start:], head) {
				p.Pos += len(head)
				digits, err := p.Digits(base)
				if err != nil {
					return nil, err
				}
				return asErlang(fmt.Sprintf("%s%d#%s", sign, base, digits), p.Pos)
			}
		}
	}
	if _, err := p.Digits(10); err != nil {
		return nil, err
	}
	from := p.Pos
	isFloat, err := p.Fraction()
	if err != nil {
		return nil, err
	}
	if isFloat {
		from = start
	}
	return asErlang(sign+p.S[start:p.Pos], from)
}

// character reads ?a. There is no number of a character in it: ?\x is an x.
func (p *parser) character(neg bool) (ei.Term, error) {
	p.Pos++
	isEscape := p.Peek() == '\\'
	if isEscape {
		p.Pos++
	}
	r, n := utf8.DecodeRuneInString(p.S[p.Pos:])
	if n == 0 || r == utf8.RuneError && n == 1 {
		return nil, p.Unexpected()
	}
	p.Pos += n
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
	p.Space()
	start := p.Pos
	digits, err := p.Digits(10)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseInt(strings.ReplaceAll(digits, "_", ""), 10, 64)
	if err == nil && v <= int64(most) {
		return ei.Int(v), nil
	}
	p.Pos = start
	return 0, p.Unexpected()
}
