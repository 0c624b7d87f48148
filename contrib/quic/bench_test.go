package cnodequic_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/carriers"
	"github.com/cnode-go/cnode/tlstransport"
)

// beside is a transport of this package, and others to compare it with.
func beside(b *testing.B) []carriers.Carrier {
	a := newAuthority(b)
	both := a.both(b, "a@127.0.0.1")
	overTLS, err := tlstransport.New(tlstransport.Config{Server: both, Client: both})
	require.NoError(b, err)
	quic := over(b, config(both))
	return []carriers.Carrier{
		{Name: "quic", Listens: quic, Connects: quic, At: loopback(b)},
		{Name: "tls", Listens: overTLS, Connects: overTLS, At: loopback(b)},
		carriers.TCP(b),
	}
}

func BenchmarkRoundTrip(b *testing.B)  { carriers.RoundTrip(b, beside(b)...) }
func BenchmarkThroughput(b *testing.B) { carriers.Throughput(b, beside(b)...) }
