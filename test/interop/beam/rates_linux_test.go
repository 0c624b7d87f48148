package beam

import (
	_ "embed"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
)

//go:embed testdata/rates.erl
var rates string

// TestRates logs how many requests and how many connections a second a BEAM serves, over its own
// listener and over a front: repeat it on a quiet machine by
//
//	go test -count=1 -v -run 'TestRates/otp29' ./test/interop/beam
func TestRates(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		d := 2 * time.Second
		if testing.Short() {
			d = 100 * time.Millisecond
		}
		ebin := build(t, r, "src")
		var direct [2]float64
		for _, how := range []string{"direct", "off", "on"} {
			h := newFront(t)
			h.r, h.ebin = r, ebin
			n := r.Start(t, otp.Options{Local: true, ExtraArgs: []string{"-pa", ebin}})
			n.Load(t, rates)
			addr := h.addr
			if how == "direct" {
				addr = "127.0.0.1:" + n.Do(t, "rates:direct(8)")
			} else {
				require.Equal(t, "ok", n.Do(t, fmt.Sprintf(`{ok, _} = application:ensure_all_started(cnode), rates:front("%s", 8, %s)`, h.path, how)))
			}
			now := [2]float64{requests(t, addr, 20, d), connections(t, addr, 20, d)}
			if how == "direct" {
				direct = now
			}
			t.Logf("points %-6s: %6.0f requests/s (%.2f of direct), %6.0f connections/s (%.2f of direct)",
				how, now[0], now[0]/direct[0], now[1], now[1]/direct[1])
			n.Close()
		}
	})
}

// requests is how many a second clients get answers to, each over one connection.
func requests(t *testing.T, addr string, clients int, d time.Duration) float64 {
	return during(t, clients, d, func() (func() error, func()) {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		return func() error { return ask(c) }, func() { c.Close() }
	})
}

// connections is how many a second are made, each for one request.
func connections(t *testing.T, addr string, clients int, d time.Duration) float64 {
	return during(t, clients, d, func() (func() error, func()) {
		return func() error {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				return err
			}
			defer c.Close()
			_ = c.(*net.TCPConn).SetLinger(0) // or there are no more ports after a while
			return ask(c)
		}, func() {}
	})
}

func ask(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(expect.Limit))
	b := []byte("a request of 32 bytes, or nearly")
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err := io.ReadFull(c, b)
	return err
}

// during runs what each client does for a while, and gives how often a second.
func during(t *testing.T, clients int, d time.Duration, client func() (do func() error, end func())) float64 {
	var done atomic.Int64
	failed := make(chan error, clients)
	begin := time.Now()
	for range clients {
		do, end := client()
		go func() {
			var err error
			for err == nil && time.Since(begin) < d {
				if err = do(); err == nil {
					done.Add(1)
				}
			}
			end()
			failed <- err
		}()
	}
	for range clients {
		require.NoError(t, <-failed)
	}
	return float64(done.Load()) / time.Since(begin).Seconds()
}
