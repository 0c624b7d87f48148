package nodes

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// failures collects what Config.HandshakeFailed hears.
func failures() (c chan error, edit func(*Config)) {
	c = make(chan error, 1000)
	return c, func(cfg *Config) { cfg.HandshakeFailed = func(_ transport.Addr, err error) { c <- err } }
}

func TestConnectErrors(t *testing.T) {
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		a := w.node("alice")
		w.started("bob")
		_, gone := w.listening("gone")
		require.NoError(t, gone.Close())
		other := w.started("other")
		w.book.set("moved@test", other.Listeners()[0].Addr())

		connect := func(name string) error {
			_, err := a.Connect(w.ctx(), name)
			return err
		}
		require.ErrorIs(t, connect("nobody@test"), ErrUnknownNode)
		require.ErrorIs(t, connect("alice@test"), dist.ErrSelf)
		require.ErrorIs(t, connect("no name"), dist.ErrInvalidName)
		require.ErrorIs(t, connect(""), dist.ErrInvalidName)
		err := connect("gone@test")
		if w.kind == "unix" {
			require.ErrorIs(t, err, syscall.ENOENT)
		} else {
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
		}
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "connect", e.Op)
		require.Equal(t, "gone@test", e.Peer)
		require.ErrorIs(t, connect("moved@test"), dist.ErrWrongPeer)
		require.NoError(t, connect("bob@test"))
		there := a.Conn("bob@test")
		again := of(a.Connect(w.ctx(), "bob@test")).must(t)
		require.Same(t, there, again)
		again = of(a.ConnectAddr(w.ctx(), other.Listeners()[0].Addr(), "bob@test")).must(t)
		require.Same(t, there, again, "wherever it is")
		require.Len(t, a.Peers(), 1)
		require.Equal(t, "other@test", of(a.ConnectAddr(w.ctx(), other.Listeners()[0].Addr(), "other@test")).must(t).Name())
		require.NoError(t, a.Close())
		require.ErrorIs(t, connect("bob@test"), ErrClosed)
		_, err = a.ConnectAddr(w.ctx(), other.Listeners()[0].Addr(), "")
		require.ErrorIs(t, err, ErrClosed)
		require.Zero(t, tableSize(a))
	})
}

func TestConnectAddr(t *testing.T) {
	w := newWorld(t, "memory")
	a := w.node("alice")
	b := w.started("bob")
	at := b.Listeners()[0].Addr()
	c := of(a.ConnectAddr(w.ctx(), at, "")).must(t)
	require.Equal(t, "bob@test", c.Name())

	// A second connection must not end the first, once both sides have that one.
	require.Eventually(t, func() bool { return b.Conn("alice@test") != nil }, tooLong, tick)
	_, err := a.ConnectAddr(w.ctx(), at, "")
	require.Error(t, err)
	require.Same(t, c, of(a.ConnectAddr(w.ctx(), at, "bob@test")).must(t))
	require.NoError(t, c.Err())
	_, err = c.RPC(w.ctx(), "m", "f")
	require.Error(t, err)
	require.NoError(t, c.Err())
	require.NoError(t, b.Conn("alice@test").Err())
	_, err = a.ConnectAddr(w.ctx(), transport.MemoryAddr("nobody"), "")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.Equal(t, 1, strings.Count(err.Error(), "connect memory:nobody"), err)
	for _, name := range []string{"", "carol@test"} {
		_, err = a.ConnectAddr(w.ctx(), nil, name)
		require.ErrorIs(t, err, syscall.EAFNOSUPPORT, "no address, %q", name)
	}
}

// A host and a port are enough.
func TestConnectHostPort(t *testing.T) {
	w := newWorld(t, "tcp")
	a, b := w.node("alice"), w.started("bob")
	b.Expose("m", "args", func(_ context.Context, args []ei.Term) (any, error) { return ei.List(args), nil })
	at := of(transport.AddrPort(b.Listeners()[0].Addr())).must(t)
	_, err := a.ConnectHostPort(w.ctx(), "no such host.invalid", at.Port(), "")
	require.ErrorIs(t, err, ErrUnknownHost)
	require.ErrorContains(t, err, "no such host.invalid:")
	_, err = a.ConnectHostPort(w.ctx(), at.Addr().String(), at.Port(), "carol@test")
	require.Error(t, err)
	c := of(a.ConnectHostPort(w.ctx(), at.Addr().String(), at.Port(), "bob@test")).must(t)
	require.Equal(t, "bob@test", c.Name())

	require.Equal(t, ei.List{ei.Int(1), ei.Atom("a")}, of(c.RPC(w.ctx(), "m", "args", 1, ei.Atom("a"))).must(t))
	require.NoError(t, c.Err())
}

func TestWrongCookie(t *testing.T) {
	w := newWorld(t, "tcp")
	failed, hear := failures()
	w.started("bob", hear)
	a := w.node("alice", func(cfg *Config) { cfg.Cookie = "other" })
	c := w.started("carol")
	connect(t, c, "bob@test")

	_, err := a.Connect(w.ctx(), "bob@test")
	require.ErrorIs(t, err, io.EOF)
	var h *dist.HandshakeError
	require.ErrorAs(t, err, &h)
	require.Equal(t, protocol.PhaseChallengeAck, h.Phase)
	require.Contains(t, err.Error(), "cookie", "the error says what is most likely wrong")
	err = arrives(t, failed, "the failed handshake")
	require.ErrorIs(t, err, dist.ErrBadCookie)
	require.ErrorAs(t, err, &h)
	require.Equal(t, "alice@test", h.Peer)

	require.NoError(t, c.Conn("bob@test").Err(), "others are unharmed")
}

func TestConnectRefused(t *testing.T) {
	why := errors.New("not on Sundays")
	w := newWorld(t, "memory")
	failed, hear := failures()
	w.started("bob", hear, func(cfg *Config) {
		cfg.CheckPeer = func(_ context.Context, name string) error {
			if name == "alice@test" {
				return why
			}
			return nil
		}
	})
	a := w.node("alice")
	_, err := a.Connect(w.ctx(), "bob@test")
	require.ErrorIs(t, err, dist.ErrNotAllowed)
	require.ErrorIs(t, arrives(t, failed, "the failed handshake"), why)

	c := w.node("carol", func(cfg *Config) { cfg.CheckPeer = func(context.Context, string) error { return why } })
	_, err = c.Connect(w.ctx(), "bob@test")
	require.ErrorIs(t, err, why)
	require.ErrorIs(t, err, dist.ErrRefused)
	require.ErrorIs(t, arrives(t, failed, "the failed handshake"), io.EOF)

}

// Whatever a Connect waits for, its context ends it, and leaves nothing on the table of peers.
func TestConnectCancelled(t *testing.T) {
	w := newWorld(t, "tcp")
	silent := w.ambush("silent@test")
	for name, edit := range map[string]func(*Config){
		"silent peer":      nil,
		"hanging resolver": func(cfg *Config) { cfg.Resolver = hanging{} },
		"CheckPeer": func(cfg *Config) {
			cfg.CheckPeer = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.node("alice", func(cfg *Config) {
				if edit != nil {
					edit(cfg)
				}
			})
			to := "silent@test"
			if name == "CheckPeer" {
				to = w.started("bob").Name()
			}
			ctx, cancel := context.WithCancel(w.ctx())
			connected := async(func() (*Conn, error) { return a.Connect(ctx, to) })
			waiting := async(func() (*Conn, error) { return a.Connect(ctx, to) })
			if name == "silent peer" {
				silent.accept()
			}
			cancel()
			require.ErrorIs(t, arrives(t, connected, "the cancelled Connect").err, context.Canceled)
			require.ErrorIs(t, arrives(t, waiting, "the other cancelled Connect").err, context.Canceled)
			require.Zero(t, tableSize(a))

			connected = async(func() (*Conn, error) { return a.Connect(w.ctx(), to) })
			if name == "silent peer" {
				silent.accept()
			}
			require.NoError(t, a.Close())
			require.ErrorIs(t, arrives(t, connected, "the Connect of a closed node").err, ErrClosed)
			require.Zero(t, tableSize(a))
		})
	}
}

// An error of a context has the cause that was given for its end beside what contexts end with.
func TestConnectCause(t *testing.T) {
	w := newWorld(t, "memory")
	a := w.node("alice")
	w.ambush("silent@test")
	cause := errors.New("no longer needed")
	cancelled, cancel := context.WithCancelCause(w.ctx())
	cancel(cause)
	late, stop := context.WithTimeoutCause(w.ctx(), time.Millisecond, cause)
	defer stop()
	for _, tt := range []struct {
		ctx  context.Context
		want error
	}{{cancelled, context.Canceled}, {late, context.DeadlineExceeded}} {
		_, named := a.Connect(tt.ctx, "silent@test")
		_, anyone := a.ConnectAddr(tt.ctx, w.addr("silent@test"), "")
		for _, err := range []error{named, anyone} {
			require.ErrorIs(t, err, tt.want)
			require.ErrorIs(t, err, cause)
			require.Equal(t, tt.want == context.DeadlineExceeded, err.(*Error).Timeout())
		}
	}
}

type hanging struct{}

func (hanging) Resolve(ctx context.Context, _ string) (Endpoint, error) {
	<-ctx.Done()
	return Endpoint{}, ctx.Err()
}

// An error of connecting names the step at which that stood, also when the time is over.
func TestConnectNamesStep(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.ambush("silent@test")
		far := Endpoint{Addr: w.addr("silent@test"), Transport: farTransport{w.tr}}
		for name, tt := range map[string]struct {
			resolver        Resolver
			step, takesLong string
		}{
			"lost@test":   {hanging{}, "finding its address: context deadline exceeded", "finding its address takes too long"},
			"far@test":    {Static{"far@test": far}, "connect memory:", "connecting to its address takes too long"},
			"silent@test": {w.book, `handshake with "silent@test": status`, "the handshake takes too long"},
		} {
			a := w.node("alice", func(cfg *Config) { cfg.Resolver = tt.resolver })
			b := box(t, a)
			try := func(f func(ctx context.Context) error, want ...string) {
				t.Helper()
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				err := f(ctx)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				for _, text := range want {
					require.ErrorContains(t, err, text)
				}
			}
			connect := func(ctx context.Context) error { _, err := a.Connect(ctx, name); return err }
			try(connect, "connect "+name+": ", tt.step)
			try(func(context.Context) error { return connect(context.Background()) }, "connect "+name+": ", tt.step, "Config.HandshakeTimeout")
			try(func(ctx context.Context) error { return b.SendName(ctx, name, "x", ei.Atom("hello")) }, "no connection", tt.takesLong)
			try(connect, "connect "+name+": ", "another attempt to connect has not ended")
			require.NoError(t, a.Close())
			synctest.Wait()
		}
	})
	w := newWorld(t, "memory")
	_, err := w.node("alice").Connect(w.ctx(), "nobody@test")
	require.ErrorIs(t, err, ErrUnknownNode)
	require.ErrorContains(t, err, "connect nobody@test: finding its address: ")
}

// A farTransport connects to nobody.
type farTransport struct{ transport.Transport }

func (farTransport) Connect(ctx context.Context, addr transport.Addr) (*transport.Stream, error) {
	<-ctx.Done()
	return nil, &transport.OpError{Op: "connect", Addr: addr, Err: context.Cause(ctx)}
}

func TestHandshakeTimeout(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		at := w.ambush("silent@test")
		a := w.node("alice")
		begin := time.Now()
		connected := async(func() (*Conn, error) { return a.Connect(context.Background(), "silent@test") })
		p := at.accept()
		err := (<-connected).err
		require.ErrorIs(t, err, ErrHandshakeTimeout)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, DefaultHandshakeTimeout, time.Since(begin))
		var h *dist.HandshakeError
		require.ErrorAs(t, err, &h)
		require.Equal(t, protocol.PhaseStatus, h.Phase)
		p.Gone()

		failed, hear := failures()
		_, l := w.listening("bob", hear)
		ctx, cancel := context.WithCancel(context.Background())
		accepted := async(func() (*Conn, error) { return l.Accept(ctx) })
		begin = time.Now()
		p = w.wire(l)
		dripped := async(func() (any, error) { // byte by byte it has no more time than others
			for _, c := range namePacket(t, "wire@test") {
				if err := p.Write([]byte{c}); err != nil {
					return nil, err
				}
				time.Sleep(time.Second)
			}
			return nil, nil
		})
		err = <-failed
		require.ErrorIs(t, err, ErrHandshakeTimeout)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, DefaultHandshakeTimeout, time.Since(begin))
		p.Gone()
		require.Error(t, (<-dripped).err)
		cancel()
		require.ErrorIs(t, (<-accepted).err, context.Canceled)
	})
}

func TestAcceptCancelled(t *testing.T) {
	w := newWorld(t, "tcp")
	b, l := w.listening("bob")
	ctx, cancel := context.WithCancel(w.ctx())
	accepted := async(func() (*Conn, error) { return l.Accept(ctx) })
	cancel()
	require.ErrorIs(t, arrives(t, accepted, "the cancelled Accept").err, context.Canceled)

	// A connection that came up while no Accept was in progress is not lost.
	a := w.node("alice")
	ca := connect(t, a, "bob@test")
	cb := of(l.Accept(w.ctx())).must(t)
	require.NoError(t, ca.SendName(w.ctx(), "x", 1))
	receive(t, cb)

	accepted = async(func() (*Conn, error) { return l.Accept(w.ctx()) })
	require.NoError(t, l.Close())
	require.ErrorIs(t, arrives(t, accepted, "the Accept of a closed listener").err, ErrClosed)
	require.NoError(t, l.Close())
	require.NoError(t, cb.Err(), "connections stay")
	require.Empty(t, b.Listeners())

	_, err := b.Listen(ctx, b.cfg.Listen)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, b.Close())
	_, err = b.Listen(w.ctx(), w.addr("bob@test"))
	require.ErrorIs(t, err, ErrClosed)
}

// A connection on demand comes up even if whoever needed it has left before the peer has accepted.
func TestOnDemandOutlivesCaller(t *testing.T) {
	w := newWorld(t, "tcp")
	a := w.ambush("late@test")
	n := w.started("bob")
	b := box(t, n)
	ctx, leave := context.WithCancel(w.ctx())
	sent := async(func() (int, error) { return 0, b.SendName(ctx, a.name, "x", ei.Atom("lost")) })
	p := a.accept()
	leave()
	require.ErrorIs(t, arrives(t, sent, "SendName").err, context.Canceled)
	require.NoError(t, p.Respond(role(a.name), protocol.StatusOK))
	c := w.conn(n, a.name)
	require.NoError(t, b.SendName(w.ctx(), a.name, "x", ei.Atom("said")))
	_, said := p.Next()
	require.Equal(t, ei.Atom("said"), said)
	require.NoError(t, c.Err())
}

// Once all that needed a connection have left, at most the attempt in progress goes on.
func TestOnDemandForNobody(t *testing.T) {
	l := of(net.Listen("tcp", "127.0.0.1:0")).must(t)
	var accepted atomic.Int64
	var served sync.WaitGroup
	t.Cleanup(func() { l.Close(); served.Wait() })
	left := make(chan struct{})
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			served.Go(func() { <-left; c.Close() }) // each attempt fails
		}
	})
	at := of(transport.ParseAddr(l.Addr().String())).must(t)
	n := of(New(Config{Name: "alice@127.0.0.1", Cookie: "secret", Resolver: Static{"bob@127.0.0.1": {Addr: at}}})).must(t)
	t.Cleanup(func() { n.Close() })
	b := box(t, n)
	ctx, leave := context.WithCancel(soon(t))
	var callers sync.WaitGroup
	for range 40 {
		callers.Go(func() { assert.ErrorIs(t, b.SendName(ctx, "bob@127.0.0.1", "x", "hello"), context.Canceled) })
	}
	require.Eventually(t, func() bool { return accepted.Load() == 1 }, tooLong, tick)
	leave()
	callers.Wait()
	close(left)
	require.Eventually(t, func() bool { return tableSize(n) == 0 }, tooLong, tick)
	require.NoError(t, n.Close()) // which waits for what was begun
	require.EqualValues(t, 1, accepted.Load(), "attempts")
}

// A node that has ended does not even tell a peer its name: the peer may have a connection with the
// process that goes on as this node, and would give it up for a new one.
func TestConnectAfterEnd(t *testing.T) {
	for name, end := range map[string]func(n *Node) error{
		"closed": (*Node).Close,
		"moved": func(n *Node) error {
			f, err := n.Freeze(soon(t))
			if err != nil {
				return err
			}
			return f.Release()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "tcp")
			at := w.started("bob").Listeners()[0].Addr()
			for range 50 {
				d := &dials{Transport: transport.TCP()}
				n := w.node("alice", func(cfg *Config) { cfg.Transport = d })
				require.NoError(t, end(n))
				for _, peer := range []string{"", "bob@test"} {
					_, err := n.ConnectAddr(w.ctx(), at, peer)
					require.ErrorIs(t, err, n.Err(), "%q", peer)
					require.Zero(t, d.n.Load(), "%q", peer)
				}
			}
		})
	}
}

// dials counts the connections that are opened.
type dials struct {
	transport.Transport
	n atomic.Int32
}

func (d *dials) Connect(ctx context.Context, addr transport.Addr) (*transport.Stream, error) {
	d.n.Add(1)
	return d.Transport.Connect(ctx, addr)
}

// Under NoConnect a node that is not connected is an error at once, and one that is gets
// everything.
func TestNoConnect(t *testing.T) {
	w := newWorld(t, "memory")
	one, two := w.started("one"), w.started("two")
	a, b := box(t, one), box(t, two)
	ctx := NoConnect(w.ctx())
	require.ErrorIs(t, a.Send(ctx, b.Pid(), ei.Atom("x")), ErrNoConnection)
	require.ErrorIs(t, a.SendName(ctx, two.Name(), "x", ei.Atom("x")), ErrNoConnection)
	require.ErrorIs(t, a.Link(ctx, b.Pid()), ErrNoConnection)
	_, err := a.Call(ctx, b.Pid(), ei.Atom("x"))
	require.ErrorIs(t, err, ErrNoConnection)
	require.Empty(t, one.Peers())
	require.NoError(t, a.Send(w.ctx(), b.Pid(), ei.Atom("x")))
	require.NoError(t, a.Send(ctx, b.Pid(), ei.Atom("y")))
	require.NoError(t, a.Send(NoConnect(transport.NoWait()), b.Pid(), ei.Atom("z")))
	for _, want := range []ei.Atom{"x", "y", "z"} {
		require.Equal(t, want, term(t, b))
	}
}
