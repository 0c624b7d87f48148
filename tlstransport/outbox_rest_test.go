//go:build unix

package tlstransport

import (
	"context"
	"crypto/tls"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
)

// narrow makes the buffers of a stream's socket small.
func narrow(t *testing.T, s *transport.Stream) {
	raw := expect.NoError(s.SyscallConn()).In(t)
	require.NoError(t, raw.Control(func(fd uintptr) {
		require.NoError(t, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 10_000))
		require.NoError(t, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 10_000))
	}))
}

// What was counted as written when a session was frozen goes out once it goes on, here or in
// another process, though nobody reads or writes.
func TestRestGoesOutWhenNobodyReads(t *testing.T) {
	t.Parallel() // it waits
	a := newAuthority(t, "an authority")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, how := range []string{"thaw", "move", "move and trace"} {
			cfg := restrict(a.mutual(t), version, 0)
			tr := expect.NoError(New(Config{Server: cfg, Client: cfg})).In(t)
			ctx, cancel := context.WithTimeout(context.Background(), tooLong)
			defer cancel()
			l := expect.NoError(tr.Listen(loopback(t), 10)).In(t)
			c := expect.NoError(tr.Connect(ctx, l.Addr())).In(t)
			s := expect.NoError(l.Accept(ctx)).In(t)
			greet(ctx, t, c, s)
			narrow(t, c)
			narrow(t, s)

			q := c.Posts(nil)
			const size = 120_000 // sealed at once, and more than there is room for
			require.NoError(t, q.Post(ctx, nil, make([]byte, size), 0))
			require.Eventually(t, func() bool { queued, _ := q.Buffered(); return queued == 0 }, tooLong, time.Millisecond)
			require.NoError(t, q.Hold(ctx))
			require.NoError(t, c.PauseRead(ctx))
			state, ahead, err := c.Export()
			require.NoError(t, err)
			require.Greater(t, len(state), 1000, "records that are not out")
			require.Empty(t, q.Held())
			require.Empty(t, ahead)
			if how != "thaw" {
				fd := expect.NoError(c.Descriptor()).In(t)
				own := expect.NoError(unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)).In(t)
				next := expect.NoError(tr.Import(own, state)).In(t)
				require.NoError(t, c.Release())
				if how == "move and trace" {
					next = expect.NoError(virtual.TraceStream(next, virtual.TraceOptions{})).In(t)
				}
				c = next
				q = c.Posts(nil)
				require.NoError(t, c.PauseRead(ctx))
				require.NoError(t, q.Stage(ctx, nil))
			}
			q.Unhold()
			c.Resume()
			got, p := 0, make([]byte, size)
			for got < size {
				n, err := s.Read(ctx, p)
				require.NoError(t, err, "after %d bytes", got)
				got += n
			}
			// A read that Resume has made loses nothing.
			require.NoError(t, expect.Err(s.Writev(ctx, []byte("answer"))))
			n := expect.NoError(c.Read(ctx, p)).In(t)
			require.Equal(t, "answer", string(p[:n]))
			require.NoError(t, c.Close())
			require.NoError(t, s.Close())
			require.NoError(t, l.Close())
		}
	}
}

// greet has a byte go each way: then the session is up at both ends.
func greet(ctx context.Context, t *testing.T, c, s *transport.Stream) {
	t.Helper()
	p := make([]byte, 1)
	for _, to := range [][2]*transport.Stream{{c, s}, {s, c}} {
		done := make(chan error, 1)
		go func() { _, err := to[0].Writev(ctx, []byte("x")); done <- err }()
		require.NoError(t, expect.Err(to[1].Read(ctx, p)))
		require.NoError(t, <-done)
	}
}
