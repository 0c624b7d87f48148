package jsoncomm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"syscall"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"github.com/cnode-go/cnode/transport/handoff/internal/inside"
	"github.com/cnode-go/cnode/transport/handoff/internal/sock"
	"github.com/cnode-go/cnode/transport/handoff/internal/system"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

const (
	// defaultMaxPayload is the longest document of a Conn, in bytes, unless options say
	// otherwise.
	defaultMaxPayload = 64 << 20

	// argsViaFD is sent in place of a document that is in the first descriptor.
	argsViaFD   = "<args-via-fd>"
	payloadName = "jsoncomm/payload"
)

// A Conn exchanges JSON documents, each with a set of descriptors, over a connection of
// sequenced packets. A document that is too long for a packet goes in a memory file (Linux), which
// is the message's first descriptor, before at most MaxDescriptors - 1 others. This is the present
// form of jsoncomm.
//
// Methods may be called concurrently. errors.ErrUnsupported where there are no UNIX sockets of
// sequenced packets (darwin, windows).
type Conn struct {
	conn *handoff.Conn
	in   inside.Conn
	max  int
}

// ConnOptions say what a Conn carries. The zero value is the default.
type ConnOptions struct {
	// MaxPayload is the longest document in bytes, to send and to receive; 0 is 64 MiB.
	// Give both ends the same.
	MaxPayload int
}

// maxPayload is the limit that options, which may be nil, ask for.
func (c *ConnOptions) maxPayload() (int, error) {
	switch {
	case c == nil || c.MaxPayload == 0:
		return defaultMaxPayload, nil
	case c.MaxPayload < 0:
		return 0, fmt.Errorf("limit of %d bytes: %w", c.MaxPayload, syscall.EINVAL)
	}
	return c.MaxPayload, nil
}

// NewConn makes a Conn of a connected UNIX socket of sequenced packets, which the Conn
// owns on success. Nil options are the default. EINVAL for a socket of another type, and for a
// limit that is negative.
func NewConn(conn *net.UnixConn, options *ConnOptions) (*Conn, error) {
	most, err := options.maxPayload()
	if err != nil {
		return nil, fault.Failed("JSON connection", nil, err)
	}
	c, in, err := inside.Borrow(conn)
	if err != nil {
		return nil, err
	}
	if err := sock.Sequenced(in.Kind()); err != nil {
		return nil, fault.Failed("JSON connection", nil, err)
	}
	return &Conn{conn: c, in: in, max: most}, nil
}

// Pair makes two Conns that are connected to each other. Nil options are the default;
// EINVAL for a limit that is negative.
func Pair(options *ConnOptions) (one, other *Conn, err error) {
	a, b, err := handoff.PacketPair()
	if err != nil {
		return nil, nil, err
	}
	return inside.Pair(a, b, func(c *net.UnixConn) (*Conn, error) { return NewConn(c, options) })
}

// Connect connects to a Listener at a path. Nil options are the default. syscall.EAGAIN if
// the listener's backlog is full, EINVAL for a limit that is negative.
func Connect(ctx context.Context, path string, options *ConnOptions) (*Conn, error) {
	addr, err := transport.FromUnixPath(path)
	if err != nil {
		return nil, fault.Failed("connect", addr, err)
	}
	c, err := sock.DialPackets(ctx, path)
	if err != nil {
		return nil, fault.Failed("connect", addr, err)
	}
	j, err := NewConn(c, options)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return j, nil
}

// SyscallConn gives access to the socket's options, and serves handoff.PeerCred.
func (j *Conn) SyscallConn() (syscall.RawConn, error) { return j.conn.SyscallConn() }

// Send sends v as JSON, with descriptors, which stay the caller's. Send waits while the peer has no
// room. EMSGSIZE for a document that is longer than MaxPayload, which Receive would refuse, or too
// long for a packet, on systems without memory files. If v cannot be marshalled, Send returns the
// error of json.Marshal. After either nothing has been sent.
func (j *Conn) Send(ctx context.Context, v any, fds ...int) error {
	p, err := json.Marshal(v)
	if err == nil && len(p) > j.max {
		err = fmt.Errorf("a document of %d bytes, more than %d (ConnOptions.MaxPayload, of both ends): %w",
			len(p), j.max, syscall.EMSGSIZE)
	}
	if err == nil {
		if err = fault.Cause(j.conn.Send(ctx, p, fds...)); errors.Is(err, syscall.EMSGSIZE) {
			err = j.sendFile(ctx, p, fds, err)
		}
	}
	return fault.Failed("send JSON", j.in.Peer(), err)
}

// sendFile sends a document that is too long for a packet in a memory file.
func (j *Conn) sendFile(ctx context.Context, p []byte, fds []int, tooLong error) error {
	if len(fds) > handoff.MaxDescriptors-1 {
		return fmt.Errorf("%d descriptors beside a payload of %d bytes, more than %d: %w",
			len(fds), len(p), handoff.MaxDescriptors-1, syscall.EINVAL)
	}
	fd, err := system.MemoryFile(payloadName, p)
	if errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("a document of %d bytes: %w", len(p), tooLong)
	}
	if err != nil {
		return err
	}
	err = fault.Cause(j.conn.Send(ctx, []byte(argsViaFD), append([]int{fd}, fds...)...))
	return errors.Join(err, sys.Close(fd))
}

// Receive waits for the next document, of up to MaxPayload bytes, and stores it in v as
// json.Unmarshal does; if v is nil, the document is only checked. It returns the descriptors in a
// set that is never nil, empty with an error, and that the caller closes. io.EOF is the end,
// ECONNRESET the end if the peer has closed without reading everything. ErrDocument for a document
// that is not JSON or does not fit v, EMSGSIZE for one that is too long, ErrTruncated beside it if
// that one came in a packet, ErrDescriptorsLost for one that has not come whole, ErrMalformed if
// the descriptor in place of a document is no memory file: then all that came is gone, and the
// next document can be received.
func (j *Conn) Receive(ctx context.Context, v any) (*handoff.FDSet, error) {
	set := new(handoff.FDSet)
	j.in.Distrust(set)
	limit := max(j.max, len(argsViaFD))
	p, _, _, err := j.conn.ReceivePacket(ctx, nil, limit, set, handoff.MaxDescriptors)
	if err == io.EOF {
		return set, io.EOF
	}
	switch err = fault.Cause(err); {
	case err == nil && string(p) == argsViaFD:
		p, set, err = j.fromFile(set)
	case errors.Is(err, handoff.ErrTruncated), err == nil && len(p) > j.max:
		err = errors.Join(err, fmt.Errorf("more than %d bytes (ConnOptions.MaxPayload): %w", j.max,
			syscall.EMSGSIZE))
	}
	if err == nil {
		err = decode(p, v)
	}
	if err != nil {
		return set, fault.Failed("receive JSON", j.in.Peer(), errors.Join(err, set.Close()))
	}
	return set, nil
}

// fromFile reads the document in the first descriptor, and moves the others into their own set.
func (j *Conn) fromFile(set *handoff.FDSet) (p []byte, others *handoff.FDSet, err error) {
	fd, err := set.Steal(0)
	if err != nil {
		return nil, set, fault.Malformed("a payload in a descriptor that did not come")
	}
	p, err = system.ReadMemoryFile(fd, j.max)
	if err = errors.Join(err, system.Discard(fd)); err != nil {
		return nil, set, err
	}
	others = new(handoff.FDSet)
	j.in.Distrust(others)
	for _, fd := range set.StealAll() {
		_, _ = others.Add(fd) // cannot be there yet
	}
	return p, others, nil
}

// Close closes the connection. It may be called any number of times. Calls that wait, and later
// ones, return net.ErrClosed.
func (j *Conn) Close() error {
	if err := j.conn.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// A Listener accepts Conns. One that is dropped without Close is closed, and its file removed, some
// time after it has become unreachable, if the garbage collector runs.
type Listener struct {
	options  ConnOptions
	acceptor *sock.Acceptor
	held     *held
	dropped  runtime.Cleanup
}

// Listen listens at a path; on Linux a path that begins with "@" is an abstract name. options,
// which is the default if it is nil, is that of the connections. EADDRINUSE if there is a file at
// that path already, even one that a dead process has left; EINVAL for an empty path, and for a
// limit that is negative.
func Listen(path string, options *ConnOptions) (*Listener, error) {
	addr, err := transport.FromUnixPath(path)
	if err == nil && path == "" {
		err = fmt.Errorf("empty path: %w", syscall.EINVAL)
	}
	most, e := options.maxPayload()
	if err == nil {
		err = e
	}
	if err != nil {
		return nil, fault.Failed("listen", addr, err)
	}
	a, pin, err := sock.ListenPackets(addr, path)
	if err != nil {
		return nil, fault.Failed("listen", addr, err)
	}
	j := &Listener{options: ConnOptions{MaxPayload: most}, acceptor: a, held: &held{last: a.Close, pin: pin}}
	j.dropped = runtime.AddCleanup(j, (*held).dropped, j.held)
	return j, nil
}

// Addr returns the listener's address.
func (j *Listener) Addr() transport.Addr { return j.acceptor.Addr() }

// Accept waits for the next connection. One call at a time; others wait. A lack of descriptors or
// memory does not end it: it tries again, after a pause. net.ErrClosed is the end.
func (j *Listener) Accept(ctx context.Context) (*Conn, error) {
	c, err := j.acceptor.Accept(ctx)
	runtime.KeepAlive(j) // what is dropped is closed
	if err != nil {
		return nil, fault.Failed("accept", j.Addr(), err)
	}
	conn, err := NewConn(c, &j.options)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return conn, nil
}

// Close stops listening and removes the socket's file, even if its directory has been moved
// meanwhile. It may be called any number of times. Accept returns net.ErrClosed; connections stay
// open.
func (j *Listener) Close() error {
	j.dropped.Stop()
	return j.held.close()
}
