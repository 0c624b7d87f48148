package ei

import (
	"encoding/hex"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
)

// number reads an integer, a character or a float, with or without a sign.
func (p *textParser) number() (Term, error) {
	neg := false
	switch p.peek() {
	case '-':
		neg = true
		fallthrough
	case '+':
		p.pos++
		p.space()
	}
	if p.peek() == '$' {
		p.pos++
		r, err := p.char()
		if err != nil {
			return nil, err
		}
		if neg {
			r = -r
		}
		return Int(r), nil
	}
	start := p.pos
	whole, err := p.digitRun(10)
	if err != nil {
		return nil, err
	}
	if p.peek() == '#' {
		base, err := strconv.ParseUint(strings.ReplaceAll(whole, "_", ""), 10, 8)
		if err != nil || base < 2 || base > 36 {
			p.pos = start
			return nil, p.fail("base not in 2 to 36")
		}
		p.pos++
		digits, err := p.digitRun(int(base))
		if err != nil {
			return nil, err
		}
		return p.integer(digits, int(base), neg)
	}
	return p.decimal(start, whole, neg)
}

// decimal reads what follows the digits whole, which begin at start: the rest of a float, or
// nothing.
func (p *textParser) decimal(start int, whole string, neg bool) (Term, error) {
	if p.peek() != '.' || p.pos+1 >= len(p.s) || p.s[p.pos+1] < '0' || p.s[p.pos+1] > '9' {
		return p.integer(whole, 10, neg)
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
	f, err := strconv.ParseFloat(strings.ReplaceAll(p.s[start:p.pos], "_", ""), 64)
	if err != nil {
		return nil, &TextError{Offset: start, Err: ErrFloat}
	}
	if neg {
		f = -f
	}
	return Float(f), nil
}

// digitRun reads one or more digits, with single underscores between them.
func (p *textParser) digitRun(base int) (string, error) {
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
	switch {
	case x >= '0' && x <= '9':
		return int(x-'0') < base
	case x >= 'a' && x <= 'z':
		return int(x-'a')+10 < base
	case x >= 'A' && x <= 'Z':
		return int(x-'A')+10 < base
	}
	return false
}

func (p *textParser) integer(digits string, base int, neg bool) (Term, error) {
	digits = strings.ReplaceAll(digits, "_", "")
	if v, err := strconv.ParseInt(digits, base, 64); err == nil {
		if neg {
			v = -v
		}
		return Int(v), nil
	}
	if base == 16 {
		if len(digits)%2 == 1 {
			digits = "0" + digits
		}
		mag, err := hex.DecodeString(digits)
		if err != nil {
			return nil, p.fail("bad digits")
		}
		reverse(mag)
		return bigFromWire(neg, mag), nil
	}
	if len(digits) > maxDigits {
		return nil, &TextError{Offset: p.pos, Err: tooManyDigits()}
	}
	// With room for 6 bits a digit, SetString does not allocate as it goes.
	v := new(big.Int).SetBits(make([]big.Word, 0, len(digits)*6/bits.UintSize+2))
	v, ok := v.SetString(digits, base)
	if !ok {
		return nil, p.fail("bad digits")
	}
	if neg {
		v.Neg(v)
	}
	return NewBigInt(v), nil
}

// maxDigits is how many digits an integer may have that is not in base 16: writing and reading it
// takes more than linear time. maxDigitBytes is how many bytes so many digits take.
const (
	maxDigits     = 1 << 16
	maxDigitBytes = 27214
)

func tooManyDigits() error { return &LimitError{Limit: "digits of an integer", Max: maxDigits} }
