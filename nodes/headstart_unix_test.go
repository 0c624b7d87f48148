//go:build unix

package nodes

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/transport"
)

// clerk is a port mapper at host that gives bob the port that port returns; 0: he is not registered.
func clerk(t *testing.T, host string, port func() uint16) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	require.NoError(t, err)
	var served sync.WaitGroup
	t.Cleanup(func() { l.Close(); served.Wait() })
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(c, make([]byte, len("\x00\x04zbob")))
			answer := []byte{119, 1}
			if p := port(); p != 0 {
				answer = append([]byte{119, 0, byte(p >> 8), byte(p), 77, 0, 0, 6, 0, 5, 0, 3}, "bob\x00\x00"...)
			}
			_, _ = c.Write(answer)
			c.Close()
		}
	})
	return l.Addr().String()
}

// A place is a port where a node listens, or has listened.
type place struct {
	l *net.TCPListener
	t *testing.T
}

func newPlace(t *testing.T, host string) place {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return place{l.(*net.TCPListener), t}
}

func (p place) port() uint16 { return p.l.Addr().(*net.TCPAddr).AddrPort().Port() }

// next is the next connection that somebody makes.
func (p place) next() net.Conn {
	require.NoError(p.t, p.l.SetDeadline(time.Now().Add(tooLong)))
	c, err := p.l.Accept()
	require.NoError(p.t, err)
	require.NoError(p.t, c.SetDeadline(time.Now().Add(tooLong)))
	return c
}

// closedUnused waits until a connection that nothing was sent over is closed.
func (p place) closedUnused(c net.Conn) {
	n, err := c.Read(make([]byte, 1))
	require.Zero(p.t, n)
	require.ErrorIs(p.t, err, io.EOF)
	c.Close()
}

// aheadOf makes alice, who knows that bob was at old when she asked the port mapper last.
func aheadOf(t *testing.T, host string, old uint16, port func() uint16) *Node {
	p := &PortMapper{Client: epmd.Client{Addr: clerk(t, host, port)}}
	p.ports.set("bob@"+host, old)
	n, err := New(Config{Name: "alice@" + host, Cookie: "secret", Resolver: p})
	require.NoError(t, err)
	t.Cleanup(func() { n.Close() })
	return n
}

// awaitHandshakes waits until that many handshakes which peers have begun are in progress.
func awaitHandshakes(n *Node, count int64) {
	for n.shaking.Count() != count {
		time.Sleep(tick)
	}
}

// bobAt starts bob.
func bobAt(t *testing.T, host string, edit ...func(*Config)) (n *Node, port uint16) {
	at := transport.FromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), 0))
	n = startedAs(t, Config{Name: "bob@" + host, Cookie: "secret", Listen: at, Resolver: Static{}}, edit...)
	ap, err := transport.AddrPort(n.Listeners()[0].Addr())
	require.NoError(t, err)
	return n, ap.Port()
}

// testHeadStart tests it with nodes at host.
func testHeadStart(t *testing.T, host string) {
	t.Run("there", func(t *testing.T) {
		b, port := bobAt(t, host)
		a := aheadOf(t, host, port, func() uint16 {
			awaitHandshakes(b, 1) // the port mapper waits until bob has accepted the connection
			return port
		})
		c, err := a.Connect(soon(t), "bob@"+host)
		require.NoError(t, err)
		require.Equal(t, uint64(1), b.arrivals.Load(), "connections made")
		require.NoError(t, c.Shutdown(soon(t)))
		_, err = a.Connect(soon(t), "bob@"+host)
		require.NoError(t, err, "once more")
		require.Equal(t, uint64(2), b.arrivals.Load(), "connections made")
	})
	t.Run("moved", func(t *testing.T) {
		b, port := bobAt(t, host)
		old := newPlace(t, host)
		made := make(chan net.Conn, 1)
		a := aheadOf(t, host, old.port(), func() uint16 {
			made <- old.next()
			return port
		})
		_, err := a.Connect(soon(t), "bob@"+host)
		require.NoError(t, err)
		require.Equal(t, uint64(1), b.arrivals.Load(), "connections made")
		old.closedUnused(<-made)
		require.Equal(t, port, a.cfg.Resolver.(*PortMapper).ports.get("bob@"+host))
	})
	t.Run("port closed", func(t *testing.T) {
		_, port := bobAt(t, host)
		old := newPlace(t, host)
		old.l.Close()
		a := aheadOf(t, host, old.port(), func() uint16 { return port })
		_, err := a.Connect(soon(t), "bob@"+host)
		require.NoError(t, err)
	})
	t.Run("gone", func(t *testing.T) {
		old := newPlace(t, host)
		made := make(chan net.Conn, 1)
		a := aheadOf(t, host, old.port(), func() uint16 {
			made <- old.next()
			return 0
		})
		_, err := a.Connect(soon(t), "bob@"+host)
		require.ErrorIs(t, err, epmd.ErrNotRegistered)
		old.closedUnused(<-made)
		require.Zero(t, a.cfg.Resolver.(*PortMapper).ports.get("bob@"+host))
	})
	t.Run("not there, nor the port mapper's", func(t *testing.T) {
		old := newPlace(t, host)
		old.l.Close()
		a := aheadOf(t, host, old.port(), old.port)
		_, err := a.Connect(soon(t), "bob@"+host)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	})
	t.Run("slow port mapper", func(t *testing.T) {
		b, port := bobAt(t, host)
		a := aheadOf(t, host, port, func() uint16 {
			time.Sleep(staleStart + 100*time.Millisecond)
			return port
		})
		_, err := a.Connect(soon(t), "bob@"+host)
		require.NoError(t, err)
		require.Equal(t, uint64(2), b.arrivals.Load(), "an old connection is not used")
	})
	t.Run("given up meanwhile", func(t *testing.T) { // by the process that has accepted it
		b, port := bobAt(t, host, func(cfg *Config) { cfg.HandshakeTimeout = 100 * time.Millisecond })
		a := aheadOf(t, host, port, func() uint16 {
			awaitHandshakes(b, 1)
			awaitHandshakes(b, 0)
			return port
		})
		_, err := a.Connect(soon(t), "bob@"+host)
		require.NoError(t, err)
		require.Equal(t, uint64(2), b.arrivals.Load(), "connections made")
	})
	t.Run("restarted meanwhile", func(t *testing.T) {
		b, port := bobAt(t, host)
		a := aheadOf(t, host, port, func() uint16 {
			if b.Err() == nil {
				awaitHandshakes(b, 1)
				b.Close()
				bobAt(t, host, func(cfg *Config) {
					cfg.Listen = transport.FromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), port))
				})
			}
			return port
		})
		_, err := a.Connect(soon(t), "bob@"+host)
		require.NoError(t, err)
	})
	t.Run("no time", func(t *testing.T) {
		old := newPlace(t, host)
		a := aheadOf(t, host, old.port(), old.port)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := a.Connect(ctx, "bob@"+host)
		require.ErrorIs(t, err, context.Canceled)
		c, err := net.Dial("tcp", old.l.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		first := old.next()
		defer first.Close()
		require.Equal(t, c.LocalAddr().String(), first.RemoteAddr().String(), "no connection before this one")
	})
	t.Run("a transport that counts", func(t *testing.T) { // as transport.Fault does
		b, port := bobAt(t, host)
		a := aheadOf(t, host, port, func() uint16 { return port })
		a.cfg.Transport = transport.Fault(transport.TCP(), transport.FaultOptions{At: []transport.FaultAt{{Kind: transport.FaultRefuse, Conn: 1}}})
		_, err := a.Connect(soon(t), "bob@"+host)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.Zero(t, b.arrivals.Load())
	})
	t.Run("node closes meanwhile", func(t *testing.T) {
		old := newPlace(t, host)
		made, closed := make(chan net.Conn, 1), make(chan struct{})
		a := aheadOf(t, host, old.port(), func() uint16 {
			made <- old.next()
			<-closed
			return old.port()
		})
		failed := make(chan error, 1)
		go func() { _, err := a.Connect(soon(t), "bob@"+host); failed <- err }()
		c := <-made
		require.NoError(t, a.Close())
		require.ErrorIs(t, <-failed, ErrClosed)
		old.closedUnused(c)
		close(closed)
	})
}

// A node connects to where the peer was while it asks the port mapper, and believes the port mapper.
func TestHeadStart(t *testing.T) { testHeadStart(t, "127.0.0.1") }

func TestKnownPorts(t *testing.T) {
	var k knownPorts
	require.Zero(t, k.get("a@b"))
	k.forget("a@b")
	for port := range uint16(maxKnownPorts + 10) {
		k.set(string(rune('a'+port)), port+1)
		require.Equal(t, port+1, k.get(string(rune('a'+port))))
	}
	require.Len(t, k.of, maxKnownPorts)
	k.set("a@b", 1)
	k.set("a@b", 2)
	require.Equal(t, uint16(2), k.get("a@b"))
	k.forget("a@b")
	require.Len(t, k.of, maxKnownPorts-1)
}
