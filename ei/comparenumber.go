package ei

import (
	"cmp"
	"math"
	"math/big"
	"math/bits"
)

// compareNumbers compares integers and floats; see comparer.
func compareNumbers(a, b Term, exact, loose bool) int {
	fa, floatA := a.(Float)
	fb, floatB := b.(Float)
	switch {
	case floatA && floatB:
		if exact && !loose && fa == 0 && fb == 0 {
			return cmp.Compare(math.Copysign(1, float64(fa)), math.Copysign(1, float64(fb)))
		}
		return cmp.Compare(fa, fb)
	case floatA && exact:
		return 1
	case floatB && exact:
		return -1
	case floatA:
		return -compareIntFloat(b, float64(fa))
	case floatB:
		return compareIntFloat(a, float64(fb))
	}
	return compareInts(a, b)
}

func compareInts(a, b Term) int {
	ia, smallA := a.(Int)
	ib, smallB := b.(Int)
	switch {
	case smallA && smallB:
		return cmp.Compare(ia, ib)
	case smallA:
		return -compareBigInt(b.(BigInt), ia)
	case smallB:
		return compareBigInt(a.(BigInt), ib)
	}
	x, y := a.(BigInt), b.(BigInt)
	if x.Sign() != y.Sign() {
		return cmp.Compare(x.Sign(), y.Sign())
	}
	return x.Sign() * compareMagnitudes(x.mag, y.mag)
}

// compareBigInt compares a BigInt with an Int: a BigInt is 0, or outside the range of Int.
func compareBigInt(a BigInt, i Int) int {
	if a.mag == "" {
		return cmp.Compare(0, i)
	}
	return a.Sign()
}

// compareMagnitudes compares little-endian numbers without high zero bytes.
func compareMagnitudes(x, y string) int {
	if len(x) != len(y) {
		return cmp.Compare(len(x), len(y))
	}
	for i := len(x) - 1; i >= 0; i-- {
		if x[i] != y[i] {
			return cmp.Compare(x[i], y[i])
		}
	}
	return 0
}

// compareIntFloat compares exactly, without rounding the integer.
func compareIntFloat(a Term, f float64) int {
	switch {
	case math.IsNaN(f), math.IsInf(f, 1):
		return -1
	case math.IsInf(f, -1):
		return 1
	}
	if i, ok := a.(Int); ok {
		whole := math.Trunc(f)
		switch {
		case whole >= 1<<63:
			return -1
		case whole < -1<<63:
			return 1
		case int64(i) != int64(whole):
			return cmp.Compare(int64(i), int64(whole))
		}
		return cmp.Compare(whole, f)
	}
	x := a.(BigInt)
	if x.mag == "" {
		return compareIntFloat(Int(0), f)
	}
	// beyond any float
	if bitLen := 8*len(x.mag) - bits.LeadingZeros8(x.mag[len(x.mag)-1]); bitLen > 1024 {
		return x.Sign()
	}
	// exact; a fraction is only cut off where f is small and x far away
	v, _ := big.NewFloat(f).Int(nil)
	return x.Big().Cmp(v)
}
