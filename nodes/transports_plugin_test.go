//go:build unix

package nodes

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/need"

	"github.com/cnode-go/cnode/transport"
)

// A fault is what a plug-in's callback does once it is armed. Any other one, such as a panic, is an
// error by the time a node sees it: package transport has the tests of all of them.
type fault string

const (
	blocks fault = "blocks" // and does not come back
	fails  fault = "fails"  // with an error of its own
)

var errFault = errors.New("the plug-in's own error")

// A sick plug-in is the TCP one with a fault in one callback.
type sick struct {
	t        testing.TB
	callback string
	fault    fault
	armed    atomic.Bool
	hit      chan struct{} // closed at the first fault
	once     sync.Once
	cure     chan struct{} // lets blocked callbacks go

	mu   sync.Mutex
	open map[int]bool // descriptors
}

func newSick(t testing.TB, callback string, f fault) *sick {
	s := &sick{t: t, callback: callback, fault: f, hit: make(chan struct{}), cure: make(chan struct{}), open: map[int]bool{}}
	t.Cleanup(func() { // what was left behind in a callback closes its sockets once it comes back
		close(s.cure)
		require.Eventually(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.open) == 0
		}, tooLong, tick, "descriptors stay open")
	})
	return s
}

func (s *sick) keep(fd int, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if open {
		s.open[fd] = true
	} else {
		delete(s.open, fd)
	}
}

// strike commits the fault of a callback, if it is its turn.
func (s *sick) strike(callback string) (struck bool) {
	if callback != s.callback || !s.armed.Load() {
		return false
	}
	s.once.Do(func() { close(s.hit) })
	if s.fault == blocks {
		<-s.cure
	}
	return true
}

// hook is a callback that is nil in a plug-in without it.
func (s *sick) hook(callback string) error {
	if s.strike(callback) {
		return errFault
	}
	return nil
}

func (s *sick) transport() transport.Transport {
	cb := transport.TCPCallbacks()
	well := cb
	cb.Socket = func(setup any, a transport.Addr) (int, error) {
		fd, err := well.Socket(setup, a)
		if err == nil {
			s.keep(fd, true)
		}
		return fd, err
	}
	cb.Close = func(c int) error {
		s.keep(c, false)
		err := well.Close(c)
		if s.strike("Close") {
			return errFault
		}
		return err
	}
	cb.Accept = func(c int, tmo time.Duration) (int, transport.Addr, error) {
		if s.strike("Accept") {
			return -1, nil, errFault
		}
		fd, a, err := well.Accept(c, tmo)
		if err == nil {
			s.keep(fd, true)
		}
		return fd, a, err
	}
	cb.Read = func(c int, p []byte, tmo time.Duration) (int, error) {
		if s.strike("Read") {
			return 0, errFault
		}
		return well.Read(c, p, tmo)
	}
	cb.Write = func(c int, p []byte, tmo time.Duration) (int, error) {
		if s.strike("Write") {
			return 0, errFault
		}
		return well.Write(c, p, tmo)
	}
	cb.Writev = nil // so that Write gets all
	cb.HandshakePacketHeaderSize = func(c int) (int, error) {
		if s.strike("HandshakePacketHeaderSize") {
			return 0, errFault
		}
		return well.HandshakePacketHeaderSize(c)
	}
	cb.GetFD = func(c int) (int, error) {
		if s.strike("GetFD") {
			return -1, errFault
		}
		return well.GetFD(c)
	}
	cb.ConnectHandshakeComplete = func(int) error { return s.hook("ConnectHandshakeComplete") }
	cb.AcceptHandshakeComplete = func(int) error { return s.hook("AcceptHandshakeComplete") }
	cb.CheckPeer = func(int, string) error { return s.hook("CheckPeer") }
	cb.Pending = func(int) (int, error) { return 0, s.hook("Pending") }
	return of(transport.New(cb, nil)).must(s.t)
}

// wants is what the error of a fault must say.
func (s *sick) wants(t testing.TB, err error) {
	t.Helper()
	require.Error(t, err)
	if s.fault == fails {
		require.ErrorIs(t, err, errFault)
		return
	}
	require.ErrorIs(t, err, transport.ErrUnresponsive)
	var c *transport.CallbackError
	require.ErrorAs(t, err, &c)
	// the transport does not know which one it was
	if s.callback != "Read" && s.callback != "Write" {
		require.Equal(t, s.callback, c.Callback)
		require.Contains(t, err.Error(), s.callback)
	}
}

// closes requires that a node ends, whatever its plug-in does.
func closes(t testing.TB, n *Node) {
	t.Helper()
	inTime(t, "Close", func() { _ = n.Close() })
}

// The fault shows while the node connects, or accepts.
func TestSickPluginAtSetup(t *testing.T) {
	connecting := []string{"GetFD", "HandshakePacketHeaderSize", "Read", "Write", "CheckPeer", "ConnectHandshakeComplete"}
	accepting := []string{"Accept", "GetFD", "HandshakePacketHeaderSize", "Read", "Write", "CheckPeer", "AcceptHandshakeComplete"}
	faults := func(callback string) []fault {
		switch callback {
		case "GetFD", "Read", "Write":
			return []fault{fails}
		}
		return []fault{fails, blocks}
	}
	for _, callback := range connecting {
		for _, f := range faults(callback) {
			t.Run("connect/"+callback+" "+string(f), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, "tcp")
				w.started("bob")
				s := newSick(t, callback, f)
				a := w.node("alice", func(cfg *Config) { cfg.Transport = s.transport() })
				s.armed.Store(true)
				ctx, cancel := context.WithCancel(w.ctx())
				defer cancel()
				connected := async(func() (*Conn, error) { return a.Connect(ctx, "bob@test") })
				if f == blocks {
					arrives(t, s.hit, "the fault")
					cancel()
				}
				s.wants(t, arrives(t, connected, "Connect").err)
				require.Empty(t, a.Peers())
				closes(t, a)
			})
		}
	}
	for _, callback := range accepting {
		for _, f := range faults(callback) {
			t.Run("accept/"+callback+" "+string(f), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, "tcp")
				s := newSick(t, callback, f)
				failed, hear := failures()
				b := w.started("bob", hear, func(cfg *Config) {
					cfg.Transport = s.transport()
					if f == blocks { // which nothing else ends
						cfg.HandshakeTimeout = 5 * time.Second
					}
				})
				// Another listener, over a transport that is well, goes on.
				l := of(b.ListenOn(w.ctx(), transport.TCP(), w.addr(""))).must(t)
				accepted := async(func() (*Conn, error) { return l.Accept(w.ctx()) })

				s.armed.Store(true)
				ctx, cancel := context.WithCancel(w.ctx())
				defer cancel()
				a := w.node("alice")
				connected := async(func() (*Conn, error) { return a.Connect(ctx, "bob@test") })
				if callback == "Accept" && f == blocks {
					arrives(t, s.hit, "the fault")
					cancel()
				}
				err := arrives(t, connected, "Connect").err
				// else the peer has had its acknowledgement already
				if callback != "AcceptHandshakeComplete" {
					require.Error(t, err)
				}
				if callback != "Accept" && callback != "GetFD" {
					s.wants(t, arrives(t, failed, "the failed handshake"))
				}
				c := of(w.node("carol").ConnectAddr(w.ctx(), l.Addr(), "bob@test")).must(t)
				require.NoError(t, arrives(t, accepted, "the good connection").err)
				_, err = c.RPC(w.ctx(), "m", "f")
				var bad *RPCError
				require.ErrorAs(t, err, &bad)
				closes(t, b)
			})
		}
	}
}

// The fault shows when the connection is up.
func TestSickPluginLater(t *testing.T) {
	need.Descriptors(t, 1000)
	for _, tt := range []struct {
		callback string
		fault    fault
	}{
		{"Read", fails}, {"Read", blocks}, {"Write", fails}, {"Write", blocks}, {"GetFD", fails}, {"Close", fails}, {"Close", blocks},
		{"Pending", fails},
	} {
		t.Run(fmt.Sprintf("%s %v", tt.callback, tt.fault), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "tcp")
			s := newSick(t, tt.callback, tt.fault)
			a := w.started("alice", func(cfg *Config) {
				cfg.Transport = s.transport()
				// a busy machine may keep the others from answering for as long as some of these
				// are
				cfg.TickInterval = time.Second
			})
			b := w.started("bob")
			c := connect(t, a, "bob@test")
			good, err := a.ListenOn(w.ctx(), transport.TCP(), transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
			require.NoError(t, err)
			accepted := async(func() (*Conn, error) { return good.Accept(w.ctx()) })
			other := of(w.started("carol").ConnectAddr(w.ctx(), good.Addr(), "alice@test")).must(t)
			require.NoError(t, arrives(t, accepted, "the good connection").err)

			s.armed.Store(true)
			here, there := box(t, a), box(t, b)
			require.Eventually(t, func() bool { return b.Conn("alice@test") != nil }, tooLong, tick)
			back := async(func() (int, error) { return 0, there.Send(w.ctx(), here.Pid(), "to be read") })
			sent := async(func() (int, error) { return 0, here.Send(w.ctx(), there.Pid(), "to be written") })
			switch tt.callback {
			case "Read", "Write":
				arrives(t, s.hit, "the fault")
				if tt.fault != blocks {
					err := ended(t, c)
					s.wants(t, err)
				}
			}
			// of the same node, over the transport that is well
			_, err = other.RPC(w.ctx(), "m", "f")
			var bad *RPCError
			require.ErrorAs(t, err, &bad)

			closed := async(func() (int, error) { return 0, c.Close() })
			err = arrives(t, closed, "the connection's Close").err
			switch {
			case tt.callback == "Close" || tt.callback == "GetFD" || tt.fault == blocks:
				s.wants(t, err)
			}
			_, err = other.RPC(w.ctx(), "m", "f")
			require.ErrorAs(t, err, &bad)
			closes(t, a)
			arrives(t, back, "the peer's Send")
			if tt.callback != "Write" || tt.fault != blocks {
				arrives(t, sent, "the Send")
			}
		})
	}
}
