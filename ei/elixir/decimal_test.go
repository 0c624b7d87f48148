package elixir_test

import (
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
)

// What Decimal 3.1 makes of a text, and what text it gives to that.
func TestDecimalText(t *testing.T) {
	for _, tt := range []struct {
		in   string
		neg  bool
		coef string // or what is Special
		exp  int
		out  string
	}{
		{"0", false, "0", 0, "0"},
		{"-0", true, "0", 0, "-0"},
		{"1", false, "1", 0, "1"},
		{"-1.5", true, "15", -1, "-1.5"},
		{"1.500", false, "1500", -3, "1.500"},
		{"0.001", false, "1", -3, "0.001"},
		{"0.000001", false, "1", -6, "0.000001"},
		{"0.0000001", false, "1", -7, "1E-7"},
		{"1E+3", false, "1", 3, "1E+3"},
		{"1E3", false, "1", 3, "1E+3"},
		{"12E-3", false, "12", -3, "0.012"},
		{"-12.34E+5", true, "1234", 3, "-1.234E+6"},
		{"1e20", false, "1", 20, "1E+20"},
		{"12345.678E-10", false, "12345678", -13, "0.0000012345678"},
		{"123456789012345678901234567890.5", false, "1234567890123456789012345678905", -1, "123456789012345678901234567890.5"},
		{"0E+3", false, "0", 3, "0E+3"},
		{"0E-8", false, "0", -8, "0E-8"},
		{"0.00", false, "0", -2, "0.00"},
		{"+3", false, "3", 0, "3"},
		{".5", false, "5", -1, "0.5"},
		{"5.", false, "5", 0, "5"},
		{"00012", false, "12", 0, "12"},
		{"NaN", false, "NaN", 0, "NaN"},
		{"-nan", true, "NaN", 0, "-NaN"},
		{"inf", false, "inf", 0, "Infinity"},
		{"-Infinity", true, "inf", 0, "-Infinity"},
	} {
		d := decimal(t, tt.in)
		require.Equal(t, tt.out, d.String())
		require.Equal(t, tt.neg, d.Neg, tt.in)
		require.Equal(t, tt.exp, d.Exp, tt.in)
		switch tt.coef {
		case "NaN":
			require.Equal(t, elixir.NaN, d.Special)
		case "inf":
			require.Equal(t, elixir.Infinity, d.Special)
		default:
			require.Equal(t, tt.coef, d.Coef.String(), tt.in)
		}
	}
	for _, in := range []string{"", "-", ".", "e5", "abc", "1e", "1e5x", "1.2.3", "1_0", "--1", "1e1.5", " 1", "1 ", "١", "1e+-3"} {
		_, err := elixir.ParseDecimal(in)
		require.ErrorContains(t, err, "is no decimal number", in)
	}
	for _, in := range []string{"1e1000000000", "1e-1000000000", "1e99999999999999999999"} {
		_, err := elixir.ParseDecimal(in)
		require.ErrorIs(t, err, ei.ErrRange, in)
	}
}

func TestDecimalAndRat(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0/1", "-0": "0/1", "1.50": "3/2", "-0.001": "-1/1000", "12E2": "1200/1", "1E-3": "1/1000",
	} {
		d := decimal(t, in)
		r, err := d.Rat()
		require.NoError(t, err)
		require.Equal(t, want, r.String())
		back, err := elixir.DecimalOf(r)
		require.NoError(t, err)
		again, err := back.Rat()
		require.NoError(t, err)
		require.Zero(t, r.Cmp(again))
	}
	for in, want := range map[string]string{"3/2": "1.5", "-1/8": "-0.125", "100": "100", "1/1000": "0.001", "0": "0", "7/20": "0.35"} {
		r, ok := new(big.Rat).SetString(in)
		require.True(t, ok)
		d, err := elixir.DecimalOf(r)
		require.NoError(t, err)
		require.Equal(t, want, d.String())
	}
	_, err := elixir.DecimalOf(big.NewRat(1, 3))
	require.EqualError(t, err, "elixir: coef of a Decimal: 1/3 has no end in decimal digits")

	_, err = elixir.Decimal{Special: elixir.NaN}.Rat()
	require.ErrorContains(t, err, "it is NaN")
	_, err = elixir.Decimal{Special: elixir.Infinity, Neg: true}.Rat()
	require.EqualError(t, err, "elixir: coef of a Decimal: it is -Infinity")
	for _, exp := range []int{10_001, -10_001, 999_999_999} {
		d := elixir.NewDecimal(big.NewInt(1), exp)
		_, err = d.Rat()
		require.ErrorIs(t, err, ei.ErrRange)
		require.Less(t, len(d.String()), 20)
	}
	r, err := elixir.NewDecimal(big.NewInt(-1), 10_000).Rat()
	require.NoError(t, err)
	require.Equal(t, "-1"+strings.Repeat("0", 10_000)+"/1", r.String())
	require.Equal(t, "-12.34", elixir.NewDecimal(big.NewInt(-1234), -2).String())
	require.Equal(t, "0", elixir.Decimal{}.String())
}

// A peer sends a coefficient of a megabyte, whose digits would take seconds.
func TestDecimalOfManyDigits(t *testing.T) {
	most := strings.Repeat("9", 1<<16)
	d := decimal(t, most)
	data := marshal(t, d)
	var back elixir.Decimal
	require.NoError(t, ei.Unmarshal(data, &back))
	require.Equal(t, most, back.String())

	more := new(big.Int).Add(d.Coef, big.NewInt(1))
	for _, coef := range []*big.Int{more, new(big.Int).Lsh(more, 8<<20)} {
		huge := elixir.NewDecimal(coef, 0)
		var wrong *elixir.ValueError
		require.ErrorAs(t, huge.Check(), &wrong)
		require.EqualError(t, wrong, "elixir: coef of a Decimal: it has more than 65536 digits")
		_, err := ei.Marshal(huge)
		require.ErrorAs(t, err, &wrong)
		peers := ei.Map{{Key: ei.Atom("__struct__"), Value: ei.Atom("Elixir.Decimal")}, {Key: ei.Atom("sign"), Value: ei.Int(1)},
			{Key: ei.Atom("coef"), Value: ei.NewBigInt(coef)}, {Key: ei.Atom("exp"), Value: ei.Int(0)}}
		require.ErrorAs(t, ei.UnmarshalTerm(peers, &back), &wrong)
	}
	for _, text := range []string{most + "9", "0." + most, most[1:] + ".99"} {
		_, err := elixir.ParseDecimal(text)
		require.ErrorIs(t, err, ei.ErrRange)
		require.Less(t, len(err.Error()), 100)
	}
}

// A large exponent is a few bytes, and stays so.
func TestDecimalOfLargeExponent(t *testing.T) {
	for text, want := range map[string]string{
		"1E999999999": "1E+999999999", "1E-999999999": "1E-999999999", "12E999999998": "1.2E+999999999",
	} {
		d := decimal(t, text)
		require.Equal(t, want, d.String())
		_, err := d.Rat()
		require.ErrorIs(t, err, ei.ErrRange)
	}
	d := elixir.NewDecimal(big.NewInt(1), 1_000_000_000) // which Check refuses
	require.Equal(t, "1E+1000000000", d.String())
	_, err := ei.Marshal(d)
	require.ErrorIs(t, err, ei.ErrRange)
}

func decimal(t *testing.T, text string) elixir.Decimal {
	t.Helper()
	d, err := elixir.ParseDecimal(text)
	require.NoError(t, err, text)
	return d
}
