package cnodequic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/cnode-go/cnode/transport"
)

// An endpoint is a UDP socket, and how many use it: a listener, and connections.
type endpoint struct {
	*quic.Transport
	udp *net.UDPConn // to be closed; nil: the socket is the program's

	mu    sync.Mutex
	users int
	until time.Time // when the last packets of connections that are over have been sent again, if they must be
}

// open makes an endpoint with one user.
func (p *plugin) open(local netip.AddrPort) (*endpoint, error) {
	if p.socket != nil {
		return &endpoint{Transport: p.socket, users: 1}, nil
	}
	udp, err := net.ListenUDP(network(local.Addr()), net.UDPAddrFromAddrPort(local))
	if err != nil {
		return nil, transport.PosixError(err)
	}
	return &endpoint{Transport: &quic.Transport{Conn: lossy{udp}}, udp: udp, users: 1}, nil
}

// network says that the IPv4 wildcard is to be that, and not both families.
func network(ip netip.Addr) string {
	if ip.Is4() {
		return "udp4"
	}
	return "udp"
}

// join is called by one who is a user already, for another one.
func (e *endpoint) join() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.users++
}

// leave ends a use. The last one closes the socket once no more is to be said by it, which for a
// connection that has just ended is after a while: the peer may not have heard of its end.
func (e *endpoint) leave(after time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if until := time.Now().Add(after); after > 0 && until.After(e.until) {
		e.until = until
	}
	if e.users--; e.users > 0 || e.udp == nil {
		return
	}
	if rest := time.Until(e.until); rest > 0 {
		time.AfterFunc(rest, e.shut)
		return
	}
	e.shut()
}

func (e *endpoint) shut() {
	_ = e.Transport.Close()
	_ = e.udp.Close()
}

// Lossy makes of a UDP socket one for Config.Socket, as it is for the package's own sockets: a
// packet that the system does not send is lost, and QUIC sends it again. With the socket itself
// that packet ends its connection. Such are packets without a way, as between two networks, those
// that a rule of a firewall or a route forbids, and those for which there is no buffer. The socket
// stays the caller's.
func Lossy(c *net.UDPConn) net.PacketConn { return lossy{c} }

type lossy struct{ *net.UDPConn }

func (l lossy) WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (n, oobn int, err error) {
	n, oobn, err = l.UDPConn.WriteMsgUDP(b, oob, to)
	if isLost(err) {
		return len(b), len(oob), nil
	}
	return n, oobn, err
}

func (l lossy) WriteTo(b []byte, to net.Addr) (n int, err error) {
	if n, err = l.UDPConn.WriteTo(b, to); isLost(err) {
		return len(b), nil
	}
	return n, err
}

// losses are the errors of packets that may pass: no way; forbidden, by a firewall (EPERM), a
// route of type prohibit (EACCES) or blackhole (EINVAL, which Linux also gives for several packets
// at once that are longer than the interface takes); no buffer.
var losses = [...]error{
	syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN, syscall.EADDRNOTAVAIL,
	syscall.EPERM, syscall.EACCES, syscall.EINVAL, syscall.ENOBUFS, syscall.ENOMEM,
}

func isLost(err error) bool {
	err = transport.PosixError(err)
	for _, lost := range losses {
		if errors.Is(err, lost) {
			return true
		}
	}
	return false
}

// A listener takes connections from quic-go, and keeps those of nodes until they are accepted.
type listener struct {
	p       *plugin
	at      *endpoint
	quic    *quic.Listener
	shaking handshakes
	ready   chan *Socket
	over    chan struct{} // closed when no more will come
	err     error         // why; valid once over is closed
}

func (p *plugin) listen(addr transport.Addr, backlog int) (*listener, transport.Addr, error) {
	at, err := transport.AddrPort(addr)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%w: %w", syscall.EAFNOSUPPORT, err)
	case p.server == nil:
		return nil, nil, fmt.Errorf("no Config.Server was given: %w", errors.ErrUnsupported)
	}
	e, err := p.open(at)
	if err != nil {
		return nil, nil, err
	}
	local := transport.FromNetAddr(e.Conn.LocalAddr())
	if has, err := transport.AddrPort(local); p.socket != nil && (err != nil || at.Port() != 0 && at.Port() != has.Port()) {
		return nil, nil, fmt.Errorf("Config.Socket is at %v: %w", local, syscall.EADDRNOTAVAIL)
	}
	l := &listener{
		p: p, at: e, shaking: handshakes{most: p.most, hosts: map[netip.Prefix]int{}},
		ready: make(chan *Socket, backlog), over: make(chan struct{}),
	}
	if err := l.hear(); err != nil {
		e.leave(0)
		return nil, nil, fmt.Errorf("%w: %w", syscall.EADDRINUSE, err) // Config.Socket has a listener
	}
	go l.run()
	return l, local, nil
}

// run accepts until the listener is closed, or its socket.
func (l *listener) run() {
	defer close(l.over)
	for {
		c, err := l.quic.Accept(context.Background())
		if err != nil {
			l.err = err
			return
		}
		done(c)
		l.at.join()
		serve := l.p.others[c.ConnectionState().TLS.NegotiatedProtocol]
		if serve == nil {
			l.offer(c)
			continue
		}
		go func() {
			defer l.at.leave(0)
			serve(c)
		}()
	}
}

func (l *listener) offer(c *quic.Conn) {
	s := l.p.newSocket()
	s.remote, s.local = transport.FromNetAddr(c.RemoteAddr()), transport.FromNetAddr(c.LocalAddr())
	if err := s.use(c, l.at); err != nil {
		return // it has ended already
	}
	select {
	case l.ready <- s:
	default:
		_ = s.end(codeRefused)
	}
}

// close ends the connections that nobody has accepted.
func (l *listener) close() {
	_ = l.quic.Close()
	<-l.over
	for {
		select {
		case s := <-l.ready:
			_ = s.end(codeRefused)
		default:
			l.at.leave(0)
			return
		}
	}
}

// reach connects a UDP socket to an address, and sends an empty packet there, which QUIC ignores.
// The socket of a connection is not connected, so that its address may change: it does not hear
// that nobody listens there, and has no address of its own. This one has, and says so to refused.
func reach(to *net.UDPAddr, refused func(error)) (*net.UDPConn, error) {
	c, err := net.DialUDP("udp", nil, to)
	if err != nil {
		return nil, transport.PosixError(err)
	}
	_, _ = c.Write(nil)
	go func() {
		for {
			_, err := c.Read(make([]byte, 1))
			if err = transport.PosixError(err); errors.Is(err, syscall.ECONNREFUSED) {
				refused(syscall.ECONNREFUSED)
			}
			if err != nil {
				return
			}
		}
	}()
	return c, nil
}
