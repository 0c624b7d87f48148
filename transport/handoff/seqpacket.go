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
	// DefaultMaxPayload is the longest document that a JSONConn takes from a memory file, in bytes.
	DefaultMaxPayload = 64 << 20

	// argsViaFD stands for a document that is in the first descriptor.
	argsViaFD   = "<args-via-fd>"
	payloadName = "jsoncomm/payload"
)

// A JSONConn exchanges JSON documents, each with a set of descriptors, over a connection of sequenced packets. A document that is too long
// for a packet goes in a memory file (Linux), which is the message's first descriptor; at most MaxDescriptors - 1 others are beside it
// then. This is jsoncomm of osbuild in its present form.
//
// Methods may be called concurrently. errors.ErrUnsupported where there are no UNIX sockets of sequenced packets (darwin, windows).
type JSONConn struct{ conn *Conn }

// NewJSONConn makes a JSONConn of a connected UNIX socket of sequenced packets, which it owns on success; EINVAL for one of another type.
func NewJSONConn(conn *net.UnixConn) (*JSONConn, error) {
	c, err := borrow(conn)
	if err != nil {
		return nil, err
	}
	if err := sequenced(c.kind); err != nil {
		return nil, failed("JSON connection", nil, err)
	}
	return &JSONConn{conn: c}, nil
}

// JSONPair makes two that are connected to each other.
func JSONPair() (one, other *JSONConn, err error) {
	if err := sequenced(pairKind); err != nil {
		return nil, nil, failed("socketpair", nil, err)
	}
	a, b, err := SocketPair()
	if err != nil {
		return nil, nil, err
	}
	defer a.Close()
	defer b.Close()
	first, err := FileConn(a)
	if err != nil {
		return nil, nil, err
	}
	second, err := FileConn(b)
	if err == nil {
		if one, err = NewJSONConn(first); err == nil {
			if other, err = NewJSONConn(second); err == nil {
				return one, other, nil
			}
		}
		err = errors.Join(err, second.Close())
	}
	return nil, nil, errors.Join(err, first.Close())
}

// sequenced refuses a kind of sockets that is not of sequenced packets: errors.ErrUnsupported where there are none.
func sequenced(kind int) error {
	switch {
	case pairKind != syscall.SOCK_SEQPACKET:
		return fmt.Errorf("no UNIX sockets of sequenced packets on this system: %w", errors.ErrUnsupported)
	case kind != syscall.SOCK_SEQPACKET:
		return fmt.Errorf("the socket is not one of sequenced packets: %w", syscall.EINVAL)
	}
	return nil
}

// dialPackets connects a socket of sequenced packets to a path.
func dialPackets(ctx context.Context, path string) (*net.UnixConn, error) {
	addr, err := transport.FromUnixPath(path)
	if err == nil {
		err = sequenced(syscall.SOCK_SEQPACKET)
	}
	if err != nil {
		return nil, failed("connect", addr, err)
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unixpacket", path)
	if err != nil {
		return nil, failed("connect", addr, err)
	}
	return c.(*net.UnixConn), nil
}

// DialJSON connects to a JSONListener at a path. syscall.EAGAIN if that has no room for another connection that it has not accepted.
func DialJSON(ctx context.Context, path string) (*JSONConn, error) {
	c, err := dialPackets(ctx, path)
	if err != nil {
		return nil, err
	}
	j, err := NewJSONConn(c)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return j, nil
}

// SyscallConn is for options of the socket, and for PeerCred.
func (j *JSONConn) SyscallConn() (syscall.RawConn, error) { return j.conn.SyscallConn() }

// Send sends v as JSON, with descriptors, which stay the caller's. A peer that has no room is waited for. EMSGSIZE for a document that is
// too long for a packet where there are no memory files. What cannot be JSON is the error of json.Marshal, and nothing is sent.
func (j *JSONConn) Send(ctx context.Context, v any, fds ...int) error {
	p, err := json.Marshal(v)
	if err == nil {
		if err = unwrapOp(j.conn.send(ctx, nil, nil, p, fds)); errors.Is(err, syscall.EMSGSIZE) {
			err = j.sendFile(ctx, p, fds, err)
		}
	}
	return failed("send JSON", j.conn.peer, err)
}

// sendFile sends a document that is too long in a memory file.
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

// Recv waits for the next document, of up to DefaultMaxPayload bytes, and stores it in v as json.Unmarshal does; a nil v only has it
// checked. It returns the descriptors, which the caller closes, never nil, with an error none. io.EOF is the end, ECONNRESET that of a peer
// who has closed without reading all. ErrJSON for what is not JSON or does not fit v, ErrTruncated and ErrDescriptorsLost for what has not
// come whole, ErrMalformed for a memory file that is none, EMSGSIZE for one that is too long: then all that came is gone, and the next
// document can be received.
func (j *JSONConn) Recv(ctx context.Context, v any) (*FDSet, error) {
	set := &FDSet{wary: true}
	p, _, _, err := j.conn.ReceivePacket(ctx, nil, DefaultMaxPayload, set, MaxDescriptors)
	if err == io.EOF {
		return set, io.EOF
	}
	if err = unwrapOp(err); err == nil && string(p) == argsViaFD {
		p, set, err = fromFile(set)
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
func fromFile(set *FDSet) (p []byte, others *FDSet, err error) {
	fd, err := set.Steal(0)
	if err != nil {
		return nil, set, malformed("a payload in a descriptor that did not come")
	}
	p, err = readMemoryFile(fd, DefaultMaxPayload)
	if err = errors.Join(err, discard(fd)); err != nil {
		return nil, set, err
	}
	others = &FDSet{wary: true}
	others.take(set.StealAll())
	return p, others, nil
}

// Close closes the connection. It may be called any number of times. Calls that wait, and later ones, say net.ErrClosed.
func (j *JSONConn) Close() error {
	if err := j.conn.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// A JSONListener accepts JSONConns.
type JSONListener struct {
	*acceptor
	pin     *pin
	closing sync.Once
	failure error
}

// ListenJSON listens at a path; on Linux a first "@" is an abstract name. EADDRINUSE if there is a file at that path already, whoever left
// it.
func ListenJSON(path string) (*JSONListener, error) {
	addr, err := transport.FromUnixPath(path)
	if err == nil && path == "" {
		err = fmt.Errorf("empty path: %w", syscall.EINVAL)
	}
	if err != nil {
		return nil, failed("listen", addr, err)
	}
	a, pin, err := listenPackets(addr, path)
	if err != nil {
		return nil, failed("listen", addr, err)
	}
	return &JSONListener{acceptor: a, pin: pin}, nil
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

// Addr is where it listens.
func (j *JSONListener) Addr() transport.Addr { return transport.FromNetAddr(j.l.Addr()) }

// Accept waits for the next connection. One call at a time; others wait. A want of descriptors or memory does not end it: it tries again,
// after a pause. net.ErrClosed is the end.
func (j *JSONListener) Accept(ctx context.Context) (*JSONConn, error) {
	c, err := j.accept(ctx)
	if err != nil {
		return nil, failed("accept", j.Addr(), err)
	}
	conn, err := NewJSONConn(c)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return conn, nil
}

// Close stops listening and removes the socket's file, wherever its directory is by now. It may be called any number of times. Accept comes
// back with net.ErrClosed; connections live on.
func (j *JSONListener) Close() error {
	j.closing.Do(func() { j.failure = j.pin.removeThen(j.close) })
	return j.failure
}
