package ei_test

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

var negativeZero = ei.Float(math.Copysign(0, -1))

func TestBigInt(t *testing.T) {
	limit := new(big.Int).Lsh(big.NewInt(1), 63)
	for _, tc := range []struct {
		v    *big.Int
		want ei.Term
	}{
		{big.NewInt(0), ei.Int(0)},
		{big.NewInt(math.MaxInt64), ei.Int(math.MaxInt64)},
		{big.NewInt(math.MinInt64), ei.Int(math.MinInt64)},
		{limit, nil},
		{new(big.Int).Sub(big.NewInt(math.MinInt64), big.NewInt(1)), nil},
	} {
		got := ei.NewBigInt(tc.v)
		if tc.want != nil {
			require.Equal(t, tc.want, got)
			continue
		}
		b, ok := got.(ei.BigInt)
		require.True(t, ok)
		require.Zero(t, tc.v.Cmp(b.Big()))
		require.Equal(t, tc.v.Sign(), b.Sign())
		require.Equal(t, tc.v.String(), b.String())
		require.True(t, got == ei.NewBigInt(tc.v), "comparable with ==")

		data := marshal(t, got)
		viaBig := marshal(t, tc.v)
		require.Equal(t, data, viaBig)
		c := ei.NewCursor(data[1:])
		back, err := c.Big()
		require.NoError(t, err)
		require.Zero(t, tc.v.Cmp(back))
	}
	var zero ei.BigInt
	require.Zero(t, zero.Sign())
	require.Zero(t, ei.Compare(zero, ei.Float(0)))
	require.Equal(t, "0", zero.String())
	b := marshal(t, zero)
	got := decode(t, b)
	require.Equal(t, ei.Int(0), got)
}

func TestIntegerRange(t *testing.T) {
	for _, tc := range []struct {
		term         ei.Term
		i, u         bool
		wantI, wantU uint64
	}{
		{ei.Int(0), true, true, 0, 0},
		{ei.Int(255), true, true, 255, 255},
		{ei.Int(-1), true, false, 1<<64 - 1, 0},
		{ei.Int(-1 << 31), true, false, 1<<64 - 1<<31, 0},
		{ei.Int(math.MaxInt64), true, true, math.MaxInt64, math.MaxInt64},
		{ei.Int(math.MinInt64), true, false, 1 << 63, 0},
		{ei.NewBigInt(new(big.Int).SetUint64(1 << 63)), false, true, 0, 1 << 63},
		{ei.NewBigInt(new(big.Int).SetUint64(math.MaxUint64)), false, true, 0, math.MaxUint64},
		{ei.NewBigInt(new(big.Int).Lsh(big.NewInt(1), 64)), false, false, 0, 0},
		{ei.NewBigInt(new(big.Int).Lsh(big.NewInt(-1), 64)), false, false, 0, 0},
		{ei.NewBigInt(new(big.Int).Lsh(big.NewInt(-1), 3000)), false, false, 0, 0},
	} {
		data := appended(t, tc.term)
		c := ei.NewCursor(data)
		i, err := c.Int()
		if tc.i {
			require.NoError(t, err)
			require.Equal(t, int64(tc.wantI), i)
			require.Zero(t, c.Len())
		} else {
			require.ErrorIs(t, err, ei.ErrRange)
			require.Zero(t, c.Offset())
		}
		c = ei.NewCursor(data)
		u, err := c.Uint()
		if tc.u {
			require.NoError(t, err)
			require.Equal(t, tc.wantU, u)
			require.Equal(t, data, ei.AppendUint(nil, u))
		} else {
			require.ErrorIs(t, err, ei.ErrRange)
			require.Zero(t, c.Offset())
		}
	}
}

// A FLOAT_EXT is any number with digits on both sides of a point, as binary_to_term has it.
func TestOldFloatForms(t *testing.T) {
	for text, want := range map[string]float64{"1.5": 1.5, "-1.5e3": -1500, "1.5E+3": 1500, "+0.25": 0.25, "00.50": 0.5,
		"1.00000000000000000000e-02": 0.01} {
		got := decode(t, []byte("\x83c"+text+strings.Repeat("\x00", 31-len(text))))
		require.Equal(t, ei.Float(want), got)
	}
	for _, text := range []string{"", "1", "1.", ".5", "1e5", "1.e5", "1.5e", "1.5e+", "1.5 ", " 1.5", "1.5.5", "--1.5", "1_0.5", "inf",
		"0x1.8p1", "1.5e999"} {
		_, err := ei.Decode([]byte("\x83c" + text + strings.Repeat("\x00", 31-len(text))))
		require.ErrorIs(t, err, ei.ErrFloat, text)
	}
}
