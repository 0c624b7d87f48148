package beam

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/transport/handoff"
)

// listens has the front of a house listen at another address, too.
func (h *house) listens(network, address string, o *front.ServeOptions) (at string) {
	h.t.Helper()
	l, err := h.k.Listen(h.t.Context(), network, address)
	require.NoError(h.t, err)
	ended := make(chan error, 1)
	go func() { ended <- h.k.Serve(context.Background(), l, o) }()
	h.t.Cleanup(func() {
		require.NoError(h.t, h.k.Close())
		require.ErrorIs(h.t, <-ended, net.ErrClosed)
	})
	return l.Addr().String()
}

func calling(t *testing.T, c net.Conn, err error) *caller {
	t.Helper()
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(expect.Limit))
	return &caller{Conn: c, r: bufio.NewReader(c)}
}

// testTLS is what a front needs to end TLS.
func testTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}}
}

// A BEAM serves sessions whose TLS ends at the front. They go on in the next one.
func TestTLSAtTheFront(t *testing.T) {
	t.Parallel()
	config := testTLS(t)
	otp.Each(t, func(t *testing.T, r otp.Release) {
		h := newHouse(t, r)
		addr := h.listens("tcp", "127.0.0.1:0", &front.ServeOptions{TLS: config})
		for _, kind := range []string{"gen_tcp", "socket"} {
			t.Run(kind, func(t *testing.T) {
				before := h.k.Stats()
				w := h.worker(kind)
				conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
				c := calling(t, conn, err)
				require.NoError(t, c.ask())
				require.NoError(t, c.ask())
				w.Kill()
				next := h.worker(kind)
				require.NoError(t, c.ask())
				require.Equal(t, "ok", next.Do(t, "line:stop(line_server)")) // an orderly end
				next.Stop(t)
				last := h.worker(kind)
				require.NoError(t, c.ask())
				require.NoError(t, c.Close())
				h.until("it is over", func(s front.Stats) bool { return s.Sessions == 0 })
				last.Kill()
				h.until("nobody is there", func(s front.Stats) bool { return len(s.Workers) == 0 })
				after := h.k.Stats()
				require.Equal(t, before.Reset, after.Reset)
				require.Equal(t, before.Moved+2, after.Moved)
			})
		}
	})
}

// A BEAM serves clients of a UNIX listener, whose sessions end with it: what a kill leaves is never
// taken for a whole answer by the next BEAM.
func TestUnixListener(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		h := newHouse(t, r)
		path := h.listens("unix", filepath.Join(filepath.Dir(h.path), "clients"), nil)
		for _, kind := range []string{"gen_tcp", "socket"} {
			t.Run(kind, func(t *testing.T) {
				w := h.worker(kind)
				conn, err := net.Dial("unix", path)
				c := calling(t, conn, err)
				require.NoError(t, c.ask())
				require.NoError(t, c.ask())
				w.Kill()
				next := h.worker(kind)
				err = c.ask()
				require.Error(t, err)
				require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
				conn, err = net.Dial("unix", path)
				c = calling(t, conn, err)
				require.NoError(t, c.ask())
				require.NoError(t, c.Close())
				h.until("it is over", func(s front.Stats) bool { return s.Sessions == 0 })
				next.Kill()
				h.until("nobody is there", func(s front.Stats) bool { return len(s.Workers) == 0 })
			})
		}
	})
}

// The front moves to another one while clients work and a BEAM serves them, which is killed after
// that: no client notices either.
func TestFrontMoves(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		h := newHouse(t, r)
		h.worker("gen_tcp")
		w := h.worker("socket")
		h.until("both are there", func(s front.Stats) bool { return len(s.Workers) == 2 })
		const many = 20
		c := clients(h.addr, many, 5*time.Millisecond)
		works := func() {
			t.Helper()
			before := c.answers.Load()
			require.Eventually(t, func() bool { return c.answers.Load()-before > 5*many }, expect.Limit, time.Millisecond)
		}
		works()
		old, next := h.moves(t)
		require.NoError(t, old.Close())
		works()
		w.Kill()
		works()
		h.worker("socket") // who comes to the same path
		works()
		report := c.ends()
		s := next.Stats()
		t.Log(report, "; front: ", s)
		require.Zero(t, c.wrong.Load()+c.broken.Load(), report)
		require.Zero(t, s.Reset)
		require.Positive(t, s.Moved)
	})
}

// moves hands everything over to another front, as at its upgrade.
func (h *house) moves(t *testing.T) (old, next *front.Keeper) {
	t.Helper()
	ch, theirs, err := handoff.ChannelPair()
	require.NoError(t, err)
	took := make(chan error, 1)
	go func() {
		there, err := handoff.FileChannel(theirs)
		if err == nil {
			next, err = front.Take(context.Background(), there, &front.Options{Log: otp.Log(t, "next front"), Dial: h.dial})
			_ = there.Close()
		}
		took <- err
	}()
	handed, err := h.k.Give(expect.Context(t), ch)
	require.NoError(t, err)
	require.True(t, handed.Moved)
	require.NoError(t, <-took)
	require.NoError(t, ch.Close())
	old = h.k
	h.k = next
	l, err := next.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.Equal(t, h.addr, l.Addr().String())
	ended := make(chan error, 1)
	go func() { ended <- next.Serve(context.Background(), l, nil) }()
	require.NoError(t, next.Workers(context.Background(), h.path))
	t.Cleanup(func() {
		require.NoError(t, next.Close())
		require.ErrorIs(t, <-ended, net.ErrClosed)
	})
	return old, next
}
