package tlstransport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A role is a side of the handshake.
type role byte

const (
	server role = 1
	client role = 2
)

func (r role) String() string {
	if r == client {
		return "client"
	}
	return "server"
}

// A Socket is the plug-in's socket context: a listener, or a connection of the transport below with
// the TLS session on it.
type Socket struct {
	p        *plugin
	listener *transport.Listener
	lack     atomic.Pointer[error] // why the listener waits, for the one above to tell of
	below    *transport.Stream
	reading  transport.TimeLimit // of Read and Accept
	writing  transport.TimeLimit // of Write and Connect
	role     role
	remote   transport.Addr
	node     atomic.Pointer[string] // the peer's node name: from the address connected to, or from CheckPeer

	begun   atomic.Bool        // the handshake has begun
	life    context.Context    // ends when Close begins: the handshake must end
	giveUp  context.CancelFunc // ends life
	over    chan struct{}      // closed when the handshake has ended
	up      atomic.Bool        // the handshake has succeeded
	failure error              // of the handshake; valid once over is closed

	mu     sync.Mutex    // guards the success of the handshake against CloseWrite
	halved chan struct{} // closed by CloseWrite, perhaps during the handshake, with mu held

	conn *tls.Conn // during the handshake, and afterwards if the session stays with crypto/tls
	tap  *tap
	// the session if it does not stay with crypto/tls, from the end of the handshake on; conn is
	// nil then
	own *session
	// after an export or import: the outbox sends nothing before the next read or write
	asleep    atomic.Bool
	stay      error // why the session stays with crypto/tls
	tls12     bool  // the version is 1.2; valid once up
	peer      peer
	completed atomic.Bool // the distribution handshake is over
	out       outbox
	one       [1][]byte // of the Write in flight
	vector    [][]byte  // of the Writev in flight
}

func newSocket(p *plugin) *Socket {
	s := &Socket{p: p, halved: make(chan struct{}), over: make(chan struct{})}
	s.life, s.giveUp = context.WithCancel(context.Background())
	s.out.pool = &p.buffers
	return s
}

// open gives the socket its connection.
func (s *Socket) open(below *transport.Stream) {
	s.below, s.out.below, s.remote = below, below, below.RemoteAddr()
}

// listens makes the socket a listener.
func (s *Socket) listens(l *transport.Listener) {
	s.listener = l
	l.Exhausted = func(err error) { // the listener above waits, and tells
		s.lack.Store(&err)
		s.reading.Interrupt()
	}
}

func (s *Socket) close() error {
	if s.listener != nil {
		return bare(s.listener.Close())
	}
	if !s.begun.Load() {
		return nil
	}
	s.endHandshake()
	if !s.up.Load() {
		s.out.stop()
		s.forget()
		return bare(s.below.Close())
	}
	taken := s.farewell()
	s.forget()
	if taken {
		return s.leave()
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), restLimit)
		defer cancel()
		if err := s.out.flush(ctx); err != nil {
			s.p.log.Debug("what was sent before Close is lost in part", "peer", s.peerName(), "addr", s.remote, "error", err)
		}
		_ = s.leave()
	}()
	return nil
}

const (
	// farewellLimit bounds how long Close waits for room on the wire.
	farewellLimit = 200 * time.Millisecond
	// restLimit bounds how long after Close the rest is still sent, in the background, as the
	// kernel does for a TCP connection. Until then the descriptor stays open.
	restLimit = 5 * time.Second
)

// farewell sends what has been counted as written, and then close_notify. It returns false if the
// peer does not take them in time.
func (s *Socket) farewell() bool {
	s.out.begin()
	// on failure the peer sees the end of the connection only, behind what was counted
	_ = s.closeNotify()
	ctx, cancel := context.WithTimeout(context.Background(), farewellLimit)
	defer cancel()
	return !errors.Is(s.out.flush(ctx), os.ErrDeadlineExceeded)
}

// leave closes the connection after farewell.
func (s *Socket) leave() error {
	s.out.end() // returns a large buffer to the pool
	s.drain()
	s.out.stop()
	return bare(s.below.Close())
}

// drain throws away unread bytes: on closing, the kernel would answer them with a reset, which may
// overtake what we have sent.
func (s *Socket) drain() {
	const most = 64 << 10
	var p [4 << 10]byte
	for range most / len(p) {
		if _, err := s.receive(transport.NoWait(), p[:]); err != nil {
			return
		}
	}
}

// endHandshake ends a handshake in progress and waits for its goroutine.
func (s *Socket) endHandshake() {
	s.giveUp()
	<-s.over
}

// aborted returns net.ErrClosed once Close has begun, and the handshake must end.
func (s *Socket) aborted() error {
	if s.life.Err() != nil {
		return net.ErrClosed
	}
	return nil
}

// interrupt ends the calls in flight, but not the handshake.
func (s *Socket) interrupt() {
	s.reading.Interrupt()
	s.writing.Interrupt()
}

// interruptOne is interrupt for one direction. That there is one spares a read the SDK's look
// before it waits: the stream below looks, too.
func (s *Socket) interruptOne(writing bool) {
	if writing {
		s.writing.Interrupt()
	} else {
		s.reading.Interrupt()
	}
}

// await waits for the end of the handshake, or for that of the sending direction if halved is not
// nil.
func (s *Socket) await(ctx context.Context, halved <-chan struct{}) error {
	if s.up.Load() {
		return nil
	}
	if !s.begun.Load() {
		return syscall.ENOTCONN
	}
	select {
	case <-s.over:
		return s.failure
	case <-halved:
		return s.checked(FailureClosed, errClosed)
	default:
	}
	if transport.IsNoWait(ctx) {
		return os.ErrDeadlineExceeded
	}
	select {
	case <-s.over:
		return s.failure
	case <-halved:
		return s.checked(FailureClosed, errClosed)
	case <-ctx.Done():
		return os.ErrDeadlineExceeded
	}
}

func (s *Socket) listen(addr transport.Addr, backlog int) (transport.Addr, error) {
	l, err := s.p.below.Listen(addr, backlog)
	if err != nil {
		return nil, bare(err)
	}
	s.listens(l)
	return l.Addr(), nil
}

func (s *Socket) accept(tmo time.Duration) (*Socket, transport.Addr, error) {
	defer s.reading.End()
	below, err := s.listener.Accept(s.reading.Context(tmo))
	if err != nil {
		if lack := s.lack.Swap(nil); lack != nil {
			err = *lack
		}
		return nil, nil, bare(err)
	}
	n := newSocket(s.p)
	n.begin(server, below)
	return n, n.remote, nil
}

func (s *Socket) connect(addr transport.Addr, tmo time.Duration) error {
	defer s.writing.End()
	below, err := s.p.below.Connect(s.writing.Context(tmo), addr)
	if err != nil {
		return bare(err)
	}
	if named, ok := addr.(interface{ PeerName() string }); ok {
		s.name(named.PeerName())
	}
	s.begin(client, below)
	return nil
}

func (s *Socket) descriptor() (fd int, err error) {
	switch {
	case s.listener != nil:
		fd, err = s.listener.Descriptor()
	case s.below != nil:
		fd, err = s.below.Descriptor()
	default:
		fd, err = -1, errors.ErrUnsupported // there is none yet
	}
	return fd, bare(err)
}

func (s *Socket) localAddr() transport.Addr {
	if s.listener != nil {
		return s.listener.Addr()
	}
	return s.below.LocalAddr()
}

// receive reads at least one byte of the connection below; io.EOF is its end.
func (s *Socket) receive(ctx context.Context, p []byte) (int, error) {
	n, err := s.below.Read(ctx, p)
	return n, bare(err)
}

// name stores the peer's name.
func (s *Socket) name(node string) { s.node.Store(&node) }

// peerName is the peer's name; "" while it is not known.
func (s *Socket) peerName() string {
	if node := s.node.Load(); node != nil {
		return *node
	}
	return ""
}

// host is the host that the peer's certificate must be for.
func (s *Socket) host() string {
	if _, host, ok := strings.Cut(s.peerName(), "@"); ok {
		return host
	}
	host, err := transport.Host(s.remote)
	if err != nil {
		return ""
	}
	return host
}

func (s *Socket) read(p []byte, tmo time.Duration) (int, error) {
	ctx := s.reading.Context(tmo)
	defer s.reading.End()
	if err := s.await(ctx, nil); err != nil {
		return 0, err
	}
	var n int
	var err error
	if s.own != nil {
		n, err = s.own.read(ctx, p)
	} else {
		s.tap.ctx = ctx
		n, err = s.conn.Read(p)
	}
	if n > 0 || err == io.EOF {
		return n, nil
	}
	return 0, s.readError(err)
}

func (s *Socket) readError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	return s.peerError(err)
}

// mostAtOnce is how many bytes are sealed before they are written, plus one more record if that is
// the last.
const mostAtOnce = 8 * maxPlaintext

// maxPlaintext is the most data that one record holds. RFC 8446, section 5.1.
const maxPlaintext = 1 << 14

func (s *Socket) write(p []byte, tmo time.Duration) (int, error) {
	s.one[0] = p
	n, err := s.writev(s.one[:], len(p), tmo)
	s.one[0] = nil
	return n, err
}

// writev writes the size bytes of v, whose elements it changes.
func (s *Socket) writev(v [][]byte, size int, tmo time.Duration) (int, error) {
	ctx := s.writing.Context(tmo)
	defer s.writing.End()
	if err := s.await(ctx, s.halved); err != nil {
		return 0, err
	}
	s.out.begin()
	defer s.out.end()
	if s.isHalved() { // after Context, from which on closeWrite ends the Write
		return 0, s.writeError(errClosed)
	}
	for n := 0; ; {
		if err := s.out.flush(ctx); err != nil || n == size {
			return n, s.writeError(err)
		}
		k, err := s.seal(v)
		if n += k; err != nil {
			return n, s.writeError(err)
		}
		v = skip(v, k)
	}
}

// skip drops the first n bytes of v.
func skip(v [][]byte, n int) [][]byte {
	for len(v) > 0 && n >= len(v[0]) {
		n -= len(v[0])
		v = v[1:]
	}
	if len(v) > 0 {
		v[0] = v[0][n:]
	}
	return v
}

func (s *Socket) writeError(err error) error {
	switch {
	case err == nil:
		return nil
	case s.isHalved(): // whatever crypto/tls says to that
		return s.checked(FailureClosed, errClosed)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return err
	}
	return s.peerError(err)
}

// seal puts records with some of the bytes of v into the outbox, and returns the number of these
// bytes.
func (s *Socket) seal(v [][]byte) (int, error) {
	if s.own != nil {
		return s.own.seal(v)
	}
	for _, p := range v {
		if len(p) > 0 {
			return s.conn.Write(p[:min(len(p), mostAtOnce)])
		}
	}
	return 0, nil
}

// closeNotify puts the alert close_notify into the outbox.
func (s *Socket) closeNotify() error {
	if s.own != nil {
		return s.own.closeNotify()
	}
	return s.conn.CloseWrite()
}

// wake is called when a session is used: it sends records that are left in the outbox from before
// an export that was taken back, or from before an import.
func (s *Socket) wake() {
	if !s.asleep.Load() {
		return
	}
	s.asleep.Store(false)
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	s.out.settle()
}

func (s *Socket) closeWrite() error {
	s.mu.Lock()
	begun, up := s.begun.Load(), s.up.Load()
	if begun && !s.isHalved() {
		close(s.halved) // before the end of the handshake, shaken sends close_notify
	}
	s.mu.Unlock()
	switch {
	case !begun:
		return syscall.ENOTCONN
	case up:
		err := s.closeNotify()
		// the Write in flight; what it has counted, and close_notify, are sent in the background
		s.writing.Interrupt()
		return err
	}
	select {
	case <-s.over:
		return s.failure
	default:
		return nil
	}
}

func (s *Socket) isHalved() bool {
	select {
	case <-s.halved:
		return true
	default:
		return false
	}
}

// pending counts the bytes that are decrypted and not read, but not those of records that wait to
// be opened. It is 0 for crypto/tls, which does not tell.
func (s *Socket) pending() (int, error) {
	if !s.up.Load() || s.own == nil {
		return 0, nil
	}
	return int(s.own.pending.Load()), nil
}

func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}

// forget drops the secrets.
func (s *Socket) forget() {
	s.conn, s.tap = nil, nil
	if s.own != nil {
		s.own.forget()
	}
}
