package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A through is a plug-in's socket over a stream that does nothing but use it.
type through struct {
	*Stream
	in, out atomic.Pointer[context.CancelFunc] // of the calls in flight
}

// call runs one direction's call for tmo, or until it is interrupted.
func (*through) call(
	cancels *atomic.Pointer[context.CancelFunc], tmo time.Duration, f func(context.Context) error,
) error {
	if tmo == 0 {
		return reasonOf(f(NoWait()))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if tmo != Infinite {
		ctx, cancel = context.WithTimeout(ctx, tmo)
		defer cancel()
	}
	cancels.Store(&cancel)
	defer cancels.Store(nil)
	err := reasonOf(f(ctx))
	if errors.Is(err, context.Canceled) {
		return os.ErrDeadlineExceeded
	}
	return err
}

func (s *through) interrupt() {
	for _, cancel := range []*context.CancelFunc{s.in.Load(), s.out.Load()} {
		if cancel != nil {
			(*cancel)()
		}
	}
}

// throughCallbacks are what Over needs, no more.
func throughCallbacks() Callbacks[*through] {
	return Callbacks[*through]{
		Flags: FullImpl | Direct,
		Read: func(s *through, p []byte, tmo time.Duration) (n int, err error) {
			err = s.call(&s.in, tmo, func(ctx context.Context) error { n, err = s.Read(ctx, p); return err })
			return n, err
		},
		Write: func(s *through, p []byte, tmo time.Duration) (int, error) {
			var n int64
			err := s.call(&s.out, tmo, func(ctx context.Context) (err error) {
				n, err = s.WriteSome(ctx, nil, p)
				return err
			})
			return int(n), err
		},
		Interrupt:                 (*through).interrupt,
		HandshakePacketHeaderSize: func(*through) (int, error) { return 2, nil },
		GetFD:                     func(*through) (int, error) { return -1, errors.ErrUnsupported },
		LocalAddr:                 func(s *through) (Addr, error) { return s.LocalAddr(), nil },
		CloseWrite:                func(s *through) error { return reasonOf(s.CloseWrite()) },
		Close:                     func(s *through) error { return reasonOf(s.Close()) },
		Release:                   func(s *through) error { return reasonOf(s.Release()) },
		Abort:                     func(s *through) error { return reasonOf(s.Abort()) },
	}
}

func overThrough(s *Stream) (*Stream, error) {
	return Over(s, throughCallbacks(), func(below *Stream) *through { return &through{Stream: below} })
}

func reasonOf(err error) error {
	if e, ok := err.(*OpError); ok {
		return e.Err
	}
	return err
}

// open returns a new stream, which is closed at the end of the test.
func open(t testing.TB) func(*Stream, error) *Stream {
	return func(s *Stream, err error) *Stream {
		require.NoError(t, err)
		t.Cleanup(func() { s.Close() })
		return s
	}
}

// A stream that is taken over goes on with what was read ahead; the old one is disconnected and
// closes nothing.
func TestTakeOver(t *testing.T) {
	c, s := pair(t, NewMemory(), MemoryAddr(""))
	requireWrites(t, c, "abcdef")
	_, err := s.Readv(soon(t), make([]byte, 1)) // and reads ahead
	require.NoError(t, err)
	taken := open(t)(overThrough(s))
	require.Equal(t, s.RemoteAddr(), taken.RemoteAddr())
	require.Equal(t, s.LocalAddr(), taken.LocalAddr())

	require.ErrorIs(t, expect.Err(s.Readv(soon(t), make([]byte, 1))), syscall.ENOTCONN)
	require.ErrorIs(t, expect.Err(s.Writev(soon(t), []byte("x"))), syscall.ENOTCONN)
	require.ErrorIs(t, expect.Err(overThrough(s)), syscall.ENOTCONN)
	require.Equal(t, 5, expect.NoError(taken.PendingBytes()).In(t))
	require.NoError(t, s.Close())

	requireReads(t, taken, "bcdef")
	requireWrites(t, taken, "answer")
	require.NoError(t, expect.Err(c.Readv(soon(t), make([]byte, 6))))
	require.NoError(t, taken.Close())
	require.Equal(t, io.EOF, expect.Err(c.Read(soon(t), make([]byte, 1))))
}

// A stream that was disconnected, or taken over, reaches its socket no more: that may be another
// stream's.
func TestUseAfterDisconnect(t *testing.T) {
	uses := map[string]func(*Stream) error{
		"HandshakePacketHeaderSize": func(s *Stream) error { return expect.Err(s.HandshakePacketHeaderSize(soon(t))) },
		"CheckPeer":                 func(s *Stream) error { return s.CheckPeer(soon(t), "n@h") },
		"HandshakeComplete":         func(s *Stream) error { return s.HandshakeComplete(soon(t), true) },
		"PendingBytes":              func(s *Stream) error { return expect.Err(s.PendingBytes()) },
		"Descriptor":                func(s *Stream) error { return expect.Err(s.Descriptor()) },
		"SyscallConn":               func(s *Stream) error { return expect.Err(s.SyscallConn()) },
		"Unacknowledged":            func(s *Stream) error { return expect.Err(s.Unacknowledged()) },
		"CloseWrite":                (*Stream).CloseWrite,
		"PauseRead":                 func(s *Stream) error { return s.PauseRead(soon(t)) },
		"Disconnect":                (*Stream).Disconnect,
		"Read":                      func(s *Stream) error { return expect.Err(s.Read(soon(t), make([]byte, 1))) },
		"ReadPDU": func(s *Stream) error {
			return expect.Err(s.ReadPDU(soon(t), func() ([][]byte, error) { return nil, nil }))
		},
		"Readv":  func(s *Stream) error { return expect.Err(s.Readv(soon(t), make([]byte, 1))) },
		"Writev": func(s *Stream) error { return expect.Err(s.Writev(soon(t), make([]byte, 1))) },
		"Post":   func(s *Stream) error { return newPostQueue(s, nil).Post(soon(t), []byte("x"), nil, 0) },
	}
	ends := map[string]func(*Stream) error{
		"Disconnect": (*Stream).Disconnect,
		"Over":       func(s *Stream) error { open(t)(overThrough(s)); return nil },
	}
	for name, end := range ends {
		cb := memoryCallbacks()
		touched := func(*memorySocket) error { t.Error("a callback was called"); return nil }
		cb.ConnectHandshakeComplete = touched
		cb.CheckPeer = func(s *memorySocket, _ string) error { return touched(s) }
		cb.HandshakePacketHeaderSize = func(s *memorySocket) (int, error) { return 2, touched(s) }
		cb.CloseWrite = touched
		c, _ := pairOf(t, cb)
		require.NoError(t, end(c), name)
		for use, f := range uses {
			err := f(c)
			var op *OpError
			require.ErrorAs(t, err, &op, "%s after %s", use, name)
			require.ErrorIs(t, err, syscall.ENOTCONN, "%s after %s", use, name)
		}
	}
}

// A stream that cannot be taken over stays as it is.
func TestTakeOverRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, NewMemory(), MemoryAddr(""))
		b := make([]byte, 1)
		read := expect.Aside(func() error { _, err := s.Readv(context.Background(), b); return err })
		synctest.Wait()
		require.ErrorIs(t, expect.Err(overThrough(s)), ErrBusy)
		require.NoError(t, expect.Err(c.Writev(context.Background(), []byte("x"))))
		require.NoError(t, <-read)

		written := expect.Aside(func() error { _, err := c.Writev(context.Background(), make([]byte, 1<<20)); return err })
		synctest.Wait()
		require.ErrorIs(t, expect.Err(overThrough(c)), ErrBusy)
		require.NoError(t, expect.Err(s.Readv(context.Background(), make([]byte, 1<<20))))
		require.NoError(t, <-written)

		require.NoError(t, s.PauseRead(context.Background()))
		require.ErrorIs(t, expect.Err(overThrough(s)), ErrPaused)
		s.Resume()

		require.NoError(t, s.Close())
		require.ErrorIs(t, expect.Err(overThrough(s)), net.ErrClosed)
	})
}

// What had broken the stream is told of again by the one that has taken it over: the end that the
// system tells of then is none.
func TestTakeOverOfBrokenStream(t *testing.T) {
	c, s := pair(t, NewMemory(), MemoryAddr(""))
	reset := error(syscall.ECONNRESET)
	s.broken.Store(&reset)
	taken := open(t)(overThrough(s))
	require.NoError(t, c.Close())
	require.ErrorIs(t, expect.Err(taken.Read(soon(t), make([]byte, 1))), syscall.ECONNRESET)
}

// The callbacks must be able to do what is asked of them.
func TestOverRefusesCallbacks(t *testing.T) {
	c, _ := pair(t, NewMemory(), MemoryAddr(""))
	for want, change := range map[string]func(cb *Callbacks[*through]){
		"Callbacks.Write is nil": func(cb *Callbacks[*through]) { cb.Write = nil },
		"needs FullImpl":         func(cb *Callbacks[*through]) { cb.Flags, cb.Interrupt = 0, nil },
		"InterruptOne needs Interrupt": func(cb *Callbacks[*through]) {
			cb.Flags, cb.Interrupt = FullImpl, nil
			cb.InterruptOne = func(*through, bool) {}
		},
	} {
		cb := throughCallbacks()
		change(&cb)
		_, err := Over(c, cb, func(below *Stream) *through { return &through{Stream: below} })
		require.ErrorContains(t, err, want)
		require.NoError(t, expect.Err(c.Writev(soon(t), []byte("x"))), "it stays as it is")
	}
}

// A virtual stream is what the one below was made as.
func TestOrigin(t *testing.T) {
	c, s := pair(t, NewMemory(), MemoryAddr(""))
	for want, s := range map[string]*Stream{"connected": c, "accepted": s} {
		require.Equal(t, want, s.Origin())
		require.Equal(t, want, open(t)(overThrough(s)).Origin())
	}
}

// The peer of a stream that is aborted sees a reset, where the carrier can do that. A second end
// changes nothing.
func TestAbort(t *testing.T) {
	for name, tt := range map[string]struct {
		tr    Transport
		at    Addr
		reset bool
	}{
		"tcp": {TCP(), loopback(), true}, "net": {FromNet(overTCP()), loopback(), true},
		"memory": {NewMemory(), MemoryAddr(""), false},
	} {
		for layer, over := range map[string]func(*Stream) (*Stream, error){
			"":      func(s *Stream) (*Stream, error) { return s, nil },
			" over": overThrough,
		} {
			t.Run(name+layer, func(t *testing.T) {
				c, s := pair(t, tt.tr, tt.at)
				c = open(t)(over(c))
				read := expect.Aside(func() error { return expect.Err(c.Read(context.Background(), make([]byte, 1))) })
				err := c.Abort()
				require.ErrorIs(t, expect.Returns(t, read), net.ErrClosed)
				end := expect.Err(s.Read(soon(t), make([]byte, 1)))
				if tt.reset {
					require.NoError(t, err)
					require.ErrorIs(t, end, syscall.ECONNRESET)
				} else {
					require.ErrorIs(t, err, errors.ErrUnsupported)
					require.Equal(t, io.EOF, end)
				}
				require.NoError(t, c.Close())
				require.NoError(t, c.Abort())
			})
		}
	}
}

// A write of some of it takes what there is room for, and leaves the stream as it was.
func TestWriteSome(t *testing.T) {
	for name, tt := range map[string]struct {
		tr Transport
		at Addr
	}{"tcp": {TCP(), loopback()}, "memory": {NewMemory(), MemoryAddr("")}} {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, tt.tr, tt.at)
			_, err := c.WriteSome(soon(t), nil, []byte{})
			require.ErrorIs(t, err, syscall.EINVAL)
			var out int64
			block := make([]byte, 1<<20)
			for err = nil; err == nil; {
				var n int64
				n, err = c.WriteSome(NoWait(), nil, block[:10], block)
				out += n
				require.True(t, n > 0 || err != nil)
			}
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			ctx := within(t, 10*time.Millisecond)
			require.ErrorIs(t, expect.Err(c.WriteSome(ctx, block)), context.DeadlineExceeded)
			read := make(chan int64, 1)
			go func() { n, _ := io.Copy(io.Discard, NetConn(s)); read <- n }()
			n, err := c.WriteSome(soon(t), []byte("the end"))
			require.NoError(t, err, "there is room again")
			require.NoError(t, expect.Err(c.Writev(soon(t), []byte("x"))), "no poison")
			require.NoError(t, c.CloseWrite())
			require.Equal(t, out+n+1, expect.Returns(t, read))
		})
	}
}
