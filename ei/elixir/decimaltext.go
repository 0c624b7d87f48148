package elixir

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// String gives the text of Decimal.to_string/1: 12.34, 1.2E+30, -Infinity, NaN.
func (d Decimal) String() string {
	sign := ""
	if d.Neg {
		sign = "-"
	}
	switch d.Special {
	case Finite:
		return sign + d.digits()
	case Infinity:
		return sign + "Infinity"
	}
	return sign + "NaN"
}

// digits gives the number without its sign. See IBM's General Decimal Arithmetic,
// "to-scientific-string".
func (d Decimal) digits() string {
	digits := d.coef().String()
	n := len(digits)
	switch adjusted := d.Exp + (n - 1); {
	case d.Exp == 0:
		return digits
	case d.Exp < 0 && adjusted >= 0:
		return digits[:n+d.Exp] + "." + digits[n+d.Exp:]
	case d.Exp < 0 && adjusted >= -6:
		return "0." + strings.Repeat("0", -1-adjusted) + digits
	case n == 1:
		return fmt.Sprintf("%sE%+d", digits, adjusted)
	default:
		return fmt.Sprintf("%s.%sE%+d", digits[:1], digits[1:], adjusted)
	}
}

// ParseDecimal reads the whole of a text, as Decimal.new/1 does: 12.34, -1.2E+30, .5, inf, NaN. Any
// other text gives a *ValueError, and so do an exponent of more than nine digits, and more than
// 65,536 digits.
func ParseDecimal(text string) (Decimal, error) {
	var d Decimal
	rest := text
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		d.Neg = rest[0] == '-'
		rest = rest[1:]
	}
	switch strings.ToLower(rest) {
	case "inf", "infinity":
		d.Special = Infinity
		return d, nil
	case "nan":
		d.Special = NaN
		return d, nil
	}
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		exp, err := strconv.ParseInt(rest[i+1:], 10, 32) // beyond the range it is the largest, or smallest
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return Decimal{}, badCoef("%.60q is no decimal number", text)
		}
		d.Exp, rest = int(exp), rest[:i]
	}
	whole, fraction, _ := strings.Cut(rest, ".")
	digits := whole + fraction
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return Decimal{}, badCoef("%.60q is no decimal number", text)
	}
	if len(digits) > maxDigits {
		return Decimal{}, badCoef("it has more than %d digits", maxDigits)
	}
	d.Exp = max(d.Exp, -maxExp-1) - len(fraction)
	if err := within("Decimal", "exp", d.Exp, -maxExp, maxExp); err != nil {
		return Decimal{}, err
	}
	d.Coef, _ = new(big.Int).SetString(digits, 10)
	return d, nil
}
