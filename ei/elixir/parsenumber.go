package ei

import (
	"strings"
	"unicode/utf8"
)

// numberOrRange reads a number, a character, or a range of integers.
func (p *elixirParser) numberOrRange() (Term, error) {
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
	step := Term(Int(1))
	if Compare(first, last) > 0 {
		step = Int(-1)
	}
	if p.accept("//") {
		if step, err = p.rangeEnd(); err != nil {
			return nil, err
		}
		if step == Int(0) {
			return nil, p.fail("a range with steps of 0")
		}
	}
	return Map{{structKey, Atom("Elixir.Range")}, {Atom("first"), first}, {Atom("last"), last}, {Atom("step"), step}}, nil
}

func (p *elixirParser) rangeEnd() (Term, error) {
	p.space()
	start := p.pos
	t, err := p.number()
	if err == nil && isFloat(t) {
		p.pos = start
		err = p.fail("a range is of integers")
	}
	return t, err
}

func isFloat(t Term) bool {
	_, ok := t.(Float)
	return ok
}

// number reads an integer, a character or a float, with or without a sign.
func (p *elixirParser) number() (Term, error) {
	neg := false
	if x := p.peek(); x == '-' || x == '+' {
		neg = x == '-'
		p.pos++
		p.space()
	}
	start := p.pos
	if p.peek() == '?' {
		return p.character(neg)
	}
	if p.peek() == '0' {
		for head, base := range map[string]int{"0x": 16, "0o": 8, "0b": 2} {
			if strings.HasPrefix(p.s[start:], head) {
				p.pos += len(head)
				digits, err := p.digitRun(base)
				if err != nil {
					return nil, err
				}
				return p.integer(digits, base, neg)
			}
		}
	}
	whole, err := p.digitRun(10)
	if err != nil {
		return nil, err
	}
	return p.decimal(start, whole, neg)
}

// character reads ?a. There is no number of a character in it: ?\x is an x.
func (p *elixirParser) character(neg bool) (Term, error) {
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
	if i := elixirEscape(r); isEscape && i >= 0 {
		r = rune(elixirEscaped[i])
	}
	return signed(Int(r), neg), nil
}

func signed(v Int, neg bool) Int {
	if neg {
		return -v
	}
	return v
}

// small reads a number of at most most.
func (p *elixirParser) small(most Int) (Int, error) {
	p.space()
	start := p.pos
	digits, err := p.digitRun(10)
	if err != nil {
		return 0, err
	}
	t, err := p.integer(digits, 10, false)
	if err != nil {
		return 0, err
	}
	if v, ok := t.(Int); ok && v <= most {
		return v, nil
	}
	p.pos = start
	return 0, p.unexpected()
}
