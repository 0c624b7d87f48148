package elixir

import (
	"errors"
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

// Why a Decimal has no such form; test with errors.Is.
var (
	// ErrNotFinite: a NaN or an infinity.
	ErrNotFinite = errors.New("elixir: a Decimal that is not finite")
	// ErrInexact: a fraction, such as 1/3, without an end in decimal digits.
	ErrInexact = errors.New("elixir: not exact in decimal digits")
	// ErrHuge: an exponent, or a number of digits, too large for what was asked for.
	ErrHuge = errors.New("elixir: a Decimal is too large")
	// ErrSyntax: a text that is no decimal number.
	ErrSyntax = errors.New("elixir: not a decimal number")
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

// DecimalOf gives a fraction, with as few digits as it needs after the point. The error is
// ErrInexact for 1/3 and its like.
func DecimalOf(r *big.Rat) (Decimal, error) {
	digits, exact := r.FloatPrec()
	if !exact {
		return Decimal{}, fmt.Errorf("%w: %.60s", ErrInexact, r)
	}
	coef := new(big.Int).Mul(r.Num(), powerOfTen(digits))
	return NewDecimal(coef.Quo(coef, r.Denom()), -digits), nil
}

func powerOfTen(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// Rat gives the number as a fraction. The error is ErrNotFinite, or ErrHuge for an exponent beyond
// 10,000 or -10,000.
func (d Decimal) Rat() (*big.Rat, error) {
	switch {
	case d.Special != Finite:
		return nil, fmt.Errorf("%w: %v", ErrNotFinite, d)
	case d.Exp > maxRatExp || d.Exp < -maxRatExp:
		return nil, fmt.Errorf("%w: its exponent is %d", ErrHuge, d.Exp)
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
		return &ValueError{Struct: "Decimal", Field: "coef", Reason: "it is negative"}
	}
	if d.Special == Finite && d.coef().BitLen() > sureBits && d.coef().Cmp(powerOfTen(maxDigits)) >= 0 {
		return &ValueError{Struct: "Decimal", Field: "coef", Reason: fmt.Sprintf("it has more than %d digits", maxDigits)}
	}
	if d.Special > Infinity {
		return &ValueError{Struct: "Decimal", Field: "coef", Reason: "it is no number, NaN or infinity"}
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
			return &ValueError{Struct: "Decimal", Field: "coef", Reason: "it is no integer, :NaN or :inf"}
		}
	}
	if err := got.Check(); err != nil {
		return err
	}
	*d = got
	return nil
}
