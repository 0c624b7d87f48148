//go:build unix

package nodes

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/dist"
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

// A headPort is a port where a node listens, or has listened.
type headPort struct {
	l *net.TCPListener
	t *testing.T
}

func newPlace(t *testing.T, host string) headPort {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return headPort{l.(*net.TCPListener), t}
}

func (p headPort) port() uint16 { return p.l.Addr().(*net.TCPAddr).AddrPort().Port() }

// next is the next connection that somebody makes.
func (p headPort) next() net.Conn {
	require.NoError(p.t, p.l.SetDeadline(time.Now().Add(tooLong)))
	c, err := p.l.Accept()
	require.NoError(p.t, err)
	require.NoError(p.t, c.SetDeadline(time.Now().Add(tooLong)))
	return c
}

// closed waits until a connection is closed over which nothing was sent but, perhaps, a name.
func (p headPort) closed(c net.Conn, name string) {
	defer c.Close()
	sent, err := io.ReadAll(c)
	require.NoError(p.t, err)
	if name == "" {
		require.Empty(p.t, sent)
		return
	}
	require.Equal(p.t, len(sent), 2+int(binary.BigEndian.Uint16(sent)), "one packet")
	who, err := dist.ParseName(sent[2:])
	require.NoError(p.t, err)
	require.Equal(p.t, name, who.Name)
}

// aheadOf makes alice, who knows that bob was at old when she asked the port mapper some time ago.
func aheadOf(t *testing.T, host string, ago time.Duration, old uint16, port func() uint16) *Node {
	p := &PortMapper{Client: epmd.Client{Addr: clerk(t, host, port)}}
	p.ports.set("bob@"+host, knownPort{port: old, asked: time.Now().Add(-ago)})
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

// testHeadStart tests it with nodes at host. says tells whether alice sends her name before the port mapper has answered.
func testHeadStart(t *testing.T, host string, ago time.Duration, says bool) {
	said := ""
	if says {
		said = "alice@" + host
	}
	t.Run("there", func(t *testing.T) {
		b, port := bobAt(t, host)
		a := aheadOf(t, host, ago, port, func() uint16 {
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
		a := aheadOf(t, host, ago, old.port(), func() uint16 {
			made <- old.next()
			return port
		})
		_, err := a.Connect(soon(t), "bob@"+host)
		require.NoError(t, err)
		require.Equal(t, uint64(1), b.arrivals.Load(), "connections made")
		old.closed(<-made, said)
		require.Equal(t, port, a.cfg.Resolver.(*PortMapper).ports.get("bob@"+host).port)
	})
	t.Run("port closed", func(t *testing.T) {
		_, port := bobAt(t, host)
		old := newPlace(t, host)
		old.l.Close()
		a := aheadOf(t, host, ago, old.port(), func() uint16 { return port })
		_, err := a.Connect(soon(t), "bob@"+host)
		require.NoError(t, err)
	})
	t.Run("gone", func(t *testing.T) {
		old := newPlace(t, host)
		made := make(chan net.Conn, 1)
		a := aheadOf(t, host, ago, old.port(), func() uint16 {
			made <- old.next()
			return 0
		})
		_, err := a.Connect(soon(t), "bob@"+host)
		require.ErrorIs(t, err, epmd.ErrNotRegistered)
		old.closed(<-made, said)
		require.Zero(t, a.cfg.Resolver.(*PortMapper).ports.get("bob@"+host))
	})
	t.Run("not there, nor the port mapper's", func(t *testing.T) {
		old := newPlace(t, host)
		old.l.Close()
		a := aheadOf(t, host, ago, old.port(), old.port)
		_, err := a.Connect(soon(t), "bob@"+host)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	})
	t.Run("slow port mapper", func(t *testing.T) {
		b, port := bobAt(t, host)
		a := aheadOf(t, host, ago, port, func() uint16 {
			time.Sleep(staleStart + 100*time.Millisecond)
			return port
		})
		_, err := a.Connect(soon(t), "bob@"+host)
		require.NoError(t, err)
		if says {
			require.Equal(t, uint64(1), b.arrivals.Load(), "bob does not wait for the name")
		} else {
			require.Equal(t, uint64(2), b.arrivals.Load(), "an old connection is not used")
		}
	})
	t.Run("given up meanwhile", func(t *testing.T) { // by the process that has accepted it
		b, port := bobAt(t, host, func(cfg *Config) { cfg.HandshakeTimeout = 100 * time.Millisecond })
		a := aheadOf(t, host, ago, port, func() uint16 {
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
		a := aheadOf(t, host, ago, port, func() uint16 {
			if b.Err() == nil {
				awaitHandshakes(b, 1)
				b.Close()
				time.Sleep(slowAnswer)
				bobAt(t, host, func(cfg *Config) {
					cfg.Listen = transport.FromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), port))
				})
			}
			return port
		})
		_, err := a.Connect(soon(t), "bob@"+host)
		require.NoError(t, err)
	})
	t.Run("another version", func(t *testing.T) {
		b, port := bobAt(t, host)
		a := aheadOf(t, host, ago, port, func() uint16 { return port })
		ports := &a.cfg.Resolver.(*PortMapper).ports
		was := ports.get("bob@" + host)
		was.version5 = true
		ports.set("bob@"+host, was)
		c, err := a.Connect(soon(t), "bob@"+host)
		require.NoError(t, err)
		require.Equal(t, dist.Version6, c.Peer().Version)
		require.NotZero(t, b.arrivals.Load())
	})
	t.Run("another node", func(t *testing.T) { // which has a connection with alice
		_, port := bobAt(t, host)
		carol, old := bobAt(t, host, func(cfg *Config) { cfg.Name = "carol@" + host })
		a := aheadOf(t, host, ago, old, func() uint16 { return port })
		c, err := a.ConnectAddr(soon(t), carol.Listeners()[0].Addr(), "carol@"+host)
		require.NoError(t, err)
		_, err = a.Connect(soon(t), "bob@"+host)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return carol.Stats().Connections == 1 && carol.shaking.Count() == 0 }, tooLong, tick)
		require.NoError(t, c.Err())
		require.NotNil(t, carol.Conn("alice@"+host))
	})
	t.Run("no time", func(t *testing.T) {
		old := newPlace(t, host)
		a := aheadOf(t, host, ago, old.port(), old.port)
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
		a := aheadOf(t, host, ago, port, func() uint16 { return port })
		a.cfg.Transport = transport.Fault(transport.TCP(), transport.FaultOptions{At: []transport.FaultAt{{Kind: transport.FaultRefuse, Conn: 1}}})
		_, err := a.Connect(soon(t), "bob@"+host)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.Zero(t, b.arrivals.Load())
	})
	t.Run("node closes meanwhile", func(t *testing.T) {
		old := newPlace(t, host)
		made, closed := make(chan net.Conn, 1), make(chan struct{})
		a := aheadOf(t, host, ago, old.port(), func() uint16 {
			made <- old.next()
			<-closed
			return old.port()
		})
		failed := make(chan error, 1)
		go func() { _, err := a.Connect(soon(t), "bob@"+host); failed <- err }()
		c := <-made
		require.NoError(t, a.Close())
		require.ErrorIs(t, <-failed, ErrClosed)
		old.closed(c, said)
		close(closed)
	})
}

// A node connects to where the peer was while it asks the port mapper, and believes the port mapper.
func TestHeadStart(t *testing.T) {
	t.Run("lately", func(t *testing.T) { testHeadStart(t, "127.0.0.1", 0, true) })
	t.Run("long ago", func(t *testing.T) { testHeadStart(t, "127.0.0.1", freshAnswer, false) })
}

func TestKnownPorts(t *testing.T) {
	var k knownPorts
	require.Zero(t, k.get("a@b"))
	k.forget("a@b")
	for port := range uint16(maxKnownPorts + 10) {
		k.set(string(rune('a'+port)), knownPort{port: port + 1})
		require.Equal(t, port+1, k.get(string(rune('a'+port))).port)
	}
	require.Len(t, k.of, maxKnownPorts)
	k.set("a@b", knownPort{port: 1})
	k.set("a@b", knownPort{port: 2})
	require.Equal(t, uint16(2), k.get("a@b").port)
	k.forget("a@b")
	require.Len(t, k.of, maxKnownPorts-1)
}
