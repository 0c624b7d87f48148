package transport

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
)

// carriers are the kinds of transport over which a NetConn or a stream must work the same.
func carriers(t testing.TB) map[string]struct {
	tr Transport
	at Addr
} {
	dir := sockdir.New(t)
	return map[string]struct {
		tr Transport
		at Addr
	}{
		"tcp":    {TCP(), loopback()},
		"unix":   {Unix(), UnixAddr(dir + "/s")},
		"memory": {NewMemory(), MemoryAddr("")},
		"net":    {FromNet(overTCP()), loopback()},
	}
}

// connPairs runs a test over two net.Conns of every carrier.
func connPairs(t *testing.T, test func(t *testing.T, c, s net.Conn)) {
	for name, over := range carriers(t) {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, over.tr, over.at)
			test(t, NetConn(c), NetConn(s))
		})
	}
}

func requireTimeout(t *testing.T, err error) {
	t.Helper()
	ne := expect.As[net.Error](t, err)
	require.True(t, ne.Timeout(), "%v", err)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// The bytes that a write counted before its time-out have been sent, and the next write can go on
// after them: before anybody reads, and while somebody does.
func TestNetConnWriteAfterTimeout(t *testing.T) {
	for name, over := range carriers(t) {
		t.Run(name, func(t *testing.T) {
			test := func(t *testing.T) {
				c, s := pair(t, over.tr, over.at)
				writesAfterTimeout(t, NetConn(c), NetConn(s))
			}
			if name == "tcp" || name == "unix" {
				test(t)
			} else { // its callbacks have a second to come back in, which the machine may need for others
				synctest.Test(t, test)
			}
		})
	}
}

func writesAfterTimeout(t *testing.T, c, s net.Conn) {
	const (
		timeouts = 4
		share    = 1 << 20 // is read after each of them, and makes room for a part of the next write
	)
	sent := make([]byte, 32<<20) // more than all buffers hold
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(sent)
	got := make([]byte, len(sent))
	at := 0
	off := 0
	for range timeouts {
		type result struct {
			n   int
			err error
		}
		write := make(chan result, 1)
		go func() {
			n, err := c.Write(sent[off:])
			write <- result{n, err}
		}()
		expect.WaitsInBubble("", "transport.(*conn).Write")
		require.NoError(t, c.SetWriteDeadline(time.Unix(1, 0)))
		r := expect.Returns(t, write)
		requireTimeout(t, r.err)
		require.NoError(t, c.SetWriteDeadline(time.Time{}))
		off += r.n
		n := expect.NoError(io.ReadFull(s, got[at:min(at+share, off)])).In(t)
		at += n
	}
	require.Positive(t, off)
	read := expect.Aside(func() error { return expect.Err(io.ReadFull(s, got[at:])) })
	n := expect.NoError(c.Write(sent[off:])).In(t)
	require.Equal(t, len(sent), off+n)
	require.NoError(t, expect.Returns(t, read))
	require.True(t, bytes.Equal(sent, got))
}

func TestNetConnQueuesCallers(t *testing.T) {
	connPairs(t, func(t *testing.T, c, s net.Conn) {
		const writers, each = 16, 50
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for range each {
					_, err := c.Write(bytes.Repeat([]byte{byte(i)}, 100))
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		counts := make([]int, writers)
		p := make([]byte, 100)
		for range writers * each {
			require.NoError(t, expect.Err(io.ReadFull(s, p)))
			require.Equal(t, bytes.Repeat(p[:1], 100), p, "a write was not whole")
			counts[p[0]]++
		}
		wg.Wait()
		for i := range counts {
			require.Equal(t, each, counts[i])
		}
	})
}

func TestNetConnClose(t *testing.T) {
	connPairs(t, func(t *testing.T, c, s net.Conn) {
		read := expect.Aside(func() error { _, err := c.Read(make([]byte, 1)); return err })
		second := expect.Aside(func() error { _, err := c.Read(make([]byte, 1)); return err })
		write := expect.Aside(func() error { return expect.Err(c.Write(make([]byte, 64<<20))) })
		local, remote := c.LocalAddr(), c.RemoteAddr()
		// the write has begun; the reads may have, or not: it ends the same
		require.NoError(t, expect.Err(io.ReadFull(s, make([]byte, 1))))
		require.NoError(t, c.Close())
		require.NoError(t, c.Close())
		for _, call := range []<-chan error{read, second, write} {
			require.ErrorIs(t, expect.Returns(t, call), net.ErrClosed)
		}
		for _, set := range []func(time.Time) error{c.SetDeadline, c.SetReadDeadline, c.SetWriteDeadline} {
			err := set(time.Now())
			require.ErrorIs(t, err, net.ErrClosed)
			require.Equal(t, 1, strings.Count(err.Error(), net.ErrClosed.Error()))
		}
		require.ErrorIs(t, expect.Err(c.Write([]byte{1})), net.ErrClosed)
		require.Equal(t, local, c.LocalAddr())
		require.Equal(t, remote, c.RemoteAddr())
		_, err := io.Copy(io.Discard, s)
		require.True(t, err == nil || !errors.Is(err, os.ErrDeadlineExceeded))
	})
}

func TestNetConnCloseWrite(t *testing.T) {
	connPairs(t, func(t *testing.T, c, s net.Conn) {
		require.NoError(t, c.(interface{ CloseWrite() error }).CloseWrite())
		require.Equal(t, io.EOF, expect.Err(s.Read(make([]byte, 1))))
		require.NoError(t, expect.Err(s.Write([]byte("answer"))))
		p := make([]byte, 6)
		require.NoError(t, expect.Err(io.ReadFull(c, p)))
		require.Equal(t, "answer", string(p))
	})
}

func TestNetConnZeroLength(t *testing.T) {
	c, _ := pair(t, TCP(), loopback())
	require.Zero(t, expect.NoError(NetConn(c).Read(nil)).In(t))
	require.Zero(t, expect.NoError(NetConn(c).Write(nil)).In(t))
}

// A deadline that has passed ends a Read even if something was read ahead; that is there for a
// later Read.
func TestNetConnDeadlineBeforeReadAhead(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	requireWrites(t, c, "packet, more")
	require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 1))))
	nc := NetConn(s)
	require.NoError(t, nc.SetReadDeadline(time.Now().Add(-time.Second)))
	b := make([]byte, 20)
	require.ErrorIs(t, expect.Err(nc.Read(b)), os.ErrDeadlineExceeded)
	require.NoError(t, nc.SetReadDeadline(time.Time{}))
	n := expect.NoError(nc.Read(b)).In(t)
	require.Equal(t, "acket, more", string(b[:n]))
}

// A write's deadline reaches the plug-in as its tmo, and is looked at again when that is over, for
// it may have been moved. This plug-in has no Interrupt: its Write has to come back by itself.
func TestNetConnDeadlineIsTmo(t *testing.T) {
	const first, later = time.Second, 3 * time.Second
	for name, tt := range map[string]struct {
		move func(net.Conn) error // after half of the first deadline; nil: nothing
		ends time.Duration        // 0: not before the peer reads
		tmos []time.Duration
	}{
		"not moved": {nil, first, []time.Duration{first, first}},
		"moved": {func(c net.Conn) error { return c.SetWriteDeadline(time.Now().Add(later - first/2)) }, later,
			[]time.Duration{first, first, later - first}},
		"taken back": {func(c net.Conn) error { return c.SetWriteDeadline(time.Time{}) }, 0, []time.Duration{first, first, Infinite}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cb := memoryCallbacks()
				cb.Interrupt = nil
				var tmos []time.Duration
				write := cb.Write
				cb.Write = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
					tmos = append(tmos, tmo)
					return write(s, p, tmo)
				}
				near, far := pairOf(t, cb)
				c := NetConn(near)
				began := time.Now()
				require.NoError(t, c.SetWriteDeadline(began.Add(first)))
				var n int
				written := expect.Aside(func() (err error) { n, err = c.Write(make([]byte, 2*memoryWindow)); return err })
				time.Sleep(first / 2)
				if tt.move != nil {
					require.NoError(t, tt.move(c))
				}
				if tt.ends > 0 {
					requireTimeout(t, <-written)
					require.Equal(t, tt.ends, time.Since(began))
					require.Equal(t, memoryWindow, n)
				}
				time.Sleep(later)
				require.NoError(t, expect.Err(far.Readv(t.Context(), make([]byte, memoryWindow))))
				if tt.ends == 0 {
					require.NoError(t, <-written)
					require.NoError(t, expect.Err(far.Readv(t.Context(), make([]byte, memoryWindow))))
				}
				require.Equal(t, tt.tmos, tmos)
				require.NoError(t, c.SetWriteDeadline(time.Time{}))
				require.NoError(t, expect.Err(c.Write([]byte("the connection lives on"))))
			})
		})
	}
}
