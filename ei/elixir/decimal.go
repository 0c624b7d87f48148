package elixir

import (
	"fmt"
	"math/big"

	"github.com/cnode-go/cnode/ei"
)

// A Decimal is a number of the library Decimal: Coef × 10^Exp, or minus that, exactly. How many
// zeros it ends in is part of it: 1.50 is 150 × 10^-2. The zero value is 0.
type Decimal struct {
	Neg     bool // it has a minus; 0 may have one, too
	Special Special
	Coef    *big.Int // nil, which is 0, or the digits: not negative; of no meaning for what is Special
	Exp     int
}

// Special tells what a Decimal is that is no number.
type Special uint8

const (
	Finite   Special = iota // it is a number
	NaN                     // :NaN, the result of 0 / 0 and the like
	Infinity                // :inf
)

// maxRatExp is up to which exponent, positive or negative, Rat makes a fraction. A peer sends a
// large exponent in a few bytes, and a fraction of it would take memory in proportion to the
// exponent.
const maxRatExp = 10_000

// maxDigits is how many digits the coefficient of a Decimal may have that is read, from a term or a
// text, or written as a term: to read and to write digits takes more than linear time.
const maxDigits = 1 << 16

// sureBits is how many bits are never more digits than that.
const sureBits = 217_705

// maxExp bounds an exponent as such.
const maxExp = 999_999_999

// NewDecimal gives coef × 10^exp: 1234, -2 is 12.34.
func NewDecimal(coef *big.Int, exp int) Decimal {
	return Decimal{Neg: coef.Sign() < 0, Coef: new(big.Int).Abs(coef), Exp: exp}
}

// DecimalOf gives a fraction, with as few digits as it needs after the point. 1/3 and its
// like, which have no end in decimal digits, give a *ValueError.
func DecimalOf(r *big.Rat) (Decimal, error) {
	digits, exact := r.FloatPrec()
	if !exact {
		return Decimal{}, badCoef("%.60s has no end in decimal digits", r)
	}
	coef := new(big.Int).Mul(r.Num(), powerOfTen(digits))
	return NewDecimal(coef.Quo(coef, r.Denom()), -digits), nil
}

func badCoef(format string, args ...any) error {
	return &ValueError{Struct: "Decimal", Field: "coef", Reason: fmt.Sprintf(format, args...)}
}

func powerOfTen(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// Rat gives the number as a fraction. What is not finite, or has an exponent beyond 10,000 or
// -10,000, gives a *ValueError.
func (d Decimal) Rat() (*big.Rat, error) {
	if d.Special != Finite {
		return nil, badCoef("it is %v", d)
	}
	if err := within("Decimal", "exp", d.Exp, -maxRatExp, maxRatExp); err != nil {
		return nil, err
	}
	coef := new(big.Int).Set(d.coef())
	if d.Neg {
		coef.Neg(coef)
	}
	if d.Exp >= 0 {
		return new(big.Rat).SetInt(coef.Mul(coef, powerOfTen(d.Exp))), nil
	}
	return new(big.Rat).SetFrac(coef, powerOfTen(-d.Exp)), nil
}

func (d Decimal) coef() *big.Int {
	if d.Coef == nil {
		return new(big.Int)
	}
	return d.Coef
}

// Check gives a *ValueError for a negative Coef, for one of more than 65,536 digits, and for an
// Exp of more than nine digits.
func (d Decimal) Check() error {
	if err := within("Decimal", "exp", d.Exp, -maxExp, maxExp); err != nil {
		return err
	}
	if d.Special == Finite && d.coef().Sign() < 0 {
		return badCoef("it is negative")
	}
	if d.Special == Finite && d.coef().BitLen() > sureBits && d.coef().Cmp(powerOfTen(maxDigits)) >= 0 {
		return badCoef("it has more than %d digits", maxDigits)
	}
	if d.Special > Infinity {
		return badCoef("it is no number, NaN or infinity")
	}
	return nil
}

// The atoms that stand for a coefficient.
const (
	coefNaN      = ei.Atom("NaN")
	coefInfinity = ei.Atom("inf")
)

type decimalWire struct {
	_    struct{} `ei:"struct=Elixir.Decimal"`
	Sign int
	Coef any // an integer, NaN, inf
	Exp  int
}

// AppendTerm appends the number as a %Decimal{}.
func (d Decimal) AppendTerm(b []byte) ([]byte, error) {
	if err := d.Check(); err != nil {
		return b, err
	}
	w := decimalWire{Sign: 1, Coef: d.coef(), Exp: d.Exp}
	if d.Neg {
		w.Sign = -1
	}
	switch d.Special {
	case NaN:
		w.Coef = coefNaN
	case Infinity:
		w.Coef = coefInfinity
	}
	return ei.Append(b, w)
}

// ReadTerm reads a %Decimal{}.
func (d *Decimal) ReadTerm(c *ei.Cursor) error {
	w := decimalWire{Sign: missing, Exp: missing}
	if err := c.Unmarshal(&w); err != nil {
		return err
	}
	if w.Sign != 1 && w.Sign != -1 {
		return &ValueError{Struct: "Decimal", Field: "sign", Reason: "it is not 1 or -1"}
	}
	got := Decimal{Neg: w.Sign < 0, Exp: w.Exp}
	switch coef := w.Coef.(type) {
	case ei.Int:
		got.Coef = big.NewInt(int64(coef))
	case ei.BigInt:
		got.Coef = coef.Big() // of which Check takes the size
	default:
		switch coef {
		case coefNaN:
			got.Special = NaN
		case coefInfinity:
			got.Special = Infinity
		default:
			return badCoef("it is no integer, :NaN or :inf")
		}
	}
	if err := got.Check(); err != nil {
		return err
	}
	*d = got
	return nil
}
