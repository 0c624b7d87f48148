package nodes

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

// Config.HandshakeFailed may close the listener.
func TestCloseListenerFromHandshakeFailed(t *testing.T) {
	w := newWorld(t, "tcp")
	closed := make(chan error, 1)
	var l *Listener
	w.started("bob", func(cfg *Config) {
		cfg.Setup = func(n *Node) error { l = n.Listeners()[0]; return nil }
		cfg.HandshakeFailed = func(transport.Addr, error) { closed <- l.Close() }
	})
	p := w.wire(l)
	require.NoError(t, p.Write([]byte("GET / HTTP/1.1\r\n\r\n")))
	require.NoError(t, arrives(t, closed, "the end of Close"))
	require.ErrorIs(t, l.Err(), ErrClosed)
}

// A connection that no Accept has returned ends with its listener, unless the upper level serves
// it.
func TestCloseListenerEndsUnaccepted(t *testing.T) {
	for _, started := range []bool{false, true} {
		w := newWorld(t, "tcp")
		n, l := w.listening("bob")
		n.started.Store(started)
		_, err := l.Accept(transport.NoWait())
		require.Error(t, err)
		ca := connect(t, w.node("alice"), "bob@test")
		require.Eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.up) == 1 }, tooLong, tick)
		c := n.Conn("alice@test")
		require.NoError(t, l.Close())
		if started {
			require.NoError(t, c.Err())
		} else {
			require.ErrorIs(t, ended(t, c), ErrClosed)
			require.ErrorIs(t, readToEnd(w, ca), io.EOF)
		}
	}
}

func readToEnd(w *world, c *Conn) error {
	for {
		if _, err := c.Receive(w.ctx()); err != nil {
			return err
		}
	}
}

// A node that is closed says so, though somebody else has the address by now.
func TestListenAfterClose(t *testing.T) {
	w := newWorld(t, "tcp")
	a, l := w.listening("alice")
	at := l.Addr()
	require.NoError(t, a.Close())
	other := of(w.tr.Listen(at, 0)).must(t)
	defer other.Close()
	_, err := a.Listen(w.ctx(), at)
	require.ErrorIs(t, err, ErrClosed)
}

// A picky listener refuses three clients.
type picky struct {
	net.Listener
	clients *int
	refuse  func() error
}

func (l picky) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if *l.clients++; err != nil || *l.clients > 3 {
		return c, err
	}
	c.Close()
	return nil, l.refuse()
}

type temporary struct{ error }

func (temporary) Timeout() bool   { return false }
func (temporary) Temporary() bool { return true }

// A listener of package net that refuses one client, or panics over one, goes on: as a PROXY
// protocol's does, whatever kind of error it has for that.
func TestListenerRefusesOneClient(t *testing.T) {
	for name, refuse := range map[string]func() error{
		"temporary": func() error { return temporary{errors.New("no PROXY header")} },
		"plain":     func() error { return errors.New("no PROXY header") },
		"panic":     func() error { panic("no PROXY header") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "tcp")
			n := w.started("alice", func(cfg *Config) {
				cfg.Transport = transport.FromNet(transport.Net{Listen: func(at transport.Addr) (net.Listener, error) {
					l, err := net.Listen("tcp", at.String())
					return picky{l, new(int), refuse}, err
				}})
			})
			for range 3 {
				p := w.wire(n.Listeners()[0])
				p.Gone()
			}
			w.peer(n.Listeners()[0], role("wire@test"))
			w.conn(n, "wire@test")
			require.NoError(t, n.Listeners()[0].Err())
			require.True(t, n.Stats().Published)
		})
	}
}

// A brokenListener has nothing but an error.
type brokenListener struct {
	err    error
	calls  atomic.Int64
	closed chan struct{}
}

func (l *brokenListener) Accept() (net.Conn, error) {
	l.calls.Add(1)
	return nil, l.err
}

func (l *brokenListener) Close() error   { close(l.closed); return nil }
func (l *brokenListener) Addr() net.Addr { return transport.MemoryAddr("alice@test") }

// An error of Accept that stays ends the listener, after some tries unless it is that of a closed
// one: the node is unpublished, and says so; but not for a listener that is not published.
func TestListenerBreaks(t *testing.T) {
	for name, tt := range map[string]struct {
		err   error
		calls int64
		also  bool // it is not the one that is published
	}{
		"any":         {errors.New("broken"), mostFailures, false},
		"closed":      {net.ErrClosed, 1, false},
		"another one": {errors.New("broken"), mostFailures, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, log := newWorld(t, "memory"), new(record)
				b := &brokenListener{err: tt.err, closed: make(chan struct{})}
				tr := transport.FromNet(transport.Net{Listen: func(transport.Addr) (net.Listener, error) { return b, nil }})
				n := w.started("alice", func(cfg *Config) {
					cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
					if tt.also {
						cfg.Also = []Endpoint{{Addr: transport.MemoryAddr("also"), Transport: tr}}
					} else {
						cfg.Transport = tr
					}
				})
				l := n.Listeners()[0]
				if tt.also {
					l = n.Listeners()[1]
				}
				began := time.Now()
				<-l.Done()
				require.ErrorIs(t, l.Err(), tt.err)
				require.Less(t, time.Since(began), 5*time.Second)
				require.GreaterOrEqual(t, b.calls.Load(), tt.calls)
				require.LessOrEqual(t, b.calls.Load(), tt.calls+1, "one ahead")
				require.Equal(t, tt.also, n.Stats().Published)
				_, err := w.book.Resolve(w.ctx(), n.Name())
				require.Equal(t, tt.also, err == nil)
				lines := log.Lines("level=ERROR", "listener failed", tt.err.Error())
				require.Len(t, lines, 1)
				require.Equal(t, !tt.also, len(log.Lines("unpublished=alice@test")) == 1)
				require.NoError(t, n.Err())
				require.NoError(t, n.Close())
				<-b.closed
			})
		})
	}
}
