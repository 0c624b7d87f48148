package beam

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// storms ends at random moments what serves, has the front move to another process, and has clients
// leave in the middle of a frame: each message of all others is answered once.
//
//	CNODE_TEST_SOCKETS_SECONDS=900 go test -count=1 -v -timeout 1h -run 'TestSockets/elixir1.18/storms' ./test/interop/beam
func storms(t *testing.T, e otp.Elixir, lib []string) {
	need.Long(t, 2*time.Minute)
	long := time.Duration(otp.Times("CNODE_TEST_SOCKETS_SECONDS", 40)) * time.Second
	until := func() time.Time { return time.Now().Add(long) }
	t.Run("WebSock", func(t *testing.T) {
		program, err := os.ReadFile("testdata/counter.ex")
		require.NoError(t, err)
		h := newFront(t)
		start := func() *worker {
			return serve(t, h, e.Program, append(lib, "-e", string(program), "-e", fmt.Sprintf(`Counter.run(%q)`, h.path))...)
		}
		w := start()
		plain, compressed := sing(t, h, 30, ""), sing(t, h, 30, deflateOffer)
		for _, c := range append(plain.all, compressed.all...) {
			_ = c.SetDeadline(until().Add(2 * expect.Limit))
		}
		h.storm(t, until(), w, start, "/counter", func() { plain.works(t); compressed.works(t) })
		for _, s := range []*chorus{plain, compressed} {
			close(s.stop)
			for range 2 * len(s.all) {
				require.NoError(t, <-s.ends)
			}
			for _, c := range s.all {
				require.Equal(t, c.all, c.got.Load())
				require.NoError(t, c.Close())
			}
			t.Logf("%d messages, each answered once", s.answers())
		}
	})
	t.Run("channels", func(t *testing.T) {
		h := newFront(t)
		start := h.rooms(e, lib)
		w := start()
		var all []*parley
		for _, path := range []string{"/client", "/server"} {
			p := hold(t, 30, 60*time.Millisecond, func() (*talker, error) { return talk(h.addr, path, 50*time.Millisecond, dialPlain) })
			for _, c := range p.all {
				_ = c.SetDeadline(until().Add(2 * expect.Limit))
			}
			all = append(all, p)
		}
		h.storm(t, until(), w, start, "/client/websocket?vsn=2.0.0", func() { all[0].works(t); all[1].works(t) })
		for _, p := range all {
			p.end(t, time.Now())
		}
	})
}

// storm does something until the time has come, again and again, at random moments.
func (h *house) storm(t *testing.T, until time.Time, w *worker, start func() *worker, path string, works func()) {
	t.Helper()
	before := h.k.Stats().Reset
	ends := func(s syscall.Signal) {
		require.NoError(t, syscall.Kill(w.pid, s))
		w.wait()
	}
	done := map[string]int{}
	for time.Now().Before(until) {
		works()
		time.Sleep(rand.N(200 * time.Millisecond))
		left := h.opens(t, path)
		what := []string{"kill", "stop", "roll", "rolling kill", "front"}[rand.IntN(5)]
		switch what {
		case "kill":
			ends(syscall.SIGKILL)
			w = start()
		case "stop":
			ends(syscall.SIGTERM)
			w = start()
		case "roll", "rolling kill":
			next := start()
			ends(map[string]syscall.Signal{"roll": syscall.SIGTERM, "rolling kill": syscall.SIGKILL}[what])
			w = next
		case "front":
			old, _ := h.moves(t)
			require.NoError(t, old.Close())
			points := h.k.Stats().Points
			h.until("the next front hears the worker", func(s front.Stats) bool { return s.Points > points })
		}
		require.NoError(t, left.Close())
		done[what]++
	}
	works()
	t.Logf("%v; front: %v", done, h.k.Stats())
	require.Equal(t, before, h.k.Stats().Reset)
	h.until("the workers are there", func(s front.Stats) bool { return len(s.Workers) == 1 })
}

// opens is a client that has sent half a frame.
func (h *house) opens(t *testing.T, path string) net.Conn {
	t.Helper()
	c := openWebsocket(t, h.addr, path, "")
	b := wsFrame(wsFin|wsText, []byte("never to be whole"))
	_, err := c.Write(b[:1+rand.IntN(len(b)-1)])
	require.NoError(t, err)
	return c
}
