package cnodessh

import (
	"testing"

	"github.com/cnode-go/cnode/internal/test/carriers"
)

func beside(b *testing.B) []carriers.Carrier {
	at, cfg := serve(b)
	tr := New(at, cfg)
	return []carriers.Carrier{{Name: "ssh", Listens: tr, Connects: tr, At: loopback()}, carriers.TCP(b)}
}

func BenchmarkRoundTrip(b *testing.B)  { carriers.RoundTrip(b, beside(b)...) }
func BenchmarkThroughput(b *testing.B) { carriers.Throughput(b, beside(b)...) }
