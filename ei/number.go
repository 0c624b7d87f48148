package ei

import "math/big"

// Int is an integer that fits in 64 bits. See erl_ext_dist, SMALL_INTEGER_EXT, INTEGER_EXT,
// SMALL_BIG_EXT.
type Int int64

// Float is a float: never an infinity or a NaN, which Erlang does not have. See erl_ext_dist,
// NEW_FLOAT_EXT.
type Float float64

// BigInt is an integer outside the range of an int64. It is immutable, and == compares it. The zero
// BigInt is 0, but NewBigInt never makes one. See erl_ext_dist, SMALL_BIG_EXT, LARGE_BIG_EXT;
// ei_decode_bignum.
type BigInt struct {
	neg bool
	mag string // magnitude, little-endian, no high zero byte: as on the wire
}

// NewBigInt gives v as a term: an Int when it fits in an int64, else a BigInt. v is copied.
func NewBigInt(v *big.Int) Term {
	if v.IsInt64() {
		return Int(v.Int64())
	}
	mag := v.Bytes()
	reverse(mag)
	return BigInt{neg: v.Sign() < 0, mag: string(mag)}
}

// Big gives the value as a new *big.Int.
func (t BigInt) Big() *big.Int {
	mag := []byte(t.mag)
	reverse(mag)
	v := new(big.Int).SetBytes(mag)
	if t.neg {
		v.Neg(v)
	}
	return v
}

// Sign gives -1, 0 or 1.
func (t BigInt) Sign() int {
	switch {
	case t.mag == "":
		return 0
	case t.neg:
		return -1
	}
	return 1
}

// bigFromWire makes the integer with a little-endian magnitude, which may have high zero bytes: an
// Int when it fits.
func bigFromWire(neg bool, mag []byte) Term {
	for len(mag) > 0 && mag[len(mag)-1] == 0 {
		mag = mag[:len(mag)-1]
	}
	if v, ok := int64FromWire(neg, mag); ok {
		return Int(v)
	}
	return BigInt{neg: neg, mag: string(mag)}
}

// int64FromWire gives the integer with a little-endian magnitude, and whether it fits in an int64.
func int64FromWire(neg bool, mag []byte) (int64, bool) {
	u, ok := uint64FromWire(mag)
	switch {
	case !ok || u > 1<<63 || (u == 1<<63 && !neg):
		return 0, false
	case neg:
		return int64(-u), true
	}
	return int64(u), true
}

func uint64FromWire(mag []byte) (uint64, bool) {
	for len(mag) > 8 {
		if mag[len(mag)-1] != 0 {
			return 0, false
		}
		mag = mag[:len(mag)-1]
	}
	var u uint64
	for i, x := range mag {
		u |= uint64(x) << (8 * i)
	}
	return u, true
}

func reverse(b []byte) {
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
}

func (Int) isTerm()    {}
func (Float) isTerm()  {}
func (BigInt) isTerm() {}

// isFinite reports whether the float with these bits is neither an infinity nor a NaN.
func isFinite(bits uint64) bool { return bits>>52&0x7ff != 0x7ff }
