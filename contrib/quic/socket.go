package cnodequic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

func (p *plugin) callbacks() transport.Callbacks[*Socket] {
	return transport.Callbacks[*Socket]{
		Name:                      "quic",
		Flags:                     transport.FullImpl | transport.Direct,
		Socket:                    func(any, transport.Addr) (*Socket, error) { return p.newSocket(), nil },
		Close:                     (*Socket).close,
		Listen:                    (*Socket).listen,
		Accept:                    (*Socket).accept,
		Connect:                   (*Socket).connect,
		Read:                      (*Socket).read,
		Write:                     (*Socket).write,
		Writev:                    (*Socket).writev,
		HandshakePacketHeaderSize: func(*Socket) (int, error) { return 4, nil },
		GetFD:                     func(*Socket) (int, error) { return -1, errors.ErrUnsupported },
		CloseWrite:                (*Socket).closeWrite,
		LocalAddr:                 func(s *Socket) (transport.Addr, error) { return s.local, nil },
		CheckPeer:                 (*Socket).checkPeer,
		Interrupt:                 func(s *Socket) { s.interrupt(false); s.interrupt(true) },
		InterruptOne:              (*Socket).interrupt,
		Abort:                     func(s *Socket) error { return s.abort() },
	}
}

// The codes with which a connection is closed.
const (
	codeRead    quic.ApplicationErrorCode = iota // the peer has read everything, or wants no more
	codeCut                                      // it has not, and will not get it
	codeRefused                                  // the connection was not accepted
)

// A Socket is the plug-in's socket context: a listener, or a connection.
type Socket struct {
	p *plugin
	l *listener

	at            *endpoint
	conn          *quic.Conn
	local, remote transport.Addr
	client        bool   // it has been made, not accepted
	node          string // the peer's name, if the address connected to had it
	out           *quic.SendStream

	mu            sync.Mutex              // never held while anything waits
	in            *quic.ReceiveStream     // nil until the peer's has come
	cancelRead    context.CancelCauseFunc // of an Accept, or a Read that waits for the stream
	cancelConnect context.CancelCauseFunc
	writing       bool // a Write is in flight
	halved        bool // CloseWrite has been called
	told          bool // the peer knows that no more of its bytes are wanted
}

func (p *plugin) newSocket() *Socket { return &Socket{p: p} }

// use makes the socket that of a connection, for which at has been joined.
func (s *Socket) use(c *quic.Conn, at *endpoint) (err error) {
	s.conn, s.at = c, at
	if s.out, err = c.OpenUniStream(); err != nil {
		_ = s.end(codeRefused)
		s.conn = nil
	}
	return err
}

func (s *Socket) listen(addr transport.Addr, backlog int) (bound transport.Addr, err error) {
	s.l, bound, err = s.p.listen(addr, backlog)
	s.local = bound
	return bound, err
}

func (s *Socket) accept(tmo time.Duration) (*Socket, transport.Addr, error) {
	select { // one that is there takes precedence over a time-out of 0
	case c := <-s.l.ready:
		return c, c.remote, nil
	default:
	}
	ctx, end := s.within(tmo, false)
	defer end(nil)
	select {
	case c := <-s.l.ready:
		return c, c.remote, nil
	case <-s.l.over:
		return nil, nil, fmt.Errorf("the socket does not listen any more: %w", s.l.err)
	case <-ctx.Done():
		return nil, nil, os.ErrDeadlineExceeded
	}
}

// within is a context for a call that has no stream to set a deadline of; interrupt ends it, and so
// does end.
func (s *Socket) within(tmo time.Duration, writing bool) (ctx context.Context, end context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	end = cancel
	if tmo != transport.Infinite {
		t := time.AfterFunc(time.Until(deadline(tmo)), func() { cancel(os.ErrDeadlineExceeded) })
		end = func(cause error) { t.Stop(); cancel(cause) }
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if writing {
		s.cancelConnect = end
	} else {
		s.cancelRead = end
	}
	return ctx, end
}

// deadline is when tmo is over: never, or after an instant at least, for quic-go does not try at
// all once a deadline has passed.
func deadline(tmo time.Duration) time.Time {
	switch tmo {
	case transport.Infinite:
		return time.Time{}
	case 0:
		tmo = time.Millisecond
	}
	return time.Now().Add(tmo)
}

// interrupt ends the call in flight in one direction. The next call sets its own deadline.
func (s *Socket) interrupt(writing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case writing && s.writing:
		_ = s.out.SetWriteDeadline(time.Now())
	case writing && s.cancelConnect != nil:
		s.cancelConnect(os.ErrDeadlineExceeded)
	case !writing && s.in != nil:
		_ = s.in.SetReadDeadline(time.Now())
	case !writing && s.cancelRead != nil:
		s.cancelRead(os.ErrDeadlineExceeded)
	}
}

func (s *Socket) connect(addr transport.Addr, tmo time.Duration) error {
	to, err := transport.AddrPort(addr)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", syscall.EAFNOSUPPORT, err)
	case s.p.client == nil:
		return fmt.Errorf("no Config.Client was given: %w", errors.ErrUnsupported)
	}
	s.remote, s.client = transport.FromAddrPort(to), true
	if named, ok := addr.(interface{ PeerName() string }); ok {
		s.node = named.PeerName()
	}
	ctx, end := s.within(tmo, true)
	defer end(nil)
	at, err := s.p.open(anyPort(to.Addr()))
	if err != nil {
		return err
	}
	s.local = transport.FromNetAddr(at.Conn.LocalAddr())
	if at.udp != nil {
		way, err := reach(net.UDPAddrFromAddrPort(to), end)
		if err != nil {
			at.leave(0)
			return err
		}
		defer way.Close()
		if from, err := transport.WithPort(transport.FromNetAddr(way.LocalAddr()), portOf(s.local)); err == nil {
			s.local = from
		}
	}
	cfg := s.p.client
	if cfg.ServerName == "" {
		cfg = cfg.Clone()
		cfg.ServerName = to.Addr().String()
		if _, host, ok := strings.Cut(s.node, "@"); ok {
			cfg.ServerName = host
		}
	}
	c, err := at.Dial(ctx, net.UDPAddrFromAddrPort(to), cfg, s.p.made)
	if err == nil {
		err = s.use(c, at)
	} else {
		at.leave(0)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return s.failed(err, syscall.ECONNRESET)
}

// anyPort is any port of this machine, for packets to ip.
func anyPort(ip netip.Addr) netip.AddrPort {
	if ip.Is4() {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
}

func portOf(a transport.Addr) uint16 {
	port, _ := transport.Port(a)
	return port
}

func (s *Socket) read(p []byte, tmo time.Duration) (int, error) {
	in, err := s.stream(tmo)
	if err == nil {
		_ = in.SetReadDeadline(deadline(tmo))
		var n int
		n, err = in.Read(p)
		if err == io.EOF {
			s.want()
			return n, nil
		}
		if n > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			return n, nil
		}
		return n, s.failed(err, syscall.ECONNRESET)
	}
	return 0, s.failed(err, syscall.ECONNRESET)
}

// stream is the peer's stream; it waits until that has come.
func (s *Socket) stream(tmo time.Duration) (*quic.ReceiveStream, error) {
	s.mu.Lock()
	in := s.in
	s.mu.Unlock()
	if in != nil {
		return in, nil
	}
	ctx, end := s.within(tmo, false)
	defer end(nil)
	in, err := s.conn.AcceptUniStream(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = os.ErrDeadlineExceeded
		}
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in = in
	return in, nil
}

// want tells the peer that no more of its bytes are wanted: by the end of our second stream.
func (s *Socket) want() {
	s.mu.Lock()
	told := s.told
	s.told = true
	s.mu.Unlock()
	if told {
		return
	}
	if said, err := s.conn.OpenUniStream(); err == nil {
		_ = said.Close()
	}
}

func (s *Socket) write(p []byte, tmo time.Duration) (int, error) {
	s.mu.Lock()
	if s.halved {
		s.mu.Unlock()
		return 0, syscall.EPIPE
	}
	s.writing = true
	_ = s.out.SetWriteDeadline(deadline(tmo))
	s.mu.Unlock()
	n, err := s.out.Write(p)
	s.mu.Lock()
	s.writing = false
	halved := s.halved
	s.mu.Unlock()
	if halved {
		_ = s.out.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = syscall.EPIPE
		}
	}
	return n, s.failed(err, syscall.EPIPE)
}

// joined is how many bytes of several buffers go out by one write of quic-go, which makes packets
// of each write by itself.
const joined = 64 << 10

var buffers = sync.Pool{New: func() any { return new([joined]byte) }}

// writev writes the first buffer if that is large, and otherwise as many as fit into joined bytes.
func (s *Socket) writev(v [][]byte, tmo time.Duration) (int64, error) {
	for len(v) > 1 && len(v[0]) == 0 {
		v = v[1:]
	}
	if len(v) == 1 || len(v[0]) >= joined/4 {
		n, err := s.write(v[0], tmo)
		return int64(n), err
	}
	all := buffers.Get().(*[joined]byte)
	defer buffers.Put(all)
	size := 0
	for _, p := range v {
		size += copy(all[size:], p)
	}
	n, err := s.write(all[:size], tmo)
	return int64(n), err
}

// closeWrite ends the sending direction. quic-go does not let it end beside a Write: if there is
// one, that is ended, and ends the direction.
func (s *Socket) closeWrite() error {
	if s.conn == nil {
		return syscall.ENOTCONN
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halved = true
	if s.writing {
		return s.out.SetWriteDeadline(time.Now())
	}
	_ = s.out.Close() // it fails if the peer reads no more
	return nil
}

const (
	// farewell is how long Close waits for the peer to have read everything.
	farewell = 200 * time.Millisecond
	// lingering is how long that goes on in the background.
	lingering = 5 * time.Second
)

func (s *Socket) close() error {
	switch {
	case s.l != nil:
		s.l.close()
		return nil
	case s.conn == nil:
		return nil
	}
	_ = s.out.Close()
	s.want()
	if s.in != nil {
		s.in.CancelRead(0)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = s.end(s.linger())
	}()
	moment := time.NewTimer(farewell)
	defer moment.Stop()
	select {
	case <-over:
	case <-moment.C:
	}
	return nil
}

// linger waits until the peer wants no more, or has closed the connection.
func (s *Socket) linger() quic.ApplicationErrorCode {
	ctx, cancel := context.WithTimeout(s.conn.Context(), lingering)
	defer cancel()
	if s.in == nil {
		in, err := s.conn.AcceptUniStream(ctx)
		if err != nil {
			return codeCut
		}
		in.CancelRead(0)
	}
	if _, err := s.conn.AcceptUniStream(ctx); err != nil {
		return codeCut
	}
	return codeRead
}

// end closes the connection. Its last packet is sent again if the peer has not got it, for as long
// as QUIC asks for: three times the probe timeout (RFC 9000, section 10.2).
func (s *Socket) end(code quic.ApplicationErrorCode) error {
	stats := s.conn.ConnectionStats()
	err := s.conn.CloseWithError(code, "")
	s.at.leave(min(3*(stats.SmoothedRTT+4*stats.MeanDeviation+25*time.Millisecond), time.Second))
	return err
}

// abort closes the connection without caring for what the peer has not read.
func (s *Socket) abort() error {
	if s.conn == nil {
		return s.close()
	}
	return s.end(codeCut)
}

func (s *Socket) checkPeer(name string) error {
	state := s.conn.ConnectionState().TLS
	p := tlstransport.Peer{Name: name, Addr: s.remote, Certificate: state.PeerCertificates[0], Verified: len(state.VerifiedChains) > 0}
	for _, check := range s.p.checks {
		if err := check(p); err != nil {
			return s.refused(name, tlstransport.FailureAllowed, fmt.Errorf("%w: %w", tlstransport.ErrNotAllowed, err))
		}
	}
	return nil
}
