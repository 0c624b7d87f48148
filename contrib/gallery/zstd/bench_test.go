//go:build unix

package cnodezstd

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/carriers"
)

func beside(b *testing.B) []carriers.Carrier {
	tr, err := New()
	require.NoError(b, err)
	return []carriers.Carrier{{Name: "zstd", Listens: tr, Connects: tr, At: loopback()}, carriers.Unix(b), carriers.TCP(b)}
}

func BenchmarkRoundTrip(b *testing.B)  { carriers.RoundTrip(b, beside(b)...) }
func BenchmarkThroughput(b *testing.B) { carriers.Throughput(b, beside(b)...) } // of zeros
