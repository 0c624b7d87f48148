package handoff

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"github.com/cnode-go/cnode/transport"
)

const (
	// DefaultMaxPayload is the longest document of a JSONConn, in bytes, unless options say
	// otherwise.
	DefaultMaxPayload = 64 << 20

	// argsViaFD is sent in place of a document that is in the first descriptor.
	argsViaFD   = "<args-via-fd>"
	payloadName = "jsoncomm/payload"
)

// A JSONConn exchanges JSON documents, each with a set of descriptors, over a connection of
// sequenced packets. A document that is too long for a packet goes in a memory file (Linux), which
// is the message's first descriptor, before at most MaxDescriptors - 1 others. This is the present
// form of osbuild's jsoncomm.
//
// Methods may be called concurrently. errors.ErrUnsupported where there are no UNIX sockets of
// sequenced packets (darwin, windows).
type JSONConn struct {
	conn *Conn
	max  int
}

// JSONConnOptions say what a JSONConn carries. The zero value is the default.
type JSONConnOptions struct {
	// MaxPayload is the longest document in bytes, to send and to receive; 0 is DefaultMaxPayload.
	// Give both ends the same.
	MaxPayload int
}

// maxPayload is the limit that options, which may be nil, ask for.
func (c *JSONConnOptions) maxPayload() (int, error) {
	switch {
	case c == nil || c.MaxPayload == 0:
		return DefaultMaxPayload, nil
	case c.MaxPayload < 0:
		return 0, fmt.Errorf("limit of %d bytes: %w", c.MaxPayload, syscall.EINVAL)
	}
	return c.MaxPayload, nil
}

// NewJSONConn makes a JSONConn of a connected UNIX socket of sequenced packets, which the JSONConn
// owns on success. Nil options are the default. EINVAL for a socket of another type, and for a
// limit that is negative.
func NewJSONConn(conn *net.UnixConn, options *JSONConnOptions) (*JSONConn, error) {
	most, err := options.maxPayload()
	if err != nil {
		return nil, failed("JSON connection", nil, err)
	}
	c, err := borrow(conn)
	if err != nil {
		return nil, err
	}
	if err := sequenced(c.kind); err != nil {
		return nil, failed("JSON connection", nil, err)
	}
	return &JSONConn{conn: c, max: most}, nil
}

// JSONPair makes two JSONConns that are connected to each other. Nil options are the default;
// EINVAL for a limit that is negative.
func JSONPair(options *JSONConnOptions) (one, other *JSONConn, err error) {
	a, b, err := PacketPair()
	if err != nil {
		return nil, nil, err
	}
	return pairOver(a, b, func(c *net.UnixConn) (*JSONConn, error) { return NewJSONConn(c, options) })
}

// sequenced returns an error if kind is not that of sequenced packets, errors.ErrUnsupported on
// systems without them.
func sequenced(kind int) error {
	switch {
	case !hasPackets:
		return fmt.Errorf("no UNIX sockets of sequenced packets on this system: %w", errors.ErrUnsupported)
	case kind != syscall.SOCK_SEQPACKET:
		return fmt.Errorf("the socket is not one of sequenced packets: %w", syscall.EINVAL)
	}
	return nil
}

// dialPackets connects a socket of sequenced packets to a path.
func dialPackets(ctx context.Context, path string) (*net.UnixConn, error) {
	if err := sequenced(syscall.SOCK_SEQPACKET); err != nil {
		return nil, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unixpacket", path)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

// ConnectJSON connects to a JSONListener at a path. Nil options are the default. syscall.EAGAIN if
// the listener's backlog is full, EINVAL for a limit that is negative.
func ConnectJSON(ctx context.Context, path string, options *JSONConnOptions) (*JSONConn, error) {
	addr, err := transport.FromUnixPath(path)
	if err != nil {
		return nil, failed("connect", addr, err)
	}
	c, err := dialPackets(ctx, path)
	if err != nil {
		return nil, failed("connect", addr, err)
	}
	j, err := NewJSONConn(c, options)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return j, nil
}

// SyscallConn gives access to the socket's options, and serves PeerCred.
func (j *JSONConn) SyscallConn() (syscall.RawConn, error) { return j.conn.SyscallConn() }

// Send sends v as JSON, with descriptors, which stay the caller's. Send waits while the peer has no
// room. EMSGSIZE for a document that is longer than MaxPayload, which Receive would refuse, or too
// long for a packet, on systems without memory files. If v cannot be marshalled, Send returns the
// error of json.Marshal. After either nothing has been sent.
func (j *JSONConn) Send(ctx context.Context, v any, fds ...int) error {
	p, err := json.Marshal(v)
	if err == nil && len(p) > j.max {
		err = fmt.Errorf("a document of %d bytes, more than %d (JSONConnOptions.MaxPayload, of both ends): %w",
			len(p), j.max, syscall.EMSGSIZE)
	}
	if err == nil {
		if err = unwrapOp(j.conn.send(ctx, nil, nil, p, fds)); errors.Is(err, syscall.EMSGSIZE) {
			err = j.sendFile(ctx, p, fds, err)
		}
	}
	return failed("send JSON", j.conn.peer, err)
}

// sendFile sends a document that is too long for a packet in a memory file.
func (j *JSONConn) sendFile(ctx context.Context, p []byte, fds []int, tooLong error) error {
	if len(fds) > MaxDescriptors-1 {
		return fmt.Errorf("%d descriptors beside a payload of %d bytes, more than %d: %w", len(fds), len(p), MaxDescriptors-1, syscall.EINVAL)
	}
	fd, err := memoryFile(payloadName, p)
	if errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("a document of %d bytes: %w", len(p), tooLong)
	}
	if err != nil {
		return err
	}
	err = unwrapOp(j.conn.send(ctx, nil, nil, []byte(argsViaFD), append([]int{fd}, fds...)))
	return errors.Join(err, closeFD(fd))
}

// Receive waits for the next document, of up to MaxPayload bytes, and stores it in v as
// json.Unmarshal does; if v is nil, the document is only checked. It returns the descriptors in a
// set that is never nil, empty with an error, and that the caller closes. io.EOF is the end,
// ECONNRESET the end if the peer has closed without reading everything. ErrJSON for a document that
// is not JSON or does not fit v, EMSGSIZE for one that is too long, ErrTruncated beside it if that
// one came in a packet, ErrDescriptorsLost for one that has not come whole, ErrMalformed if the
// descriptor in place of a document is no memory file: then all that came is gone, and the next
// document can be received.
func (j *JSONConn) Receive(ctx context.Context, v any) (*FDSet, error) {
	set := &FDSet{wary: true}
	limit := max(j.max, len(argsViaFD))
	p, _, _, err := j.conn.ReceivePacket(ctx, nil, limit, set, MaxDescriptors)
	if err == io.EOF {
		return set, io.EOF
	}
	switch err = unwrapOp(err); {
	case err == nil && string(p) == argsViaFD:
		p, set, err = fromFile(set, j.max)
	case errors.Is(err, ErrTruncated), err == nil && len(p) > j.max:
		err = errors.Join(err, fmt.Errorf("more than %d bytes (JSONConnOptions.MaxPayload): %w", j.max,
			syscall.EMSGSIZE))
	}
	if err == nil {
		err = decodeJSON(p, v)
	}
	if err != nil {
		return set, failed("receive JSON", j.conn.peer, errors.Join(err, set.Close()))
	}
	return set, nil
}

// fromFile reads the document in the first descriptor, and makes a set of the others.
func fromFile(set *FDSet, limit int) (p []byte, others *FDSet, err error) {
	fd, err := set.Steal(0)
	if err != nil {
		return nil, set, malformed("a payload in a descriptor that did not come")
	}
	p, err = readMemoryFile(fd, limit)
	if err = errors.Join(err, discard(fd)); err != nil {
		return nil, set, err
	}
	others = &FDSet{wary: true}
	others.take(set.StealAll())
	return p, others, nil
}

// Close closes the connection. It may be called any number of times. Calls that wait, and later
// ones, return net.ErrClosed.
func (j *JSONConn) Close() error {
	if err := j.conn.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// A JSONListener accepts JSONConns.
type JSONListener struct {
	*acceptor
	options JSONConnOptions
	pin     *pin
	closing sync.Once
	failure error
}

// ListenJSON listens at a path; on Linux a path that begins with "@" is an abstract name. options,
// which is the default if it is nil, is that of the connections. EADDRINUSE if there is a file at
// that path already, even one that a dead process has left; EINVAL for an empty path, and for a
// limit that is negative.
func ListenJSON(path string, options *JSONConnOptions) (*JSONListener, error) {
	addr, err := transport.FromUnixPath(path)
	if err == nil && path == "" {
		err = fmt.Errorf("empty path: %w", syscall.EINVAL)
	}
	most, e := options.maxPayload()
	if err == nil {
		err = e
	}
	if err != nil {
		return nil, failed("listen", addr, err)
	}
	a, pin, err := listenPackets(addr, path)
	if err != nil {
		return nil, failed("listen", addr, err)
	}
	return &JSONListener{acceptor: a, options: JSONConnOptions{MaxPayload: most}, pin: pin}, nil
}

// listenPackets makes a listener of sequenced packets, and the pin of its file.
func listenPackets(addr transport.Addr, path string) (*acceptor, *pin, error) {
	if err := sequenced(syscall.SOCK_SEQPACKET); err != nil {
		return nil, nil, err
	}
	var l *net.UnixListener
	pin, err := pinned(addr, func() (err error) {
		l, err = net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
		return err
	})
	if err != nil {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
		return nil, nil, err
	}
	return newAcceptor(l), pin, nil
}

// Addr returns the listener's address.
func (j *JSONListener) Addr() transport.Addr { return transport.FromNetAddr(j.l.Addr()) }

// Accept waits for the next connection. One call at a time; others wait. A lack of descriptors or
// memory does not end it: it tries again, after a pause. net.ErrClosed is the end.
func (j *JSONListener) Accept(ctx context.Context) (*JSONConn, error) {
	c, err := j.accept(ctx)
	if err != nil {
		return nil, failed("accept", j.Addr(), err)
	}
	conn, err := NewJSONConn(c, &j.options)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return conn, nil
}

// Close stops listening and removes the socket's file, even if its directory has been moved
// meanwhile. It may be called any number of times. Accept returns net.ErrClosed; connections stay
// open.
func (j *JSONListener) Close() error {
	j.closing.Do(func() { j.failure = j.pin.removeThen(j.close) })
	return j.failure
}
