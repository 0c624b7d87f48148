package handoff

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/await"
)

const (
	// DefaultMaxMessage is the longest payload, in bytes, unless options say otherwise.
	DefaultMaxMessage = 16 << 20
	// DefaultMessageTimeout is how long a MessageConn waits for the rest of a framed message.
	DefaultMessageTimeout = 10 * time.Second

	frameHeader   = 4
	frameAttached = 1 << 31      // in the header: the message has an attachment
	longestFrame  = 1<<31 - 1    // in the header: the payload's length
	payloadStep   = 64 << 10     // a payload's first allocation; more follows as its bytes arrive
	attachment    = "attachment" // the name of a received file
)

// MessageOptions say what a MessageConn carries. The zero value is the default.
type MessageOptions struct {
	// MaxMessage is the longest payload in bytes, to send and to receive, up to 1<<31 - 1; 0 is
	// DefaultMaxMessage. Give both ends the same.
	MaxMessage int
	// Timeout is how long the rest of a framed message may take once its beginning is there; 0 is
	// DefaultMessageTimeout. If no call has received for that long, and something has come
	// meanwhile, the time begins anew.
	Timeout time.Duration
}

// A MessageConn carries messages, each of a payload and at most one attachment, which is a
// descriptor. The payload may be empty, and the attachment may be missing. This is Docker's beam,
// and libchan's transport over UNIX sockets.
//
// Over a socket of packets a message is a packet. Over a stream it is framed: a header of 4 bytes,
// big-endian, whose first bit says that there is an attachment, and whose others are the payload's
// length; then the payload. The attachment comes with the first byte.
//
// Methods may be called concurrently; each message stays whole.
type MessageConn struct {
	conn *Conn
	max  int

	sending await.Turns
	head    [frameHeader]byte
	one     [1]int

	receiving await.Turns
	set       FDSet      // descriptors of a packet; the attachment of a frame
	in        byteStream // for framed messages
	partial   frame
	rest      patience
	broken    error
}

// A frame is a message on a stream, as far as it has been received.
type frame struct {
	announced bool // the header has been read
	length    int
	data      []byte
}

// NewMessageConn makes a MessageConn of a connected UNIX socket, which the MessageConn owns on
// success; else conn stays the caller's. Nil options are the default; a limit that is negative, or
// a MaxMessage beyond 1<<31 - 1, is EINVAL. net.ErrClosed if conn is closed.
func NewMessageConn(conn *net.UnixConn, options *MessageOptions) (*MessageConn, error) {
	m, err := newMessageConn(conn, options)
	if err != nil {
		return nil, failed("message connection", nil, err)
	}
	if err := m.conn.tellEmpty(); err != nil {
		return nil, failed("message connection", nil, err)
	}
	m.conn.own()
	return m, nil
}

// MessagePair makes two MessageConns that are connected to each other, over a stream. Nil options
// are the default, and limits are as for NewMessageConn.
func MessagePair(options *MessageOptions) (one, other *MessageConn, err error) {
	a, b, err := SocketPair()
	if err != nil {
		return nil, nil, err
	}
	return pairOver(a, b, func(c *net.UnixConn) (*MessageConn, error) { return NewMessageConn(c, options) })
}

// pairOver makes a carrier of each of two sockets, which it owns.
func pairOver[C any](a, b *os.File, carrier func(*net.UnixConn) (C, error)) (one, other C, err error) {
	defer a.Close()
	defer b.Close()
	first, err := FileConn(a)
	if err != nil {
		return one, other, err
	}
	second, err := FileConn(b)
	if err == nil {
		if one, err = carrier(first); err == nil {
			if other, err = carrier(second); err == nil {
				return one, other, nil
			}
		}
		err = errors.Join(err, second.Close())
	}
	var none C
	return none, none, errors.Join(err, first.Close())
}

func newMessageConn(conn *net.UnixConn, options *MessageOptions) (*MessageConn, error) {
	m := &MessageConn{max: DefaultMaxMessage, rest: patience{what: "message", limit: DefaultMessageTimeout}}
	m.set.wary = true
	if options != nil {
		if options.MaxMessage < 0 || options.MaxMessage > longestFrame || options.Timeout < 0 {
			return nil, fmt.Errorf("limit of %d bytes, %v: %w", options.MaxMessage, options.Timeout, syscall.EINVAL)
		}
		if options.MaxMessage > 0 {
			m.max = options.MaxMessage
		}
		if options.Timeout > 0 {
			m.rest.limit = options.Timeout
		}
	}
	c, err := borrow(conn)
	if err != nil {
		return nil, err
	}
	c.outward.held, c.inward.held = append(c.outward.held, &m.sending), append(c.inward.held, &m.receiving)
	m.conn, m.in = c, byteStream{conn: c, room: MaxDescriptors, first: true, came: FDSet{wary: true}}
	return m, nil
}

// Send sends a message: a payload, which may be empty, and an attachment, which may be nil and
// stays the caller's. It waits while the peer has no room. EMSGSIZE for a payload that is longer
// than MaxMessage, which Receive would refuse, or than a packet can be: then nothing has been sent.
// Other errors are those of [Conn.Send].
func (m *MessageConn) Send(ctx context.Context, data []byte, f syscall.Conn) error {
	if file, ok := f.(*os.File); f == nil || ok && file == nil {
		return m.SendFD(ctx, data, stolen)
	}
	return Lend(func(fds []int) error { return m.SendFD(ctx, data, fds[0]) }, f)
}

// SendFD is Send with a descriptor as the attachment, which stays the caller's; a negative fd means
// none. It waits as Send does, and has its errors: EBADF for a descriptor that is not open.
func (m *MessageConn) SendFD(ctx context.Context, data []byte, fd int) error {
	return failed("send message", m.conn.peer, m.send(ctx, data, fd))
}

func (m *MessageConn) send(ctx context.Context, data []byte, fd int) error {
	if len(data) > m.max {
		return fmt.Errorf("a payload of %d bytes, more than %d (MessageOptions.MaxMessage, of both ends): %w",
			len(data), m.max, syscall.EMSGSIZE)
	}
	if err := m.sending.Join(ctx); err != nil {
		return err
	}
	defer m.sending.Pass()
	var fds []int
	if m.one[0] = fd; fd >= 0 {
		fds = m.one[:]
	}
	if m.conn.Packets() {
		err := unwrapOp(m.conn.send(ctx, nil, nil, data, fds))
		if errors.Is(err, syscall.EMSGSIZE) {
			err = fmt.Errorf("a payload of %d bytes is more than a packet of this socket can hold; a stream has no limit (SocketPair): %w",
				len(data), err)
		}
		return err
	}
	word := uint32(len(data))
	if fd >= 0 {
		word |= frameAttached
	}
	binary.BigEndian.PutUint32(m.head[:], word)
	return unwrapOp(m.conn.send(ctx, nil, m.head[:], data, fds))
}

// SendPipe makes a SocketPair, sends one end as the attachment to data, and returns the other: a
// new connection to the peer, for messages or any other use. The end that is sent is in blocking
// mode, as another process expects it. SendPipe waits as Send does, not for the peer to receive.
// The errors are those of Send and of SocketPair; after an error both ends are closed.
func (m *MessageConn) SendPipe(ctx context.Context, data []byte) (*net.UnixConn, error) {
	local, remote, err := SocketPair()
	if err != nil {
		return nil, err
	}
	defer remote.Close()
	if err := m.Send(ctx, data, remote); err != nil {
		return nil, errors.Join(err, local.Close())
	}
	conn, err := FileConn(local)
	if err != nil {
		return nil, errors.Join(err, local.Close())
	}
	return conn, nil
}

// Receive waits for the next message and returns its payload and its attachment, nil if it has
// none. If several descriptors came, all but the first are closed. io.EOF is the end between two
// messages, ECONNRESET the end if the peer has closed without reading everything. If ctx ends,
// nothing is lost. Over packets, ErrTruncated is for a packet beyond the limit, which is gone, and
// ErrDescriptorsLost comes with the payload; after either the next message can be received. Over a
// stream every error is final: EMSGSIZE for a message beyond the limit, ErrMalformed for an
// attachment that was announced and did not come, io.ErrUnexpectedEOF, ErrLate for a rest that did
// not come in time.
//
// On systems other than Linux a packet with neither payload nor attachment looks like the end.
func (m *MessageConn) Receive(ctx context.Context) (data []byte, f *os.File, err error) {
	data, fd, err := m.ReceiveFD(ctx)
	if err != nil || fd < 0 {
		return data, nil, err
	}
	f, err = strangersFile(fd, attachment)
	return data, f, err
}

// ReceiveConn is Receive for an attachment that is a connected socket, of any kind that package net
// knows; nil if the message has none. It waits as Receive does, and has its errors; what is no such
// socket is closed, and is an error that comes with the payload.
func (m *MessageConn) ReceiveConn(ctx context.Context) (data []byte, conn net.Conn, err error) {
	data, f, err := m.Receive(ctx)
	if err != nil || f == nil {
		return data, nil, err
	}
	conn, err = net.FileConn(f)
	return data, conn, failed("receive connection", m.conn.peer, errors.Join(err, f.Close()))
}

// ReceiveFD is Receive that returns the attachment as a descriptor, which is the caller's; -1 is
// none, also with an error. It waits as Receive does, and has its errors.
func (m *MessageConn) ReceiveFD(ctx context.Context) (data []byte, fd int, err error) {
	if err := m.receiving.Join(ctx); err != nil {
		return nil, stolen, failed("receive message", m.conn.peer, err)
	}
	defer m.receiving.Pass()
	if m.conn.Packets() {
		data, fd, err = m.receivePacket(ctx)
	} else {
		data, fd, err = m.receiveFrame(ctx)
	}
	if err == io.EOF {
		return nil, stolen, err
	}
	return data, fd, failed("receive message", m.conn.peer, err)
}

func (m *MessageConn) receivePacket(ctx context.Context) ([]byte, int, error) {
	data, _, _, err := m.conn.ReceivePacket(ctx, nil, m.max, &m.set, MaxDescriptors)
	if errors.Is(err, ErrDescriptorsLost) {
		return data, stolen, unwrapOp(err)
	}
	if err != nil {
		return nil, stolen, unwrapOp(err)
	}
	fd, err := m.attached()
	if err != nil {
		return nil, stolen, err
	}
	return data, fd, nil
}

// attached takes a message's attachment out of the set, and closes the others there.
func (m *MessageConn) attached() (fd int, err error) {
	if m.set.Len() == 0 {
		return stolen, nil
	}
	if fd, err = m.set.Steal(0); err != nil {
		return stolen, err
	}
	if err := m.set.Close(); err != nil {
		return stolen, errors.Join(err, discard(fd))
	}
	return fd, nil
}

func (m *MessageConn) receiveFrame(ctx context.Context) ([]byte, int, error) {
	if m.broken != nil {
		return nil, stolen, m.broken
	}
	data, fd, err := m.frame(ctx)
	if err == nil || gaveUp(ctx, err) {
		return data, fd, err
	}
	m.broken = err
	m.partial.data = nil
	if err := errors.Join(m.set.Close(), m.in.close()); err != nil {
		m.broken = errors.Join(m.broken, err)
	}
	return nil, stolen, m.broken
}

// frame continues with the message that has begun, or begins a new one.
func (m *MessageConn) frame(ctx context.Context) ([]byte, int, error) {
	p := &m.partial
	if !p.announced {
		if err := m.in.fill(ctx, 1); err != nil {
			return nil, stolen, err
		}
		if err := m.rest.fill(ctx, &m.in, frameHeader); err != nil {
			return nil, stolen, err
		}
		word := binary.BigEndian.Uint32(m.in.data())
		p.announced, p.length = true, int(word&^frameAttached)
		if p.length > m.max {
			return nil, stolen, fmt.Errorf("a payload of %d bytes, more than %d: %w", p.length, m.max, syscall.EMSGSIZE)
		}
		if word&frameAttached != 0 {
			fd, ok := m.in.take(m.in.position())
			if !ok {
				return nil, stolen, malformed("a message with an attachment that did not come")
			}
			m.set.take([]int{fd})
		}
		if err := m.in.use(frameHeader); err != nil {
			return nil, stolen, err
		}
	}
	for len(p.data) < p.length {
		if len(p.data) == cap(p.data) {
			p.data = append(make([]byte, 0, min(p.length, max(payloadStep, 2*len(p.data)))), p.data...)
		}
		read := m.more
		if len(m.in.data()) == 0 {
			read = func(ctx context.Context) error { return m.rest.wait(ctx, m.more) }
		}
		if err := read(ctx); err != nil {
			return nil, stolen, err
		}
	}
	data := p.data
	*p = frame{}
	m.rest.over()
	fd, err := m.attached()
	if err != nil {
		return nil, stolen, err
	}
	return data, fd, nil
}

// more reads some of the payload.
func (m *MessageConn) more(ctx context.Context) error {
	p := &m.partial
	n, err := m.in.read(ctx, p.data[len(p.data):min(cap(p.data), p.length)])
	p.data = p.data[:len(p.data)+n]
	return err
}

// CloseWrite ends the sending direction: the peer receives the messages that were sent, then
// io.EOF.
func (m *MessageConn) CloseWrite() error { return m.conn.closeWrite() }

// SyscallConn gives access to the socket, which stays the connection's.
func (m *MessageConn) SyscallConn() (syscall.RawConn, error) { return m.conn.SyscallConn() }

// Close closes the socket, and the attachment of a message that has not come whole. Calls that wait
// return net.ErrClosed.
func (m *MessageConn) Close() error {
	err := m.conn.Close()
	_ = m.receiving.Take(context.Background())
	defer m.receiving.Pass()
	return errors.Join(err, m.forget())
}

// forget closes descriptors that came and were not returned.
func (m *MessageConn) forget() error {
	if m.broken == nil {
		m.broken = net.ErrClosed
	}
	return errors.Join(m.set.Close(), m.in.close())
}

// Send sends one message on a UNIX socket, see [MessageConn.Send]. It is for occasional messages:
// for many, a MessageConn is cheaper.
func Send(ctx context.Context, conn *net.UnixConn, data []byte, f syscall.Conn) error {
	m, err := newMessageConn(conn, nil)
	if err != nil {
		return err
	}
	return m.Send(ctx, data, f)
}

// Receive receives one message from a UNIX socket, and reads nothing beyond it, see
// [MessageConn.Receive]. Over a stream, close the socket after any error, also that of the context:
// part of a message may have been read. On sequenced packets it leaves SO_PASSCRED on, as
// ReceiveCredentials does.
func Receive(ctx context.Context, conn *net.UnixConn) ([]byte, *os.File, error) {
	m, err := newMessageConn(conn, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := m.conn.tellEmpty(); err != nil {
		return nil, nil, failed("receive message", nil, err)
	}
	m.in.exact = true
	data, f, err := m.Receive(ctx)
	if e := m.forget(); e != nil && err == nil {
		if f != nil {
			e = errors.Join(e, f.Close())
		}
		return nil, nil, e
	}
	return data, f, err
}

// SendPipe is [MessageConn.SendPipe] on a UNIX socket. It waits likewise, and has the same errors.
func SendPipe(ctx context.Context, conn *net.UnixConn, data []byte) (*net.UnixConn, error) {
	m, err := newMessageConn(conn, nil)
	if err != nil {
		return nil, err
	}
	return m.SendPipe(ctx, data)
}

// SocketPair makes two connected UNIX sockets without names (socketpair(2)), of type SOCK_STREAM,
// close-on-exec. Both are the caller's. A MessageConn of one carries messages of any length.
//
// Both ends are in blocking mode, which each has for itself, so that one can go to a process that
// expects it so. A Read or Write of such a file has no deadline, and Close does not end it: for an
// end that stays in this process, FileConn makes a connection. errors.ErrUnsupported on windows.
func SocketPair() (one, other *os.File, err error) { return pairOf(syscall.SOCK_STREAM) }

// PacketPair is SocketPair with sequenced packets (SOCK_SEQPACKET), which keep the boundaries of
// messages: a Read takes one whole packet, and loses what its buffer has no room for. A packet
// holds no more than the socket's send buffer, 208 KiB on Linux unless net.core.wmem_default says
// otherwise. errors.ErrUnsupported where there are no such sockets (darwin, windows).
func PacketPair() (one, other *os.File, err error) {
	if err := sequenced(syscall.SOCK_SEQPACKET); err != nil {
		return nil, nil, failed("socketpair", nil, err)
	}
	return pairOf(syscall.SOCK_SEQPACKET)
}

func pairOf(kind int) (one, other *os.File, err error) {
	fds, err := socketPair(kind)
	if err != nil {
		return nil, nil, failed("socketpair", nil, err)
	}
	return os.NewFile(uintptr(fds[0]), "pair"), os.NewFile(uintptr(fds[1]), "pair"), nil
}

// FileConn makes a connection of a file that is a UNIX socket, an attachment say. On success f is
// closed; else it stays the caller's. ENOTSOCK if f is no socket, EAFNOSUPPORT for a socket of
// another family.
func FileConn(f *os.File) (*net.UnixConn, error) {
	c, err := sharedConn(f)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, failed("adopt", transport.FromNetAddr(c.LocalAddr()), errors.Join(err, c.Close()))
	}
	return c, nil
}

// sharedConn is FileConn that leaves f open.
func sharedConn(f *os.File) (*net.UnixConn, error) {
	var s Socket
	if err := Lend(func(fds []int) (err error) { s, err = Inspect(fds[0]); return err }, f); err != nil {
		return nil, err
	}
	if s.Domain != syscall.AF_UNIX {
		return nil, failed("adopt", s.Local, fmt.Errorf("socket of family %d: %w", s.Domain, syscall.EAFNOSUPPORT))
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, failed("adopt", s.Local, err)
	}
	return c.(*net.UnixConn), nil
}

// unwrapOp removes the OpError that a lower level has added.
func unwrapOp(err error) error {
	if op, ok := err.(*transport.OpError); ok {
		return op.Err
	}
	return err
}
