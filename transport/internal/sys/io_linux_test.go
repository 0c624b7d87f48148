package sys

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBytesOfOneSystemCall(t *testing.T) {
	for n, want := range map[int64]int{
		0: 0, 1: 1, rawMax: rawMax,
		rawMax + 54:          rawMax + 54, // a message of 1 MB with its head
		rawMax + rawRest:     rawMax + rawRest,
		rawMax + rawRest + 1: rawMax,
		64 * rawMax:          rawMax,
		// more than an int of 32 bits holds: a vector may name one buffer many times
		3 << 30: rawMax,
	} {
		require.Equal(t, want, oneCall(n), "%d bytes", n)
	}
}
