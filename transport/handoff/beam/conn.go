package beam

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

	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"github.com/cnode-go/cnode/transport/handoff/internal/inside"
	"github.com/cnode-go/cnode/transport/handoff/internal/sock"
	"github.com/cnode-go/cnode/transport/handoff/internal/stream"
	"github.com/cnode-go/cnode/transport/handoff/internal/system"
	"github.com/cnode-go/cnode/transport/internal/patience"
)

const (
	// defaultMaxMessage is the longest payload, in bytes, unless options say otherwise.
	defaultMaxMessage = 16 << 20
	// defaultTimeout is how long a Conn waits for the rest of a framed message.
	defaultTimeout = 10 * time.Second

	// longestUnframed is what the first beam reads at once.
	longestUnframed = 4096

	frameHeader   = 4
	frameAttached = 1 << 31      // in the header: the message has an attachment
	longestFrame  = 1<<31 - 1    // in the header: the payload's length
	payloadStep   = 64 << 10     // a payload's first allocation; more follows as its bytes arrive
	attachment    = "attachment" // the name of a received file
	none          = -1           // no descriptor
)

// Options say what a Conn carries. The zero value is the default.
type Options struct {
	// MaxMessage is the longest payload in bytes, to send and to receive, up to 1<<31 - 1; 0 is
	// 16 MiB. Give both ends the same.
	MaxMessage int
	// Timeout is how long the rest of a framed message may take once its beginning is there; 0 is
	// 10 s. If no call has received for that long, and something has come
	// meanwhile, the time begins anew.
	Timeout time.Duration
	// Unframed is for a stream whose other end is the first beam, Docker's, or a
	// Conn that is unframed, too: a pair that is passed to such a program, say. A message is then the
	// bytes that its attachment came with, at most 4096, and has no boundary without one: Send wants
	// an attachment, and makes an empty payload a zero byte, as that beam does. Over packets it
	// changes nothing.
	Unframed bool
}

// A Conn carries messages, each of a payload and at most one attachment, which is a
// descriptor. The payload may be empty, and the attachment may be missing. This is Docker's beam,
// and libchan's transport over UNIX sockets.
//
// Over a socket of packets a message is a packet. Over a stream it is framed: a header of 4 bytes,
// big-endian, whose first bit says that there is an attachment, and whose others are the payload's
// length; then the payload. The attachment comes with the first byte. Options.Unframed is for peers
// that do without the header.
//
// Methods may be called concurrently; each message stays whole.
type Conn struct {
	conn   *handoff.Conn
	inside inside.Conn
	max    int
	bare   bool // messages on a stream have no header

	sending patience.Turns
	head    [frameHeader]byte
	one     [1]int

	receiving patience.Turns
	set       handoff.FDSet // descriptors of a packet; the attachment of a frame
	in        stream.Stream // for framed messages
	partial   frame
	whole     []byte // where a message without a header is read
	rest      stream.Patience
	broken    error
}

// A frame is a message on a stream, as far as it has been received.
type frame struct {
	announced bool // the header has been read
	length    int
	data      []byte
}

// NewConn makes a Conn of a connected UNIX socket, which the Conn owns on
// success; else conn stays the caller's. Nil options are the default; a limit that is negative, or
// a MaxMessage beyond 1<<31 - 1, is EINVAL. net.ErrClosed if conn is closed.
func NewConn(conn *net.UnixConn, options *Options) (*Conn, error) {
	m, err := newConn(conn, options)
	if err != nil {
		return nil, fault.Failed("message connection", nil, err)
	}
	if err := m.inside.TellEmpty(); err != nil {
		return nil, fault.Failed("message connection", nil, err)
	}
	m.inside.Own()
	return m, nil
}

// Pair makes two Conns that are connected to each other, over a stream. Nil options
// are the default, and limits are as for NewConn.
func Pair(options *Options) (one, other *Conn, err error) {
	a, b, err := SocketPair()
	if err != nil {
		return nil, nil, err
	}
	return inside.Pair(a, b, func(c *net.UnixConn) (*Conn, error) { return NewConn(c, options) })
}

func newConn(conn *net.UnixConn, options *Options) (*Conn, error) {
	m := &Conn{max: defaultMaxMessage, rest: stream.Patience{What: "message", Limit: defaultTimeout}}
	if options != nil {
		if options.MaxMessage < 0 || options.MaxMessage > longestFrame || options.Timeout < 0 {
			return nil, fmt.Errorf("limit of %d bytes, %v: %w", options.MaxMessage, options.Timeout, syscall.EINVAL)
		}
		if options.MaxMessage > 0 {
			m.max = options.MaxMessage
		}
		if options.Timeout > 0 {
			m.rest.Limit = options.Timeout
		}
	}
	c, in, err := inside.Borrow(conn)
	if err != nil {
		return nil, err
	}
	if m.bare = options != nil && options.Unframed && !c.Packets(); m.bare {
		if options.MaxMessage > longestUnframed {
			return nil, fmt.Errorf("limit of %d bytes without frames: %w", options.MaxMessage, syscall.EINVAL)
		}
		m.max = min(m.max, longestUnframed)
	}
	in.Distrust(&m.set)
	m.conn, m.inside = c, in
	m.in.Room, m.in.First = handoff.MaxDescriptors, true
	m.in.Begin(c)
	return m, nil
}

// Send sends a message: a payload, which may be empty, and an attachment, which may be nil and
// stays the caller's. It waits while the peer has no room. EMSGSIZE for a payload that is longer
// than MaxMessage, which Receive would refuse, or than a packet can be: then nothing has been
// sent. EINVAL for a message without an attachment where Options.Unframed is on. Other errors are
// those of [handoff.Conn.Send].
func (m *Conn) Send(ctx context.Context, data []byte, f syscall.Conn) error {
	if file, ok := f.(*os.File); f == nil || ok && file == nil {
		return m.SendFD(ctx, data, none)
	}
	return handoff.Lend(func(fds []int) error { return m.SendFD(ctx, data, fds[0]) }, f)
}

// SendFD is Send with a descriptor as the attachment, which stays the caller's; a negative fd means
// none. It waits as Send does, and has its errors: EBADF for a descriptor that is not open.
func (m *Conn) SendFD(ctx context.Context, data []byte, fd int) error {
	return fault.Failed("send message", m.inside.Peer(), m.send(ctx, data, fd))
}

func (m *Conn) send(ctx context.Context, data []byte, fd int) error {
	if len(data) > m.max {
		return fmt.Errorf("a payload of %d bytes, more than %d (Options.MaxMessage, of both ends): %w",
			len(data), m.max, syscall.EMSGSIZE)
	}
	if err := m.sending.Take(ctx); err != nil {
		return err
	}
	defer m.sending.Pass()
	var fds []int
	if m.one[0] = fd; fd >= 0 {
		fds = m.one[:]
	}
	if m.conn.Packets() {
		err := fault.Cause(m.conn.Send(ctx, data, fds...))
		if errors.Is(err, syscall.EMSGSIZE) {
			err = fmt.Errorf("a payload of %d bytes is more than a packet of this socket can hold; a stream has no limit (SocketPair): %w",
				len(data), err)
		}
		return err
	}
	if m.bare {
		if fd < 0 {
			return fmt.Errorf("an unframed message without an attachment: %w", syscall.EINVAL)
		}
		if len(data) == 0 {
			data = []byte{0}
		}
		return fault.Cause(m.conn.Send(ctx, data, fds...))
	}
	word := uint32(len(data))
	if fd >= 0 {
		word |= frameAttached
	}
	binary.BigEndian.PutUint32(m.head[:], word)
	return fault.Cause(m.inside.SendParts(ctx, nil, m.head[:], data, fds))
}

// SendPipe makes a SocketPair, sends one end as the attachment to data, and returns the other: a
// new connection to the peer, for messages or any other use. The end that is sent is in blocking
// mode, as another process expects it. SendPipe waits as Send does, not for the peer to receive.
// The errors are those of Send and of SocketPair; after an error both ends are closed.
func (m *Conn) SendPipe(ctx context.Context, data []byte) (*net.UnixConn, error) {
	local, remote, err := SocketPair()
	if err != nil {
		return nil, err
	}
	defer remote.Close()
	if err := m.Send(ctx, data, remote); err != nil {
		return nil, errors.Join(err, local.Close())
	}
	conn, err := handoff.FileConn(local)
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
func (m *Conn) Receive(ctx context.Context) (data []byte, f *os.File, err error) {
	data, fd, err := m.ReceiveFD(ctx)
	if err != nil || fd < 0 {
		return data, nil, err
	}
	f, err = system.File(fd, attachment)
	return data, f, err
}

// ReceiveFD is Receive that returns the attachment as a descriptor, which is the caller's; -1 is
// none, also with an error. It waits as Receive does, and has its errors.
func (m *Conn) ReceiveFD(ctx context.Context) (data []byte, fd int, err error) {
	if err := m.receiving.Take(ctx); err != nil {
		return nil, none, fault.Failed("receive message", m.inside.Peer(), err)
	}
	defer m.receiving.Pass()
	switch {
	case m.conn.Packets():
		data, fd, err = m.receivePacket(ctx)
	case m.bare:
		data, fd, err = m.receiveBare(ctx)
	default:
		data, fd, err = m.receiveFrame(ctx)
	}
	if err == io.EOF {
		return nil, none, err
	}
	return data, fd, fault.Failed("receive message", m.inside.Peer(), err)
}

func (m *Conn) receivePacket(ctx context.Context) ([]byte, int, error) {
	data, _, _, err := m.conn.ReceivePacket(ctx, nil, m.max, &m.set, handoff.MaxDescriptors)
	return m.came(data, err)
}

// receiveBare receives what was sent at once, since a read on a stream ends with the bytes that
// descriptors came with.
func (m *Conn) receiveBare(ctx context.Context) ([]byte, int, error) {
	if m.broken != nil {
		return nil, none, m.broken
	}
	if m.whole == nil {
		m.whole = make([]byte, m.max+1)
	}
	n, err := m.conn.Receive(ctx, m.whole, &m.set, handoff.MaxDescriptors)
	if n > m.max { // the next read would begin with its rest
		m.broken = errors.Join(fmt.Errorf("a payload of more than %d bytes: %w", m.max, syscall.EMSGSIZE), m.set.Close())
		return nil, none, m.broken
	}
	data := append([]byte(nil), m.whole[:n]...)
	return m.came(data, err)
}

// came returns what has come as one message.
func (m *Conn) came(data []byte, err error) ([]byte, int, error) {
	if errors.Is(err, handoff.ErrDescriptorsLost) {
		return data, none, fault.Cause(err)
	}
	fd := none
	if err == nil {
		fd, err = m.attached()
	}
	if err != nil {
		return nil, none, fault.Cause(err)
	}
	return data, fd, nil
}

// attached takes a message's attachment out of the set, and closes the others there.
func (m *Conn) attached() (fd int, err error) {
	if m.set.Len() == 0 {
		return none, nil
	}
	if fd, err = m.set.Steal(0); err != nil {
		return none, err
	}
	if err := m.set.Close(); err != nil {
		return none, errors.Join(err, system.Discard(fd))
	}
	return fd, nil
}

func (m *Conn) receiveFrame(ctx context.Context) ([]byte, int, error) {
	if m.broken != nil {
		return nil, none, m.broken
	}
	data, fd, err := m.frame(ctx)
	if err == nil || stream.GaveUp(ctx, err) {
		return data, fd, err
	}
	m.broken = err
	m.partial.data = nil
	if err := errors.Join(m.set.Close(), m.in.Close()); err != nil {
		m.broken = errors.Join(m.broken, err)
	}
	return nil, none, m.broken
}

// frame continues with the message that has begun, or begins a new one.
func (m *Conn) frame(ctx context.Context) ([]byte, int, error) {
	p := &m.partial
	if !p.announced {
		if err := m.in.Fill(ctx, 1); err != nil {
			return nil, none, err
		}
		if err := m.rest.Fill(ctx, &m.in, frameHeader); err != nil {
			return nil, none, err
		}
		word := binary.BigEndian.Uint32(m.in.Data())
		p.announced, p.length = true, int(word&^frameAttached)
		if p.length > m.max {
			return nil, none, fmt.Errorf("a payload of %d bytes, more than %d: %w", p.length, m.max, syscall.EMSGSIZE)
		}
		if word&frameAttached != 0 {
			fd, ok := m.in.Take(m.in.Position())
			if !ok {
				return nil, none, fault.Malformed("a message with an attachment that did not come")
			}
			_, _ = m.set.Add(fd) // the only one
		}
		if err := m.in.Use(frameHeader); err != nil {
			return nil, none, err
		}
	}
	for len(p.data) < p.length {
		if len(p.data) == cap(p.data) {
			p.data = append(make([]byte, 0, min(p.length, max(payloadStep, 2*len(p.data)))), p.data...)
		}
		read := m.more
		if len(m.in.Data()) == 0 {
			read = func(ctx context.Context) error { return m.rest.Wait(ctx, m.more) }
		}
		if err := read(ctx); err != nil {
			return nil, none, err
		}
	}
	data := p.data
	*p = frame{}
	m.rest.Over()
	return m.came(data, nil)
}

// more reads some of the payload.
func (m *Conn) more(ctx context.Context) error {
	p := &m.partial
	n, err := m.in.Read(ctx, p.data[len(p.data):min(cap(p.data), p.length)])
	p.data = p.data[:len(p.data)+n]
	return err
}

// CloseWrite ends the sending direction: the peer receives the messages that were sent, then
// io.EOF.
func (m *Conn) CloseWrite() error { return m.inside.CloseWrite() }

// SyscallConn gives access to the socket, which stays the connection's.
func (m *Conn) SyscallConn() (syscall.RawConn, error) { return m.conn.SyscallConn() }

// Close closes the socket, and the attachment of a message that has not come whole. Calls that wait
// return net.ErrClosed.
func (m *Conn) Close() error {
	err := m.conn.Close()
	_ = m.receiving.Take(context.Background())
	defer m.receiving.Pass()
	return errors.Join(err, m.forget())
}

// forget closes descriptors that came and were not returned.
func (m *Conn) forget() error {
	if m.broken == nil {
		m.broken = net.ErrClosed
	}
	return errors.Join(m.set.Close(), m.in.Close())
}

// Send sends one message on a UNIX socket, see [handoff.Conn.Send]. It is for occasional messages:
// for many, a Conn is cheaper.
func Send(ctx context.Context, conn *net.UnixConn, data []byte, f syscall.Conn) error {
	m, err := newConn(conn, nil)
	if err != nil {
		return err
	}
	return m.Send(ctx, data, f)
}

// Receive receives one message from a UNIX socket, and reads nothing beyond it, see
// [Conn.Receive]. Over a stream, close the socket after any error, also that of the context:
// part of a message may have been read. On sequenced packets it leaves SO_PASSCRED on, as
// ReceiveCredentials does.
func Receive(ctx context.Context, conn *net.UnixConn) ([]byte, *os.File, error) {
	m, err := newConn(conn, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := m.inside.TellEmpty(); err != nil {
		return nil, nil, fault.Failed("receive message", nil, err)
	}
	m.in.Exact = true
	data, f, err := m.Receive(ctx)
	if e := m.forget(); e != nil && err == nil {
		if f != nil {
			e = errors.Join(e, f.Close())
		}
		return nil, nil, e
	}
	return data, f, err
}

// SendPipe is [Conn.SendPipe] on a UNIX socket. It waits likewise, and has the same errors.
func SendPipe(ctx context.Context, conn *net.UnixConn, data []byte) (*net.UnixConn, error) {
	m, err := newConn(conn, nil)
	if err != nil {
		return nil, err
	}
	return m.SendPipe(ctx, data)
}

// SocketPair makes two connected UNIX sockets without names (socketpair(2)), of type SOCK_STREAM,
// close-on-exec. Both are the caller's. A Conn of one carries messages of any length.
//
// Both ends are in blocking mode, which each has for itself, so that one can go to a process that
// expects it so. A Read or Write of such a file has no deadline, and Close does not end it: for an
// end that stays in this process, FileConn makes a connection. errors.ErrUnsupported on windows.
func SocketPair() (one, other *os.File, err error) { return sock.Pair(syscall.SOCK_STREAM) }
