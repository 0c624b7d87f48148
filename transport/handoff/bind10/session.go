package bind10

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"github.com/cnode-go/cnode/transport/handoff/internal/inside"
	"github.com/cnode-go/cnode/transport/handoff/internal/stream"
	"github.com/cnode-go/cnode/transport/handoff/internal/system"
	"github.com/cnode-go/cnode/transport/internal/patience"
)

// defaultTimeout is how long a Receiver waits for the rest of a session.
const defaultTimeout = 10 * time.Second

// A Session is a socket session that has been received: a socket, its endpoints, and the data that
// was already read from it. The zero Session is ready for Receive. A Session can be used for many
// Receives, which reuse the memory of Data.
type Session struct {
	Header
	Data []byte
	// Socket holds the descriptor, at index 0, until it is stolen; close-on-exec is set, and its
	// blocking mode is as the sender left it.
	Socket handoff.FDSet
}

// Close closes the descriptor, unless it has been stolen.
func (s *Session) Close() error { return s.Socket.Close() }

// Describe makes the Header of a connected stream, or of any other socket with remote as the other
// endpoint. ENOTCONN if there is no remote endpoint, EAFNOSUPPORT for a socket that is neither IPv4
// nor IPv6 nor UNIX.
func Describe(fd int, remote transport.Addr) (Header, error) {
	s, err := handoff.Inspect(fd)
	if err != nil {
		return Header{}, fault.Failed("describe", nil, fault.Cause(err))
	}
	if remote != nil {
		s.Remote = remote
	}
	switch {
	case s.Domain != syscall.AF_INET && s.Domain != syscall.AF_INET6 && s.Domain != syscall.AF_UNIX:
		err = fmt.Errorf("socket of family %d: %w", s.Domain, syscall.EAFNOSUPPORT)
	case s.Remote == nil:
		err = syscall.ENOTCONN
	}
	if err != nil {
		return Header{}, fault.Failed("describe", s.Local, err)
	}
	return Header{Family: s.Domain, Type: s.Type, Protocol: max(s.Protocol, 0), Local: s.Local, Remote: s.Remote}, nil
}

// A Forwarder sends socket sessions to a Receiver, or to a SocketSessionReceiver of BIND 10, over a
// UNIX stream. It never waits, because its process has clients to serve. Methods may be called
// concurrently; sessions are sent one after the other.
type Forwarder struct {
	mu   sync.Mutex
	addr transport.Addr // nil: made of a connection, cannot connect again
	conn *handoff.Conn
	last error // why Push has closed conn
	head []byte
	one  [1]int

	// answers is the connection. If somebody asks for what is untaken it stays open when a Push ends
	// conn, until the next Connect or Close: the sessions before are taken then, or are not.
	answers       *handoff.Conn
	asked         bool
	pushed, taken uint64        // sessions over answers
	asking        chan struct{} // holds a token while a call reads them
	changed       chan struct{} // closed when taken changes, and replaced
}

// NewForwarder makes a Forwarder to the receiver at path; on Linux a path that begins with "@" is
// an abstract name. The receiver need not exist until [Forwarder.Connect]. ENAMETOOLONG for a path
// that is too long for the system.
func NewForwarder(path string) (*Forwarder, error) {
	addr, err := transport.FromUnixPath(path)
	if err == nil && path == "" {
		err = fmt.Errorf("empty path: %w", syscall.EINVAL)
	}
	if err != nil {
		return nil, fault.Failed("forward sessions", addr, err)
	}
	return &Forwarder{addr: addr}, nil
}

// NewForwarderConn makes a Forwarder of a connected UNIX stream, one of a pair say, which the
// Forwarder owns on success. Once closed, it cannot be connected again.
func NewForwarderConn(conn *net.UnixConn) (*Forwarder, error) {
	c, err := sessionConn(conn, true)
	if err != nil {
		return nil, fault.Failed("forward sessions", nil, err)
	}
	f := &Forwarder{}
	f.begin(c)
	return f, nil
}

// Connect connects to the receiver. EISCONN if it is connected already, EAGAIN if the receiver's
// backlog is full. It may be called again after Close, and after a Push that closed the connection.
func (f *Forwarder) Connect(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.conn != nil:
		return fault.Failed("connect", f.addr, syscall.EISCONN)
	case f.addr == nil:
		return fault.Failed("connect", nil, fmt.Errorf("a forwarder without a path: %w", syscall.EINVAL))
	}
	path, _ := transport.UnixPath(f.addr)
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return fault.Failed("connect", f.addr, err)
	}
	conn, err := sessionConn(c.(*net.UnixConn), true)
	if err != nil {
		return fault.Failed("connect", f.addr, errors.Join(err, c.Close()))
	}
	if f.answers != nil {
		_ = f.answers.Close() // conn's end has been reported
	}
	f.begin(conn)
	return nil
}

// begin begins with a new connection.
func (f *Forwarder) begin(c *handoff.Conn) {
	f.conn, f.answers, f.last, f.pushed, f.taken = c, c, nil, 0, 0
	f.asking, f.changed = make(chan struct{}, 1), make(chan struct{})
}

// Close closes the connection; sessions that have been pushed still arrive. ENOTCONN if there is no
// connection, unless a Push has closed it since the last Connect.
func (f *Forwarder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn == nil && f.last == nil {
		return fault.Failed("close", f.addr, syscall.ENOTCONN)
	}
	var err error
	if f.answers != nil {
		err = f.answers.Close()
	}
	f.conn, f.answers, f.last = nil, nil, nil
	return fault.Failed("close", f.addr, err)
}

// SyscallConn gives access to the options of the connection's socket: SO_SNDBUF limits how many
// sessions wait for the receiver. ENOTCONN without a connection. Each connection has a socket of
// its own, so options have to be set again after Connect.
func (f *Forwarder) SyscallConn() (syscall.RawConn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn == nil {
		return nil, fault.Failed("options", f.addr, syscall.ENOTCONN)
	}
	return f.conn.SyscallConn()
}

// Push sends a session: the descriptor, which stays the caller's, its description h, and 1 to
// MaxData bytes that were read from it. It does not wait. EINVAL for a session that cannot
// be sent, and EBADF for a descriptor that is not open, leave the Forwarder connected. Push closes
// the connection, and returns EAGAIN if the receiver has no room (transport.ErrPoisoned as well if
// part of the session has been sent), and EPIPE or ECONNRESET if the receiver is gone: sessions
// pushed before still arrive. From then on until Connect has succeeded, Push returns ENOTCONN,
// which wraps the error that closed the connection.
func (f *Forwarder) Push(fd int, h Header, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fault.Failed("push session", f.addr, f.push(fd, &h, data))
}

func (f *Forwarder) push(fd int, h *Header, data []byte) error {
	if f.conn == nil {
		if f.last != nil {
			return fmt.Errorf("%w, since: %w", syscall.ENOTCONN, f.last)
		}
		return syscall.ENOTCONN
	}
	if fd < 0 {
		return fmt.Errorf("descriptor %d: %w", fd, syscall.EBADF)
	}
	var err error
	if f.head, err = appendSession(f.head[:0], h, len(data)); err != nil {
		return err
	}
	f.one[0] = fd
	n, err := inside.Of(f.conn).TryParts(f.head, data, f.one[:])
	switch whole := len(f.head) + len(data); {
	case n == whole:
		f.pushed++
		return nil
	case n > 0:
		err = fmt.Errorf("%w: the receiver took %d of %d bytes: %w", transport.ErrPoisoned, n, whole, cmp.Or(err, error(syscall.EAGAIN)))
	case !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET):
		return err
	}
	f.last = err
	if f.conn = nil; f.asked {
		_ = inside.Of(f.answers).CloseWrite()
	} else {
		_ = f.answers.Close()
		f.answers = nil
	}
	return err
}

// Untaken waits until the receiver has taken all but the last most sessions that were pushed over
// the connection, and returns how many it has not taken. It needs a Receiver with
// ReceiverOptions.Acknowledge: any other one seems to take none. Sessions are taken in the order in
// which they were pushed.
//
// With transport.NoWait it tells what is so now, and so bounds what a receiver that stands still
// can hold: push only if the error is nil. If more than most are untaken, the error is then
// os.ErrDeadlineExceeded, and else ctx's. io.EOF or ECONNRESET says that the receiver is gone:
// nobody has seen the n sessions, or will, and they can be given to another one. Keep their
// descriptors until then. To give away what a process that stands still has not taken, end the
// process, and wait for this error, with a most below 0. Once Untaken has been called, it can be
// called after a Push has closed the connection as well, until Connect or Close. ENOTCONN without a
// connection.
func (f *Forwarder) Untaken(ctx context.Context, most int) (n int, err error) {
	const op = "await receiver"
	f.mu.Lock()
	c, asking := f.answers, f.asking
	f.asked = true
	f.mu.Unlock()
	if c == nil {
		return 0, fault.Failed(op, f.addr, syscall.ENOTCONN)
	}
	for again := true; again && err == nil; {
		var changed <-chan struct{}
		n, changed = f.note(c, nil)
		select {
		case asking <- struct{}{}:
		default: // another call reads all that comes
			switch {
			case n <= most:
				return n, nil
			case transport.IsNoWait(ctx):
				return n, fault.Failed(op, f.addr, os.ErrDeadlineExceeded)
			}
			select {
			case asking <- struct{}{}:
			case <-changed:
				continue
			case <-ctx.Done():
				return n, fault.Failed(op, f.addr, ctx.Err())
			}
		}
		n, again, err = f.ask(ctx, c, most)
		<-asking
	}
	if err == io.EOF {
		return n, err
	}
	return n, fault.Failed(op, f.addr, fault.Cause(err))
}

// ask reads what answers are there, and waits for more if that leaves more than most untaken;
// again: something has come.
func (f *Forwarder) ask(ctx context.Context, c *handoff.Conn, most int) (n int, again bool, err error) {
	p := make([]byte, answersAtOnce)
	for wait := transport.NoWait(); ; wait = ctx {
		k, err := c.Receive(wait, p, nil, 0)
		switch n, _ = f.note(c, p[:k]); {
		case err == nil:
			return n, true, nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return n, false, err
		case n <= most: // nothing more is there now
			return n, false, nil
		case transport.IsNoWait(ctx):
			return n, false, os.ErrDeadlineExceeded
		}
	}
}

// answersAtOnce is how many answers are read at once.
const answersAtOnce = 256

// note counts what answers say, each byte a number of sessions. It returns how many are untaken,
// and what is closed when that changes.
func (f *Forwarder) note(c *handoff.Conn, answers []byte) (untaken int, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.answers != c {
		return 0, nil
	}
	for _, k := range answers {
		f.taken = min(f.taken+uint64(k), f.pushed)
	}
	if len(answers) > 0 {
		close(f.changed)
		f.changed = make(chan struct{})
	}
	return int(f.pushed - f.taken), f.changed
}

// PushConn is Push of a connected socket that belongs to package net: it makes the Header with
// Describe, and keeps the socket open meanwhile. The socket stays the caller's, who should close it
// next; this does not affect the receiver's descriptor.
func (f *Forwarder) PushConn(conn syscall.Conn, data []byte) error {
	return handoff.Lend(func(fds []int) error {
		h, err := Describe(fds[0], nil)
		if err != nil {
			return err
		}
		return f.Push(fds[0], h, data)
	}, conn)
}

// sessionConn makes a Conn of a stream for sessions, with buffers of the same size as BIND 10's.
func sessionConn(conn *net.UnixConn, sends bool) (*handoff.Conn, error) {
	c, in, err := inside.Borrow(conn)
	if err != nil {
		return nil, err
	}
	if c.Packets() {
		return nil, fmt.Errorf("the socket is not a stream: %w", syscall.EINVAL)
	}
	if err := sessionBuffer(in, sends); err != nil {
		return nil, err
	}
	in.Own()
	return c, nil
}

// ReceiverOptions say how a Receiver receives. The zero value is the default.
type ReceiverOptions struct {
	// Timeout is how long the rest of a session may take once its beginning is there; 0 is
	// 10 s. If no call has received for that long, and something has come
	// meanwhile, the time begins anew.
	Timeout time.Duration
	// Peer decides in NewReceiver whether the forwarder may forward: an error refuses it. nil is
	// SameUser.
	Peer func(handoff.Cred) error
	// Acknowledge tells the Forwarder of each session that Receive returns, just before: see
	// Forwarder.Untaken. A forwarder of BIND 10 does not read this.
	Acknowledge bool
}

// A Receiver receives socket sessions of a Forwarder, or of a SocketSessionForwarder of BIND 10. It
// reads ahead, so nothing else may read from the connection. One call of Receive at a time; others
// wait.
type Receiver struct {
	conn    *handoff.Conn
	peer    transport.Addr
	options ReceiverOptions
	turn    patience.Turns
	in      stream.Stream
	rest    stream.Patience
	broken  error
	owed    int // sessions of which the Forwarder has not been told
	answer  [1]byte
}

// NewReceiver makes a Receiver of a UNIX stream that has been accepted, which the Receiver owns on
// success. ErrForbidden if Peer refuses the forwarder's credentials, errors.ErrUnsupported on
// systems that do not tell credentials. Nil options are the default.
func NewReceiver(conn *net.UnixConn, options *ReceiverOptions) (*Receiver, error) {
	r := &Receiver{}
	if options != nil {
		r.options = *options
	}
	if r.options.Timeout < 0 {
		return nil, fault.Failed("receive sessions", nil, fmt.Errorf("timeout %v: %w", r.options.Timeout, syscall.EINVAL))
	}
	if r.options.Timeout == 0 {
		r.options.Timeout = defaultTimeout
	}
	if err := checkPeer(conn, r.options.Peer); err != nil {
		return nil, fault.Failed("receive sessions", nil, err)
	}
	c, err := sessionConn(conn, false)
	if err != nil {
		return nil, fault.Failed("receive sessions", nil, err)
	}
	in := inside.Of(c)
	r.conn, r.peer, r.rest = c, in.Peer(), stream.Patience{What: "session", Limit: r.options.Timeout}
	// 2: the next session may begin in the same read
	r.in.Room, r.in.Most = 1, 2
	r.in.Begin(c)
	return r, nil
}

// Close closes the connection, and descriptors that were received and not returned. A Receive that
// waits returns net.ErrClosed.
func (r *Receiver) Close() error {
	err := r.conn.Close() // ends a wait that holds the turn
	_ = r.turn.Take(context.Background())
	defer r.turn.Pass()
	if r.broken == nil {
		r.broken = net.ErrClosed
	}
	return errors.Join(err, r.in.Close())
}

// Receive waits for the next session and puts it into s; the descriptor that s held before is
// closed. io.EOF is the end of the connection between two sessions. If ctx ends, nothing is lost:
// the next call continues. Every other error is final: the descriptors that came with the session
// are closed, and all later calls return the same error; close the Receiver then. These are
// io.ErrUnexpectedEOF for an end within a session, ErrLate for a session whose rest did not come
// within the Timeout, ErrMalformed for one that is oversized or contradicts itself, that comes
// without a descriptor, or whose descriptor is not what the session says; ErrDescriptorsLost for
// more than one descriptor.
func (r *Receiver) Receive(ctx context.Context, s *Session) error {
	const op = "receive session"
	if err := r.turn.Take(ctx); err != nil {
		return fault.Failed(op, r.peer, err)
	}
	defer r.turn.Pass()
	if err := s.Close(); err != nil {
		return fault.Failed(op, r.peer, err)
	}
	if r.broken == io.EOF {
		return io.EOF
	}
	if r.broken != nil {
		return fault.Failed(op, r.peer, r.broken)
	}
	err := r.receive(ctx, s)
	if err == nil && r.options.Acknowledge {
		r.acknowledge()
	}
	if err == nil || stream.GaveUp(ctx, err) {
		return fault.Failed(op, r.peer, err)
	}
	r.broken = errors.Join(err, s.Close(), r.in.Close())
	if err == io.EOF {
		r.broken = io.EOF
		return io.EOF
	}
	return fault.Failed(op, r.peer, r.broken)
}

func (r *Receiver) receive(ctx context.Context, s *Session) error {
	in := &r.in
	if err := in.Fill(ctx, 1); err != nil {
		if r.options.Acknowledge && errors.Is(err, syscall.ECONNRESET) { // an answer was not read
			return io.EOF
		}
		return err
	}
	first := in.Position()
	if in.With(first) == 0 {
		return fault.Malformed("a session begins without a descriptor")
	}
	if err := r.rest.Fill(ctx, in, sessionLead); err != nil {
		return err
	}
	length := int(in.Data()[1])<<8 | int(in.Data()[2])
	if length > maxHeader {
		return fault.Malformed("a session's header of %d bytes, more than %d", length, maxHeader)
	}
	if err := r.rest.Fill(ctx, in, sessionLead+length); err != nil {
		return err
	}
	h, size, err := parseHeader(in.Data()[sessionLead : sessionLead+length])
	if err != nil {
		return err
	}
	whole := sessionLead + length + size
	if err := r.rest.Fill(ctx, in, whole); err != nil {
		return err
	}
	r.rest.Over()
	// more than one within this session; one that came in the same read may belong to the next
	if in.Passed(first+int64(whole)) > 1 {
		return fault.Malformed("a session with more than one descriptor")
	}
	s.Header = h
	s.Data = append(s.Data[:0], in.Data()[sessionLead+length:whole]...)
	fd, ok := in.Take(first)
	if ok {
		err = r.check(fd, &h)
	}
	if err = errors.Join(err, in.Use(whole)); err != nil && ok {
		return errors.Join(err, system.Discard(fd))
	}
	if ok {
		_, _ = s.Socket.Add(fd) // the only one
	}
	return err
}

// acknowledge tells the Forwarder of sessions. What there is no room for is said with the next one;
// a Forwarder that is gone does not care.
func (r *Receiver) acknowledge() {
	for r.owed++; r.owed > 0; {
		k := min(r.owed, 255)
		r.answer[0] = byte(k)
		if n, _ := r.conn.TrySend(r.answer[:]); n == 0 {
			return
		}
		r.owed -= k
	}
}

// check compares a descriptor with the session's description.
func (r *Receiver) check(fd int, h *Header) error {
	domain, kind, listening, err := system.SocketType(fd)
	if err != nil {
		return fault.Malformed("the descriptor of a session is no socket: %v", err)
	}
	if domain != h.Family || kind != h.Type {
		return fault.Malformed("a session of family %d, type %d with a socket of family %d, type %d", h.Family, h.Type, domain, kind)
	}
	if listening {
		return fault.Malformed("a session with a socket that listens")
	}
	return nil
}

// checkPeer asks allow, or SameUser if allow is nil, whether the process at the other end is
// acceptable.
func checkPeer(conn syscall.Conn, allow func(handoff.Cred) error) error {
	if allow == nil {
		allow = handoff.SameUser
	}
	cred, err := handoff.PeerCred(conn)
	if err != nil {
		return err
	}
	if err = allow(cred); err != nil && !errors.Is(err, handoff.ErrForbidden) {
		err = fmt.Errorf("%w: %w", handoff.ErrForbidden, err)
	}
	return err
}
