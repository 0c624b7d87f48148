// Package line gives tests and the benchmark a slow line: two network namespaces that only it
// connects. The kernel's own token bucket (tc-tbf(8)) bounds the rate at both ends, and a wire of
// this package carries the packets from one to the other, later by half of the delay each. What
// does not fit into the bucket's queue is dropped, as a router does; otherwise nothing is lost, but
// for Options.Loss, and nothing overtakes anything.
//
// It needs Linux, the rights of root, /dev/net/tun, and ip and tc of iproute2. Nothing of it
// outlives the process, however that ends: the namespaces have no names.
package line

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/transport"
)

// ErrUnavailable is wrapped by the error of Open where this machine, or this user, cannot have a
// line.
var ErrUnavailable = errors.New("no slow line here: it takes Linux, root, /dev/net/tun, and ip and tc (Debian: iproute2)")

// The addresses of the ends, from the range for benchmarks (RFC 2544). No packet to them leaves the
// namespaces.
var addresses = [2]string{"198.18.0.1", "198.18.0.2"}

// Options say what a line is like.
type Options struct {
	Rate  int           // bits per second, in each direction
	Delay time.Duration // there and back; 0: as little as it takes, about 0.1 ms
	Loss  float64       // of how many packets in each direction, between 0 and 1, the line loses
}

// New opens a line for a test, and closes it when the test ends. Without root, Linux or iproute2
// the test is skipped, or fails where CNODE_TEST_REQUIRE is set.
func New(t testing.TB, o Options) *Line {
	t.Helper()
	l, err := Open(o)
	if errors.Is(err, ErrUnavailable) {
		need.Missing(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// End returns one of the two ends, 0 or 1.
func (l *Line) End(i int) *End { return l.ends[i] }

// Addr is the end's IP address.
func (e *End) Addr() string { return e.addr }

// Transport is a transport whose sockets are at this end: of connections made and of listeners,
// and so of the connections that these accept.
func (e *End) Transport(below transport.Transport) transport.Transport { return &placed{below, e} }

// A placed is a transport whose sockets are made in a namespace.
type placed struct {
	transport.Transport
	end *End
}

func (p *placed) Listen(addr transport.Addr, backlog int) (l *transport.Listener, err error) {
	err = p.end.Do(func() (err error) {
		l, err = p.Transport.Listen(addr, backlog)
		return err
	})
	return l, err
}

func (p *placed) Connect(ctx context.Context, addr transport.Addr) (s *transport.Stream, err error) {
	err = p.end.Do(func() (err error) {
		s, err = p.Transport.Connect(ctx, addr)
		return err
	})
	return s, err
}
