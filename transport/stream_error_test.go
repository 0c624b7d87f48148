package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// Bytes count beside an error; the next call returns the error, unless it was a passing one.
func TestStreamLateErrors(t *testing.T) {
	for _, tt := range []struct {
		err  error
		next error
	}{{syscall.EIO, syscall.EIO}, {syscall.EAGAIN, nil}, {syscall.EINTR, nil}, {os.ErrDeadlineExceeded, nil}} {
		cb := memoryCallbacks()
		read, write := cb.Read, cb.Write
		var fail bool
		cb.Read = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
			n, err := read(s, p, tmo)
			if fail && err == nil {
				err = tt.err
			}
			return n, err
		}
		cb.Write = func(s *memorySocket, p []byte, tmo time.Duration) (int, error) {
			n, err := write(s, p[:min(2, len(p))], tmo)
			if fail && err == nil {
				err = tt.err
			}
			return n, err
		}
		c, s := pairOf(t, cb)
		fail = true
		n, err := c.Writev(soon(t), []byte("abcd"))
		if tt.next != nil {
			require.ErrorIs(t, err, tt.next)
			require.EqualValues(t, 2, n)
			_, err = c.Writev(soon(t), []byte("x"))
			require.ErrorIs(t, err, ErrPoisoned)
			b := make([]byte, 4)
			k := expect.NoError(s.Read(soon(t), b)).In(t)
			require.Equal(t, "ab", string(b[:k]))
			require.ErrorIs(t, expect.Err(s.Read(soon(t), b)), tt.next)
			continue
		}
		require.NoError(t, err, tt.err)
		require.EqualValues(t, 4, n)
		b := make([]byte, 4)
		require.NoError(t, expect.Err(s.Readv(soon(t), b)), tt.err)
		require.Equal(t, "abcd", string(b))
	}
}

// A late error comes once; then the callback is called again.
func TestStreamLateErrorOnce(t *testing.T) {
	cb := memoryCallbacks()
	read, write := 0, 0
	call := func(calls *int, p []byte) (n int, err error) {
		if *calls++; *calls == 1 {
			err = syscall.ENOMEM
		}
		return min(2, len(p)), err
	}
	cb.Read = func(_ *memorySocket, p []byte, _ time.Duration) (int, error) { return call(&read, p) }
	cb.Write = func(_ *memorySocket, p []byte, _ time.Duration) (int, error) { return call(&write, p) }
	c, _ := pairOf(t, cb)
	for i := range 3 {
		_, w := c.Writev(soon(t), []byte("ab"))
		_, r := c.Read(soon(t), make([]byte, 2))
		for _, err := range []error{w, r} {
			if i == 1 {
				require.ErrorIs(t, err, syscall.ENOMEM)
			} else {
				require.NoError(t, err)
			}
		}
	}
}

func TestStreamErrorsNameThePeer(t *testing.T) {
	c, _ := pair(t, TCP(), loopback())
	require.NoError(t, c.Close())
	_, err := c.Writev(soon(t), []byte("x"))
	op := expect.As[*OpError](t, err)
	require.Equal(t, "write", op.Op)
	require.Equal(t, c.RemoteAddr(), op.Addr)
	require.ErrorContains(t, err, c.RemoteAddr().String())
}

// resettable is a connection over which text has been sent, and which reset has the peer reset.
func resettable(t *testing.T, tr Transport, text string) (s *Stream, reset func()) {
	t.Helper()
	l := expect.NoError(tr.Listen(loopback(), 0)).In(t)
	defer l.Close()
	peer := expect.NoError(net.Dial("tcp", l.Addr().String())).In(t)
	s = expect.Open(l.Accept(soon(t))).In(t)
	require.NoError(t, expect.Err(peer.Write([]byte(text))))
	return s, func() {
		require.NoError(t, peer.(*net.TCPConn).SetLinger(0))
		require.NoError(t, peer.Close())
	}
}

// A connection that was reset does not end in good order: what had come before the reset can be
// read, and then the error comes again.
func TestReadAfterReset(t *testing.T) {
	s, reset := resettable(t, TCP(), "abc")
	p := make([]byte, 10)
	require.ErrorIs(t, expect.Err(s.Readv(within(t, 20*time.Millisecond), p)), context.DeadlineExceeded)
	reset()
	for range 3 {
		require.ErrorIs(t, expect.Err(s.Readv(soon(t), p)), syscall.ECONNRESET)
	}
	n := expect.NoError(s.Read(soon(t), p)).In(t)
	require.Equal(t, "abc", string(p[:n]))
	require.ErrorIs(t, expect.Err(s.Read(soon(t), p)), syscall.ECONNRESET)
	s = expect.Open(overThrough(s)).In(t)
	require.ErrorIs(t, expect.Err(s.Read(soon(t), p)), syscall.ECONNRESET)
}

// The system tells of a reset once. If that was a write, reading does not end in good order either.
func TestReadAfterWriteOfReset(t *testing.T) {
	for name, over := range map[string]func(*Stream) (*Stream, error){
		"plain":   func(s *Stream) (*Stream, error) { return s, nil },
		"virtual": overThrough,
	} {
		for queued, write := range map[bool]func(*Stream) error{
			false: func(s *Stream) error { return expect.Err(s.Writev(soon(t), []byte("x"))) },
			true:  func(s *Stream) error { return expect.Err(newPostQueue(s, nil).Deliver(soon(t), []byte("x"))) },
		} {
			t.Run(name+map[bool]string{true: ", queued"}[queued], func(t *testing.T) {
				s, reset := resettable(t, TCP(), "abc")
				s = open(t)(over(s))
				require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 1))))
				reset()
				err := write(s)
				for err == nil {
					err = write(s)
				}
				if runtime.GOOS == "linux" {
					require.ErrorIs(t, err, syscall.ECONNRESET)
				} else if !errors.Is(err, syscall.ECONNRESET) {
					t.Skip("the system says of a reset: ", err)
				}
				require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 2))))
				for range 2 {
					require.ErrorIs(t, expect.Err(s.Read(soon(t), make([]byte, 1))), syscall.ECONNRESET)
					require.ErrorIs(t, expect.Err(s.ReadPDU(soon(t), func() ([][]byte, error) { return [][]byte{make([]byte, 1)}, nil })),
						syscall.ECONNRESET)
				}
				s, err = overThrough(s)
				if err == nil { // a queue's failed write leaves nothing to take over
					defer s.Close()
					require.ErrorIs(t, expect.Err(s.Read(soon(t), make([]byte, 1))), syscall.ECONNRESET)
				}
			})
		}
	}
}

// An error takes the place of a later io.EOF unless it concerns only the read that it ended, or
// bytes have come since.
func TestReadErrorLasts(t *testing.T) {
	for name, tt := range map[string]struct {
		err   error // of the first read
		bytes int   // of the second one; the third is the end
		want  error // of the third
	}{
		"a reset":               {syscall.ECONNRESET, 0, syscall.ECONNRESET},
		"the plug-in's own":     {io.ErrUnexpectedEOF, 0, io.ErrUnexpectedEOF},
		"a dead peer":           {syscall.ETIMEDOUT, 0, syscall.ETIMEDOUT},
		"bytes came since":      {syscall.EIO, 1, io.EOF},
		"a time-out":            {os.ErrDeadlineExceeded, 0, io.EOF},
		"EAGAIN":                {syscall.EAGAIN, 0, io.EOF},
		"cancelled":             {context.Canceled, 0, io.EOF},
		"a lack of descriptors": {syscall.EMFILE, 0, io.EOF},
		"the end of the stream": {io.EOF, 0, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			cb := memoryCallbacks()
			calls := 0
			cb.Read = func(_ *memorySocket, p []byte, tmo time.Duration) (int, error) {
				switch calls++; calls {
				case 1:
					if tt.err == context.Canceled {
						cancel()
						return 0, os.ErrDeadlineExceeded
					}
					return 0, tt.err
				case 2:
					return tt.bytes, nil
				}
				return 0, nil
			}
			c, _ := pairOf(t, cb)
			p := make([]byte, 8)
			if timedOut(tt.err, false) {
				ctx = NoWait()
			}
			require.Error(t, expect.Err(c.Read(ctx, p)))
			if tt.bytes > 0 {
				require.NoError(t, expect.Err(c.Read(soon(t), p)))
			}
			require.ErrorIs(t, expect.Err(c.Readv(soon(t), p)), tt.want)
			require.ErrorIs(t, expect.Err(c.Read(soon(t), p)), tt.want)
		})
	}
}

// A write that fails because the sending direction has ended says nothing of the other one, whose
// end is in good order.
func TestStreamEndAfterFailedWrite(t *testing.T) {
	streamPairs(t, func(t *testing.T, c, s *Stream) {
		if err := c.CloseWrite(); errors.Is(err, errors.ErrUnsupported) {
			t.Skip("the carrier has no CloseWrite")
		}
		require.Error(t, expect.Err(c.Writev(soon(t), []byte("x"))))
		require.Equal(t, io.EOF, expect.Err(s.Read(soon(t), make([]byte, 1))))
		require.NoError(t, s.Close())
		for range 2 {
			require.Equal(t, io.EOF, expect.Err(c.Read(soon(t), make([]byte, 1))))
		}
	})
}

// What a plug-in's Close and Release fail with reaches whoever calls them, once and again.
func TestCloseFails(t *testing.T) {
	for name, closes := range map[string]func(c *Stream, l *Listener) error{
		"Close":                 func(c *Stream, _ *Listener) error { return c.Close() },
		"Disconnect":            func(c *Stream, _ *Listener) error { return c.Disconnect() },
		"Release":               func(c *Stream, _ *Listener) error { return c.Release() },
		"NetConn":               func(c *Stream, _ *Listener) error { return NetConn(c).Close() },
		"listener":              func(_ *Stream, l *Listener) error { return l.Close() },
		"listener's Release":    func(_ *Stream, l *Listener) error { return l.Release() },
		"listener's KeepPath":   func(_ *Stream, l *Listener) error { l.KeepPath(); return l.Close() },
		"virtual":               func(c *Stream, _ *Listener) error { return virtualStream(c).Close() },
		"virtual one's Release": func(c *Stream, _ *Listener) error { return virtualStream(c).Release() },
	} {
		t.Run(name, func(t *testing.T) {
			cb := memoryCallbacks()
			closing := cb.Close
			cb.Close = func(s *memorySocket) error { return errors.Join(closing(s), syscall.EIO) }
			tr := expect.NoError(New(cb, nil)).In(t)
			l := expect.Open(tr.Listen(MemoryAddr(""), 0)).In(t)
			c := expect.Open(tr.Connect(soon(t), l.Addr())).In(t)
			require.ErrorIs(t, closes(c, l), syscall.EIO)
		})
	}
}

// virtualStream is a virtual socket that changes nothing.
func virtualStream(s *Stream) *Stream {
	v, err := overThrough(s)
	if err != nil {
		panic(err)
	}
	return v
}
