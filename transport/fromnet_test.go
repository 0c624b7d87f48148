package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/transport/internal/await"
)

// overTCP is the Net of package net's TCP.
func overTCP() Net {
	return Net{
		Listen: func(a Addr) (net.Listener, error) { return net.Listen("tcp", a.String()) },
		Dial: func(ctx context.Context, a Addr) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", a.String())
		},
	}
}

// wrapped is overTCP with each dialled connection wrapped.
func wrapped(wrap func(net.Conn) net.Conn) Net {
	n := overTCP()
	dial := n.Dial
	n.Dial = func(ctx context.Context, a Addr) (net.Conn, error) {
		c, err := dial(ctx, a)
		if err != nil {
			return nil, err
		}
		return wrap(c), nil
	}
	return n
}

func TestFromNetHeaderSize(t *testing.T) {
	for size, want := range map[int]int{0: 2, 2: 2, 4: 4} {
		n := overTCP()
		n.HeaderSize = size
		c, _ := pair(t, FromNet(n), loopback())
		got, err := c.HandshakePacketHeaderSize(soon(t))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestFromNetWithoutListenOrDial(t *testing.T) {
	tr := FromNet(Net{})
	_, err := tr.Listen(loopback(), 0)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = tr.Connect(soon(t), loopback())
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.False(t, tr.Movable())
	_, err = tr.Import(0, nil)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// A dialled connection that arrives at the moment of its cancellation is closed, not lost.
func TestFromNetCancelledDial(t *testing.T) {
	n := overTCP()
	dial := n.Dial
	var open atomic.Int32
	n.Dial = func(ctx context.Context, a Addr) (net.Conn, error) {
		c, err := dial(context.WithoutCancel(ctx), a)
		if err != nil {
			return nil, err
		}
		<-ctx.Done() // as late as can be
		open.Add(1)
		return countedConn{c, &open}, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	for range 5 {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Millisecond, cancel)
		s, err := FromNet(n).Connect(ctx, FromNetAddr(l.Addr()))
		if err == nil {
			require.NoError(t, s.Close())
		} else {
			require.ErrorIs(t, err, context.Canceled)
		}
	}
	require.Zero(t, open.Load(), "connections were left open")
}

// A single try is made: package net gets a moment for it.
func TestFromNetConnectNoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := FromNet(Net{Dial: func(ctx context.Context, _ Addr) (net.Conn, error) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			c, _ := net.Pipe()
			return c, nil
		}})
		s, err := tr.Connect(NoWait(), loopback())
		require.NoError(t, err)
		require.NoError(t, s.Close())
	})
}

// A listener of a descriptor without a name has a nil address of its type, and works all the same.
func TestFromNetNilAddr(t *testing.T) {
	n := overTCP()
	listen := n.Listen
	n.Listen = func(a Addr) (net.Listener, error) {
		l, err := listen(a)
		return namelessListener{l}, err
	}
	l, err := FromNet(n).Listen(loopback(), 0)
	require.NoError(t, err)
	defer l.Close()
	require.Equal(t, UnixAddr(""), l.Addr())
}

type namelessListener struct{ net.Listener }

func (namelessListener) Addr() net.Addr { return (*net.UnixAddr)(nil) }

type countedConn struct {
	net.Conn
	open *atomic.Int32
}

func (c countedConn) Close() error {
	c.open.Add(-1)
	return c.Conn.Close()
}

// A function of a Net that returns neither a result nor an error gets an error that says so, and
// takes nothing down.
func TestFromNetGivesNothing(t *testing.T) {
	tr := FromNet(Net{
		Dial:   func(context.Context, Addr) (net.Conn, error) { return nil, nil },
		Listen: func(Addr) (net.Listener, error) { return nil, nil },
	})
	var e *CallbackError
	_, err := tr.Connect(soon(t), loopback())
	require.ErrorAs(t, err, &e)
	require.Equal(t, "Dial", e.Callback)
	_, err = tr.Listen(loopback(), 1)
	require.ErrorAs(t, err, &e)
	require.Equal(t, "Listen", e.Callback)
	require.ErrorIs(t, err, ErrContract)
}

// A Dial that says in its own words that its context has ended is one that has ended with the
// caller's.
func TestFromNetDialGivesUpInItsOwnWords(t *testing.T) {
	dialling := make(chan struct{})
	tr := FromNet(Net{Dial: func(ctx context.Context, _ Addr) (net.Conn, error) {
		close(dialling)
		<-ctx.Done()
		return nil, errors.New("gave up")
	}})
	ctx, cancel := context.WithCancel(context.Background())
	connected := aside(func() error { return second(tr.Connect(ctx, loopback())) })
	<-dialling
	cancel()
	require.ErrorIs(t, returns(t, connected), context.Canceled)
}

// The other end of a net.Pipe, on which no deadline can be set once either end is closed, ends the
// stream as any other.
func TestFromNetPipeEnds(t *testing.T) {
	one, other := net.Pipe()
	c, err := FromNet(Net{Dial: func(context.Context, Addr) (net.Conn, error) { return one, nil }}).Connect(soon(t), loopback())
	require.NoError(t, err)
	require.NoError(t, other.Close())
	_, err = c.Read(soon(t), make([]byte, 1))
	require.Equal(t, io.EOF, err)
	require.NoError(t, c.Close())
}

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
	accepted := aside(func() error { return second(l.Accept(context.Background())) })
	<-accepting
	require.NoError(t, l.Close())
	require.ErrorIs(t, returns(t, accepted), net.ErrClosed)
	require.Equal(t, io.EOF, returns(t, aside(func() error { return second(other.Read(make([]byte, 1))) })))
}

// An ownListener is a listener without deadlines.
type ownListener struct {
	accept func() (net.Conn, error)
	closed chan struct{}
}

func (a *ownListener) Accept() (net.Conn, error) { return a.accept() }
func (a *ownListener) Close() error              { close(a.closed); return nil }
func (a *ownListener) Addr() net.Addr            { return MemoryAddr("own") }

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
			var e *CallbackError
			require.ErrorAs(t, err, &e)
			require.ErrorContains(t, err, says)
		}
		c, err := l.Accept(soon(t))
		require.NoError(t, err)
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
	c, err := l.Accept(soon(t))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.Len(t, told, 1)
	require.ErrorIs(t, told[0], refused)

	next <- refused
	_, err = l.Accept(soon(t))
	require.ErrorIs(t, err, refused)
	next <- nil
	c, err = l.Accept(soon(t))
	require.NoError(t, err)
	require.NoError(t, c.Close())

	_, err = l.Accept(NoWait()) // a time-out calls itself temporary, too
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, l.Close())
	require.Len(t, told, 1)
}

// A passing error says that it is temporary.
type passing struct{ error }

func (*passing) Timeout() bool   { return false }
func (*passing) Temporary() bool { return true }

func (e *passing) Unwrap() error { return e.error }

// A hesitant conn returns neither bytes nor an error so many times, before each Read that does.
type hesitant struct {
	net.Conn
	times, left int
}

func (c *hesitant) Read(p []byte) (int, error) {
	if c.left--; c.left >= 0 {
		return 0, nil
	}
	c.left = c.times
	return c.Conn.Read(p)
}

// A Read of neither bytes nor an error is no end (io.Reader); one that goes on like that is an
// error.
func TestFromNetEmptyReads(t *testing.T) {
	for times, end := range map[int]error{1: io.EOF, emptyReads - 1: io.EOF, emptyReads: io.ErrNoProgress} {
		ours, theirs := net.Pipe()
		c, err := FromNet(Net{Dial: func(context.Context, Addr) (net.Conn, error) {
			return &hesitant{ours, times, times}, nil
		}}).Connect(soon(t), loopback())
		require.NoError(t, err)
		defer c.Close()
		if end == io.EOF {
			go func() {
				_, _ = theirs.Write([]byte("text"))
				_ = theirs.Close()
			}()
			p := make([]byte, 4)
			_, err = c.Readv(soon(t), p)
			require.NoError(t, err)
			require.Equal(t, "text", string(p))
		}
		_, err = c.Readv(soon(t), make([]byte, 1))
		require.ErrorIs(t, err, end)
		_ = theirs.Close()
	}
}

func TestFromNetErrors(t *testing.T) {
	at, err := ParseAddr(port.Vacant(t))
	require.NoError(t, err)
	_, err = FromNet(overTCP()).Connect(soon(t), at)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// A listener of package net that takes no deadline: its Accept ends when the listener is closed,
// and that is no error.
func TestFromNetListenerWithoutDeadline(t *testing.T) {
	n := overTCP()
	listen := n.Listen
	var accepting atomic.Int32
	n.Listen = func(a Addr) (net.Listener, error) {
		l, err := listen(a)
		return countedListener{l, &accepting}, err
	}
	l, err := FromNet(n).Listen(loopback(), 0)
	require.NoError(t, err)
	accepted := aside(func() error { _, err := l.Accept(context.Background()); return err })
	waiting(t, &accepting, 1)
	require.NoError(t, l.Close())
	require.ErrorIs(t, returns(t, accepted), net.ErrClosed)
}

// A stuckListener is one with deadlines whose Close fails; without the SetDeadline it is one
// without.
type stuckListener struct{ net.Listener }

func (stuckListener) SetDeadline(time.Time) error { return nil }

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
			l, err := FromNet(n).Listen(loopback(), 0)
			require.NoError(t, err)
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
		accepted := aside(func() error { _, err := l.Accept(ctx); return err })
		waiting(t, &accepting, 1)
		cancel()
		require.ErrorIs(t, returns(t, accepted), context.Canceled)
		accepted = aside(func() error { _, err := l.Accept(context.Background()); return err })
		require.Eventually(t, l.accepting.Load, tooLong, time.Millisecond)
		require.NoError(t, l.Pause(soon(t)))
		require.ErrorIs(t, returns(t, accepted), ErrPaused)
		l.Resume()
		c, err := tr.Connect(soon(t), l.Addr())
		require.NoError(t, err)
		s, err := l.Accept(soon(t))
		require.NoError(t, err)
		requireSpeak(t, c, s)
		require.NoError(t, s.Close())
		require.NoError(t, c.Close())
	}
	c, err := tr.Connect(soon(t), l.Addr()) // its other end is closed with the listener, unseen
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

// A read that gives up does not end a write at the same time: a tls.Conn does not write again after
// a time-out.
func TestFromNetReadGivenUp(t *testing.T) {
	sticky := func(c net.Conn) net.Conn { return &stickyConn{Conn: c} }
	c, s := pair(t, FromNet(wrapped(sticky)), loopback())
	sent := make([]byte, 16<<20)
	written := aside(func() error { _, err := c.Writev(soon(t), sent); return err })
	for range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		read := aside(func() error { _, err := c.Read(ctx, make([]byte, 1)); return err })
		require.Eventually(t, c.reading.Load, tooLong, time.Millisecond)
		cancel()
		require.ErrorIs(t, returns(t, read), context.Canceled)
	}
	_, err := s.Readv(soon(t), make([]byte, len(sent)))
	require.NoError(t, err)
	require.NoError(t, returns(t, written))
}

// deafConn has deadlines that end nothing.
type deafConn struct{ net.Conn }

func (deafConn) SetReadDeadline(time.Time) error { return nil }

// The error for a net.Conn or a Dial that cannot be ended says which promise of package net it
// breaks.
func TestFromNetWithoutEnd(t *testing.T) {
	n := wrapped(func(c net.Conn) net.Conn { return deafConn{c} })
	c, s := pair(t, FromNet(n), loopback())
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := c.Read(ctx, make([]byte, 1))
	require.ErrorIs(t, err, ErrUnresponsive)
	require.ErrorContains(t, err, "a deadline of the net.Conn has to end it")
	require.NoError(t, s.Close()) // ends the Read

	release, left := make(chan struct{}), make(chan struct{})
	n.Dial = func(context.Context, Addr) (net.Conn, error) { defer close(left); <-release; return nil, net.ErrClosed }
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = FromNet(n).Connect(ctx, loopback())
	close(release)
	<-left
	require.ErrorIs(t, err, ErrUnresponsive)
	require.ErrorContains(t, err, "Net.Dial has to end with its context")
}

// A net.Conn that does not write any more is reported, and closing it does not take the time that
// its Close gives itself for a last message.
func TestFromNetAfterTimeout(t *testing.T) {
	var last *lastWord
	c, _ := pair(t, FromNet(wrapped(func(c net.Conn) net.Conn {
		last = &lastWord{stickyConn{Conn: c}}
		return last
	})), loopback())
	conn := NetConn(c)
	// if the time is over before a write begins, the net.Conn is not called
	for !last.stuck.Load() {
		require.NoError(t, conn.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
		if _, err := conn.Write(make([]byte, 1<<20)); err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		}
	}
	require.NoError(t, conn.SetWriteDeadline(time.Time{}))
	_, err := conn.Write([]byte("more"))
	require.ErrorIs(t, err, ErrPoisoned)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NotErrorIs(t, err, ErrContract)
	require.NoError(t, conn.Close())
}

// A lastWord writes a last message in Close, as the conns of package tls do, and gives itself as
// much time for it.
type lastWord struct{ stickyConn }

func (c *lastWord) Close() error {
	_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, err := c.Conn.Write(make([]byte, 16<<20))
	return errors.Join(err, c.Conn.Close())
}

// A stickyConn keeps the error of a Write, as the conns of package tls do.
type stickyConn struct {
	net.Conn
	err   error
	stuck atomic.Bool // err is set
}

func (c *stickyConn) Write(p []byte) (n int, err error) {
	if c.err == nil {
		n, c.err = c.Conn.Write(p)
		c.stuck.Store(c.err != nil)
	}
	return n, c.err
}

// A callback that returns nothing but time-outs, at once, is a fault of the plug-in: the SDK does
// not repeat it for ever.
func TestCallbackTimesOutAtOnce(t *testing.T) {
	for _, flags := range []Flags{FullImpl, FullImpl | Direct} {
		for _, ctx := range []context.Context{context.Background(), soon(t)} {
			cb := memoryCallbacks()
			cb.Flags = flags
			cb.Write = func(*memorySocket, []byte, time.Duration) (int, error) { return 0, os.ErrDeadlineExceeded }
			cb.Writev = nil
			c, _ := memoryPair(t, cb)
			_, err := c.Writev(ctx, []byte("x"))
			require.ErrorIs(t, err, ErrContract)
			var fault *CallbackError
			require.ErrorAs(t, err, &fault)
			require.Equal(t, "Write", fault.Callback)
		}
	}
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

func TestAddrOfNetAddr(t *testing.T) {
	odd := &net.IPAddr{IP: net.IPv4(1, 2, 3, 4)}
	for _, tt := range []struct {
		in   net.Addr
		want Addr
	}{
		{&net.TCPAddr{IP: net.IPv4(1, 2, 3, 4), Port: 5}, FromAddrPort(netip.MustParseAddrPort("1.2.3.4:5"))},
		{&net.UnixAddr{Name: "/x"}, UnixAddr("/x")},
		{&net.UnixAddr{Name: "@x"}, UnixAddr("@x")},
		{&net.UnixAddr{Name: "@"}, UnixAddr("")},
		{&net.UnixAddr{}, UnixAddr("")},
		{(*net.UnixAddr)(nil), UnixAddr("")},
		{odd, odd},
	} {
		require.Equal(t, tt.want, FromNetAddr(tt.in))
	}
}

// What a connection cannot do is unsupported, not hidden.
func TestFromNetCloseWrite(t *testing.T) {
	c, s := pair(t, FromNet(wrapped(func(c net.Conn) net.Conn { return struct{ net.Conn }{c} })), loopback())
	require.ErrorIs(t, c.CloseWrite(), errors.ErrUnsupported)
	require.NoError(t, s.CloseWrite())
}

// An orderly is a net.Conn whose CloseWrite waits for the Write in flight, as that of a tls.Conn
// does.
type orderly struct {
	net.Conn
	turn chan struct{}
}

func (c orderly) Write(p []byte) (int, error) {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	return c.Conn.Write(p)
}

func (c orderly) CloseWrite() error {
	c.turn <- struct{}{}
	<-c.turn
	return nil
}

// CloseWrite ends the Write in flight also where the net.Conn's own waits for it. If that waits for
// something else, it is left alone.
func TestFromNetCloseWriteWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		s := &netSocket{c: orderly{near, make(chan struct{}, 1)}}
		sent := aside(func() error { return second(s.write([]byte("nobody reads"), Infinite)) })
		synctest.Wait()
		began := time.Now()
		require.ErrorIs(t, s.closeWrite(), ErrPoisoned)
		require.Equal(t, netCloseTime, time.Since(began))
		require.ErrorIs(t, <-sent, os.ErrDeadlineExceeded)

		turn := make(chan struct{}, 1)
		turn <- struct{}{}
		s = &netSocket{c: orderly{near, turn}}
		closed := aside(s.closeWrite)
		time.Sleep(time.Minute)
		<-turn
		require.NoError(t, <-closed)
	})
}

// A careless is a net.Conn whose CloseWrite leaves the Write in flight waiting, as that of a
// net.TCPConn does on Windows.
type careless struct{ net.Conn }

func (careless) CloseWrite() error { return nil }

// CloseWrite ends the Write in flight also where the net.Conn's own does not.
func TestFromNetCloseWriteEndsWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		s := &netSocket{c: careless{near}}
		type result struct {
			n   int
			err error
		}
		sent := make(chan result, 1)
		go func() {
			n, err := s.write([]byte("nobody reads on"), Infinite)
			sent <- result{n, err}
		}()
		_, err := io.ReadFull(far, make([]byte, 6))
		require.NoError(t, err)
		require.NoError(t, s.closeWrite())
		require.Equal(t, result{6, syscall.EPIPE}, <-sent)
	})
}

// A lateDeadline is a net.Conn whose deadlines in the past take effect when late is closed.
type lateDeadline struct {
	net.Conn
	begun, late, set, writes chan struct{}
}

func (c *lateDeadline) SetWriteDeadline(t time.Time) error {
	if t == await.Past {
		close(c.begun)
		<-c.late
		defer close(c.set)
	}
	return c.Conn.SetWriteDeadline(t)
}

func (c *lateDeadline) Write(p []byte) (int, error) {
	close(c.writes)
	return c.Conn.Write(p)
}

// An interrupt of a write that has just ended by itself either ends the next write, which then
// knows of it, or does nothing to it.
func TestFromNetLateInterrupt(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	c := &lateDeadline{near, make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})}
	s := &netSocket{c: c}
	go s.interrupt(true)
	<-c.begun
	written := aside(func() error { _, err := s.write([]byte("two"), time.Minute); return err })
	select {
	case <-c.writes:
	case <-time.After(50 * time.Millisecond): // it waits for the interrupt
	}
	close(c.late)
	<-c.set
	go func() { _, _ = io.Copy(io.Discard, far) }()
	require.NotErrorIs(t, returns(t, written), ErrPoisoned)
}

// A write that waits for the handshake of a tls.Conn, and so for what the peer sends, ends with its
// context, and the connection with Close.
func TestFromNetWriteInHandshakeEnds(t *testing.T) {
	for _, name := range []string{"ctx", "Close"} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			gone := make(chan struct{})
			conn := closing{tls.Client(ours, &tls.Config{InsecureSkipVerify: true}), func() { close(gone) }}
			c, err := FromNet(Net{Dial: func(context.Context, Addr) (net.Conn, error) { return conn, nil }}).Connect(soon(t), MemoryAddr("x"))
			require.NoError(t, err)
			want, ctx := net.ErrClosed, soon(t)
			if name == "ctx" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 10*time.Millisecond)
				defer cancel()
				want = context.DeadlineExceeded
			}
			wrote := aside(func() error { return second(c.Writev(ctx, []byte("x"))) })
			if name == "ctx" {
				require.ErrorIs(t, <-wrote, want)
				_, err = c.Writev(soon(t), []byte("x"))
				require.ErrorIs(t, err, ErrPoisoned)
			} else {
				expect.WaitsIn(t, "select", "(*Conn).clientHandshake(")
			}
			require.NoError(t, c.Close())
			if name == "Close" {
				require.ErrorIs(t, <-wrote, want)
			}
			<-gone
		})
	}
}

// A tls.Conn whose peer is gone cannot say goodbye, and is closed all the same.
func TestFromNetCloseAfterPeer(t *testing.T) {
	certified := httptest.NewTLSServer(nil)
	config := certified.TLS.Clone()
	certified.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	gone := aside(func() error {
		conn, err := l.Accept()
		if err == nil {
			err = tls.Server(conn, config).Handshake()
		}
		if err == nil {
			err = conn.(*net.TCPConn).SetLinger(0)
		}
		return errors.Join(err, conn.Close())
	})
	dial := func(ctx context.Context, _ Addr) (net.Conn, error) {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}
	c, err := FromNet(Net{Dial: dial}).Connect(soon(t), MemoryAddr("x"))
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, <-gone)
	require.ErrorIs(t, second(c.Read(soon(t), make([]byte, 1))), syscall.ECONNRESET)
	require.NoError(t, c.Close())
}

// A closing conn tells of its Close.
type closing struct {
	net.Conn
	told func()
}

func (c closing) Close() error {
	defer c.told()
	return c.Conn.Close()
}

// A foreignTimeout is a conn whose time-outs are those of a multiplexer. gone: it has ended, for
// the peer has been silent, and says so by a net.Error, too.
type foreignTimeout struct {
	net.Conn
	gone bool
}

type silence string

func (s silence) Error() string { return string(s) }
func (silence) Timeout() bool   { return true }
func (silence) Temporary() bool { return true }

func (c foreignTimeout) foreign(n int, err error) (int, error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = silence("i/o deadline reached")
	}
	return n, err
}

func (c foreignTimeout) Read(p []byte) (int, error) {
	if c.gone {
		return 0, silence("no recent network activity")
	}
	return c.foreign(c.Conn.Read(p))
}

func (c foreignTimeout) Write(p []byte) (int, error) { return c.foreign(c.Conn.Write(p)) }

type foreignTimeoutListener struct{ *net.TCPListener }

func (l foreignTimeoutListener) Accept() (net.Conn, error) {
	c, err := l.TCPListener.Accept()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = silence("no stream came")
	}
	return c, err
}

// Any net.Error with Timeout is a time-out at a deadline, and nothing is lost by it.
func TestFromNetForeignTimeouts(t *testing.T) {
	n := wrapped(func(c net.Conn) net.Conn { return foreignTimeout{Conn: c} })
	listen := n.Listen
	n.Listen = func(a Addr) (net.Listener, error) {
		l, err := listen(a)
		if err != nil {
			return nil, err
		}
		return foreignTimeoutListener{l.(*net.TCPListener)}, nil
	}
	tr := FromNet(n)
	l, err := tr.Listen(loopback(), 0)
	require.NoError(t, err)
	for range 2 {
		_, err = l.Accept(NoWait())
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	require.NoError(t, l.Close())

	c, far := pair(t, tr, loopback())
	for range 3 {
		ctx, cancel := context.WithTimeout(soon(t), 5*time.Millisecond)
		_, err := c.Read(ctx, make([]byte, 8))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		cancel()
		_, err = c.Read(NoWait(), make([]byte, 8))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		interrupted, end := context.WithCancel(soon(t))
		time.AfterFunc(5*time.Millisecond, end)
		_, err = c.Read(interrupted, make([]byte, 8))
		require.ErrorIs(t, err, context.Canceled)
	}
	for err = error(nil); err == nil; {
		_, err = c.Writev(NoWait(), make([]byte, 1<<20))
	}
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	_, err = far.Writev(soon(t), []byte("still here"))
	require.NoError(t, err)
	p := make([]byte, 10)
	_, err = c.Readv(soon(t), p)
	require.NoError(t, err)
	require.Equal(t, "still here", string(p))
}

// The end of a connection whose peer was silent is no time-out of the call, though it says Timeout.
func TestFromNetSilentPeer(t *testing.T) {
	c, _ := pair(t, FromNet(wrapped(func(c net.Conn) net.Conn { return foreignTimeout{c, true} })), loopback())
	_, err := c.Read(soon(t), make([]byte, 8))
	require.ErrorIs(t, err, silence("no recent network activity"))
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NotErrorIs(t, err, ErrContract)
}
