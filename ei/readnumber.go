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
	switch p.Peek() {
	case '-':
		neg = true
		fallthrough
	case '+':
		p.Pos++
		p.Space()
	}
	if p.Peek() == '$' {
		p.Pos++
		r, err := p.char()
		if err != nil {
			return nil, err
		}
		if neg {
			r = -r
		}
		return Int(r), nil
	}
	start := p.Pos
	whole, err := p.Digits(10)
	if err != nil {
		return nil, err
	}
	if p.Peek() == '#' {
		base, err := strconv.ParseUint(strings.ReplaceAll(whole, "_", ""), 10, 8)
		if err != nil || base < 2 || base > 36 {
			p.Pos = start
			return nil, p.Bad("base not in 2 to 36")
		}
		p.Pos++
		digits, err := p.Digits(int(base))
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
	if ok, err := p.Fraction(); err != nil {
		return nil, err
	} else if !ok {
		return p.integer(whole, 10, neg)
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(p.S[start:p.Pos], "_", ""), 64)
	if err != nil {
		return nil, &TextError{Offset: start, Err: ErrFloat}
	}
	if neg {
		f = -f
	}
	return Float(f), nil
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
			return nil, p.Bad("bad digits")
		}
		reverse(mag)
		return bigFromWire(neg, mag), nil
	}
	if len(digits) > maxDigits {
		return nil, &TextError{Offset: p.Pos, Err: tooManyDigits()}
	}
	// With room for 6 bits a digit, SetString does not allocate as it goes.
	v := new(big.Int).SetBits(make([]big.Word, 0, len(digits)*6/bits.UintSize+2))
	v, ok := v.SetString(digits, base)
	if !ok {
		return nil, p.Bad("bad digits")
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
