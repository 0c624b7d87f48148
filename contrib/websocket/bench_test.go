package cnodews_test

import (
	"net/http/httptest"
	"testing"

	"github.com/cnode-go/cnode/contrib/websocket"
	"github.com/cnode-go/cnode/internal/test/carriers"
)

// beside is a transport of this package, with HTTP alone and below TLS, and TCP.
func beside(b *testing.B) []carriers.Carrier {
	open := func(name string, start func(*httptest.Server)) carriers.Carrier {
		s := newSite(b, start)
		listens := cnodews.New(nil)
		return carriers.Carrier{
			Name: name, Listens: listens, Connects: cnodews.New(&cnodews.Options{Client: s.Client()}), At: s.put(listens),
		}
	}
	return []carriers.Carrier{open("ws", (*httptest.Server).Start), open("wss", (*httptest.Server).StartTLS), carriers.TCP(b)}
}

func BenchmarkRoundTrip(b *testing.B)  { carriers.RoundTrip(b, beside(b)...) }
func BenchmarkThroughput(b *testing.B) { carriers.Throughput(b, beside(b)...) }
