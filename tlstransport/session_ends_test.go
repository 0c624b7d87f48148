package tlstransport

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

// CloseWrite before the connection is made is an error, and has no effect on the session that is
// made afterwards.
func TestCloseWriteBeforeConnect(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c := expect.NoError(w.cb.Socket(nil, w.at)).In(t)
	require.ErrorIs(t, w.cb.CloseWrite(c), syscall.ENOTCONN)
	require.NoError(t, w.cb.Connect(c, w.at, tooLong))
	s := w.accept()
	exchange(t, ours{c}, ours{s}, 10)
}

// Nothing can be written once CloseWrite has returned, even if the handshake ends only then and
// close_notify has not been sent yet.
func TestWriteBehindEarlyCloseWrite(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c := w.connect(w.at)
	s := w.accept()
	require.NoError(t, w.cb.CloseWrite(c))
	require.ErrorIs(t, expect.Err(w.cb.Write(c, []byte("x"), tooLong)), syscall.EPIPE)
	require.Zero(t, expect.NoError(w.cb.Read(s, make([]byte, 1), tooLong)).In(t), "it is the end")

	close(s.halved) // as between CloseWrite and close_notify at the end of a handshake
	require.ErrorIs(t, expect.Err(w.cb.Write(s, []byte("x"), tooLong)), syscall.EPIPE)
}

// CloseWrite ends a Write that waits for the handshake, as it does one that waits for room (see
// transporttest).
func TestCloseWriteEndsWriteInHandshake(t *testing.T) {
	l := expect.Open(net.Listen("tcp", "127.0.0.1:0")).In(t) // nobody answers there
	at := expect.NoError(transport.ParseAddr(l.Addr().String())).In(t)
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c := w.connect(at)
	require.ErrorIs(t, expect.Err(w.cb.Write(c, []byte("x"), 0)), os.ErrDeadlineExceeded)
	written := expect.Aside(func() error { return expect.Err(w.cb.Write(c, []byte("x"), transport.Infinite)) })
	select {
	case err := <-written:
		require.FailNow(t, "it does not wait", "%v", err)
	case <-time.After(50 * time.Millisecond):
	}
	require.NoError(t, w.cb.CloseWrite(c))
	require.NoError(t, w.cb.CloseWrite(c), "once more")
	select {
	case err := <-written:
		require.ErrorIs(t, err, syscall.EPIPE)
	case <-time.After(tooLong):
		require.FailNow(t, "it goes on waiting")
	}
	require.ErrorIs(t, expect.Err(w.cb.Write(c, []byte("x"), 0)), syscall.EPIPE)
}

// A connection that is cut off, between two records or within one, is no end in good order, whoever
// protects the records.
func TestCutOffIsNoEnd(t *testing.T) {
	a := newAuthority(t, "an authority")
	for _, plain := range []bool{false, true} {
		for _, k := range append(kinds, kind{"TLS 1.2 CBC", tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}) {
			for _, rest := range []string{"", "\x17\x03\x03"} {
				t.Run(fmt.Sprintf("%s, plain: %t, then %q", k.name, plain, rest), func(t *testing.T) {
					cfg := restrict(a.mutual(t), k.version, k.suite)
					w := newWorkbench(t, cfg, Options{Plain: plain})
					for _, r := range []role{client, server} {
						s, c := w.against(r, cfg)
						exchange(t, ours{s}, c, 10)
						require.NoError(t, expect.Err(io.WriteString(c.NetConn(), rest)))
						require.NoError(t, c.NetConn().Close())
						for range 2 {
							_, err := s.read(make([]byte, 1), tooLong)
							e := expect.As[*PeerError](t, err)
							require.Equal(t, FailureClosed, e.Failure)
							require.ErrorIs(t, err, io.ErrUnexpectedEOF)
						}
					}
				})
			}
		}
	}
}

// filled writes until there is no room on the wire, and returns how many bytes have been counted.
func filled(t *testing.T, w *workbench, c *Socket) (counted int) {
	t.Helper()
	for p := make([]byte, mostAtOnce); ; {
		n, err := w.cb.Write(c, p, 100*time.Millisecond)
		if counted += n; n == 0 {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			return counted
		}
	}
}

// rest reads all that still comes, and returns how many bytes that are.
func rest(s *Socket) (n int, err error) {
	k, err := io.Copy(io.Discard, struct{ io.Reader }{ours{s}})
	return int(k), err
}

// What was counted, and the end of the stream, reach a peer that reads only after Close. The
// secrets are gone by then.
func TestCloseLosesNothing(t *testing.T) {
	t.Parallel() // it waits
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain: %t", plain), func(t *testing.T) {
			w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{Plain: plain})
			c, s := w.talking()
			var secret []byte
			if !plain && transport.TCP().Movable() {
				secret = c.own.out.secret
			}
			counted := filled(t, w, c)
			require.NoError(t, w.cb.Close(c))
			require.Equal(t, make([]byte, len(secret)), append([]byte{}, secret...))
			require.Equal(t, counted, expect.NoError(rest(s)).In(t))
			require.Eventually(t, func() bool { // Close may leave the last records to another goroutine
				c.out.mu.Lock()
				defer c.out.mu.Unlock()
				return !c.out.busy && c.out.large == nil
			}, tooLong, time.Millisecond, "the large buffer is given back")
		})
	}
}

// A peer that does not read keeps the connection of Close for a limited time only. Release sends
// nothing more at all.
func TestCloseGivesUp(t *testing.T) {
	t.Parallel() // it waits
	for name, last := range map[string]func(w *workbench, c *Socket) error{
		"Close":   func(w *workbench, c *Socket) error { return w.cb.Close(c) },
		"Release": func(w *workbench, c *Socket) error { return w.cb.Release(c) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
			c, s := w.talking()
			counted := filled(t, w, c)
			require.NoError(t, last(w, c))
			require.Eventually(t, func() bool {
				c.out.mu.Lock()
				defer c.out.mu.Unlock()
				return !c.out.busy && c.out.flushed == nil
			}, tooLong, time.Millisecond)
			n, err := rest(s)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.Less(t, n, counted)
		})
	}
}

// A session can move as soon as its handshake has succeeded, even if over is not closed yet.
func TestMovableOnceUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Socket{over: make(chan struct{}), own: &session{}}
		s.up.Store(true) // over will be closed in a moment
		moves := expect.Aside(func() error { return s.movable() })
		synctest.Wait()
		require.Empty(t, moves)
		close(s.over)
		require.NoError(t, <-moves)
	})
}
