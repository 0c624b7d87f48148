package ei

import (
	"math"
	"math/bits"
	"reflect"
)

// product is a × b, or the largest int.
func product(a, b int) int {
	if hi, lo := bits.Mul(uint(a), uint(b)); hi == 0 && lo <= math.MaxInt {
		return int(lo)
	}
	return math.MaxInt
}

// allocated is what n bytes take in Go's memory, which has pieces of certain sizes.
func allocated(n int) int {
	if n < 32<<10 {
		return (n + 7 + n/8) &^ 7
	}
	return n
}

// Sizes that a Go map has, in bytes and slots.
const (
	mapHead       = 48
	mapGroup      = 8
	mapMostInline = 128  // a larger value is in memory of its own
	mapTable      = 1024 // a larger map has several tables, each of which grows by itself
)

// pairSize is how many bytes each pair of a map takes in it, and outside of it.
func pairSize(t reflect.Type) (in, apart int) {
	for _, part := range []reflect.Type{t.Key(), t.Elem()} {
		if n := int(part.Size()); n <= mapMostInline {
			in += n
		} else {
			in, apart = in+8, apart+allocated(n)
		}
	}
	return (in+7)&^7 + 1, apart
}
