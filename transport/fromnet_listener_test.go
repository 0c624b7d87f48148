package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A connection that comes to a listener without deadlines when that is closed already is closed,
// too.
func TestFromNetListenerClosesWhatComesLate(t *testing.T) {
	one, other := net.Pipe()
	a := &ownListener{closed: make(chan struct{})}
	accepting := make(chan struct{})
	a.accept = func() (net.Conn, error) {
		close(accepting)
		<-a.closed
		return one, nil
	}
	l, err := FromNet(Net{Listen: func(Addr) (net.Listener, error) { return a, nil }}).Listen(loopback(), 1)
	require.NoError(t, err)
	accepted := expect.Aside(func() error { return expect.Err(l.Accept(context.Background())) })
	<-accepting
	require.NoError(t, l.Close())
	require.ErrorIs(t, expect.Returns(t, accepted), net.ErrClosed)
	require.Equal(t, io.EOF, expect.Returns(t, expect.Aside(func() error { return expect.Err(other.Read(make([]byte, 1))) })))
}

// An ownListener is a listener without deadlines.
type ownListener struct {
	accept func() (net.Conn, error)
	closed chan struct{}
}

func (a *ownListener) Accept() (net.Conn, error) { return a.accept() }

func (a *ownListener) Close() error { close(a.closed); return nil }

func (a *ownListener) Addr() net.Addr { return MemoryAddr("own") }

// The same for a listener whose Accept panics, or ends its goroutine; the next connection is
// accepted.
func TestFromNetAcceptPanics(t *testing.T) {
	for says, accept := range map[string]func() (net.Conn, error){
		"the user's own": func() (net.Conn, error) { panic("the user's own") },
		"runtime.Goexit": func() (net.Conn, error) { runtime.Goexit(); return nil, nil },
		"neither":        func() (net.Conn, error) { return nil, nil },
	} {
		a := &ownListener{closed: make(chan struct{})}
		calls := 0
		a.accept = func() (net.Conn, error) {
			switch calls++; calls {
			case 1, 2:
				return accept()
			case 3:
				c, _ := net.Pipe()
				return c, nil
			}
			<-a.closed
			return nil, net.ErrClosed
		}
		l, err := FromNet(Net{Listen: func(Addr) (net.Listener, error) { return a, nil }}).Listen(loopback(), 1)
		require.NoError(t, err)
		for range 2 {
			_, err = l.Accept(soon(t))
			expect.As[*CallbackError](t, err)
			require.ErrorContains(t, err, says)
		}
		c := expect.NoError(l.Accept(soon(t))).In(t)
		require.NoError(t, c.Close())
		require.NoError(t, l.Close())
	}
}

// An error that says that it is temporary, of a listener that refuses one client say, does not end
// Accept, which goes on after a pause; any other is returned, and the listener goes on all the
// same.
func TestFromNetTemporaryErrors(t *testing.T) {
	refused := errors.New("refused")
	a := &ownListener{closed: make(chan struct{})}
	next := make(chan error, 10)
	a.accept = func() (net.Conn, error) {
		select {
		case err := <-next:
			c, _ := net.Pipe()
			return c, err
		case <-a.closed:
			return nil, net.ErrClosed
		}
	}
	l, err := FromNet(Net{Listen: func(Addr) (net.Listener, error) { return a, nil }}).Listen(loopback(), 1)
	require.NoError(t, err)
	var told []error
	l.Exhausted = func(err error) { told = append(told, err) }
	temporary := &net.OpError{Op: "accept", Err: &passing{refused}}
	for range 3 {
		next <- temporary
	}
	next <- nil
	c := expect.NoError(l.Accept(soon(t))).In(t)
	require.NoError(t, c.Close())
	require.Len(t, told, 1)
	require.ErrorIs(t, told[0], refused)

	next <- refused
	require.ErrorIs(t, expect.Err(l.Accept(soon(t))), refused)
	next <- nil
	c = expect.NoError(l.Accept(soon(t))).In(t)
	require.NoError(t, c.Close())

	_, err = l.Accept(NoWait()) // a time-out calls itself temporary, too
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, l.Close())
	require.Len(t, told, 1)
}

// A passing error says that it is temporary.
type passing struct{ error }

func (*passing) Timeout() bool { return false }

func (*passing) Temporary() bool { return true }

func (e *passing) Unwrap() error { return e.error }

// A stuckListener is one with deadlines whose Close fails; without the SetDeadline it is one
// without.
type stuckListener struct{ net.Listener }

func (l stuckListener) Close() error { return errors.Join(l.Listener.Close(), syscall.EIO) }

// An error of a listener's Close is the caller's, whether the listener takes a deadline or not.
func TestFromNetListenerCloseFails(t *testing.T) {
	for name, wrap := range map[string]func(l net.Listener) net.Listener{
		"with deadlines":    func(l net.Listener) net.Listener { return stuckListener{l} },
		"without deadlines": func(l net.Listener) net.Listener { return struct{ net.Listener }{stuckListener{l}} },
	} {
		t.Run(name, func(t *testing.T) {
			n := overTCP()
			listen := n.Listen
			n.Listen = func(a Addr) (net.Listener, error) {
				l, err := listen(a)
				return wrap(l), err
			}
			l := expect.NoError(FromNet(n).Listen(loopback(), 0)).In(t)
			require.ErrorIs(t, l.Close(), syscall.EIO)
			require.ErrorIs(t, l.Close(), syscall.EIO, "again")
		})
	}
}

// Until it is closed, such a listener is as good as any other.
func TestFromNetListenerGoesOn(t *testing.T) {
	n := overTCP()
	listen := n.Listen
	var accepting atomic.Int32
	n.Listen = func(a Addr) (net.Listener, error) {
		l, err := listen(a)
		return countedListener{l, &accepting}, err
	}
	tr := FromNet(n)
	l, err := tr.Listen(loopback(), 0)
	require.NoError(t, err)
	defer l.Close()
	for range 3 {
		_, err = l.Accept(NoWait())
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		ctx, cancel := context.WithCancel(context.Background())
		accepted := expect.Aside(func() error { _, err := l.Accept(ctx); return err })
		waiting(t, &accepting, 1)
		cancel()
		require.ErrorIs(t, expect.Returns(t, accepted), context.Canceled)
		accepted = expect.Aside(func() error { _, err := l.Accept(context.Background()); return err })
		require.Eventually(t, l.accepting.Load, tooLong, time.Millisecond)
		require.NoError(t, l.Pause(soon(t)))
		require.ErrorIs(t, expect.Returns(t, accepted), ErrPaused)
		l.Resume()
		c := expect.NoError(tr.Connect(soon(t), l.Addr())).In(t)
		s := expect.NoError(l.Accept(soon(t))).In(t)
		requireSpeak(t, c, s)
		require.NoError(t, s.Close())
		require.NoError(t, c.Close())
	}
	c, err := tr.Connect(soon(t), l.Addr()) // its other end is closed with the listener, unseen
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

// A countedListener has no SetDeadline.
type countedListener struct {
	net.Listener
	accepting *atomic.Int32
}

func (l countedListener) Accept() (net.Conn, error) {
	l.accepting.Add(1)
	return l.Listener.Accept()
}
