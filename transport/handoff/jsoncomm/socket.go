package handoff

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/cnode-go/cnode/transport"
)

// A JSONSocket exchanges JSON documents, each with a set of descriptors, as single datagrams of a
// UNIX socket. There is no connection: a server answers the address that a request came from. This
// is the first form of osbuild's jsoncomm; JSONConn is the present one.
//
// Methods may be called concurrently. An answer that waits for room at its receiver does not hold
// up others. But answers that clients have not read take room in the server's own send buffer
// (SO_SNDBUF): if some clients may never read, use a JSONConn for each.
type JSONSocket struct {
	conn *Conn
	peer func(Cred) error

	closing sync.Once
	pin     *pin   // the file that Close removes; nil: none
	dir     string // the directory that autobindName has made, or ""
	failure error
}

// JSONOptions say how a server receives. The zero value is the default.
type JSONOptions struct {
	// Peer decides for each document whether its sender may send; an error refuses the document.
	// With nil, the mode of the socket's file alone decides. Linux only.
	Peer func(Cred) error
}

// NewJSONClient makes a socket with a name of its own, so that the server can answer. Send sends to
// destination; if that is nil, only SendTo can be used. On Linux the name is an abstract one,
// elsewhere a file in a new directory, which Close removes.
func NewJSONClient(destination transport.Addr) (*JSONSocket, error) {
	j, err := newJSONClient(destination)
	return j, failed("JSON client", destination, err)
}

func newJSONClient(destination transport.Addr) (*JSONSocket, error) {
	name, dir, err := autobindName()
	if err != nil {
		return nil, err
	}
	j, err := bindJSON(name, destination)
	if err != nil {
		if dir != "" {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		return nil, err
	}
	j.dir = dir
	return j, nil
}

// NewJSONServer makes a socket at a path; on Linux a path that begins with "@" is an abstract name.
// EADDRINUSE if there is a file at that path already, even one that a dead process has left. Nil
// options are the default.
func NewJSONServer(path string, options *JSONOptions) (*JSONSocket, error) {
	j, err := newJSONServer(path, options)
	return j, failed("JSON server", transport.UnixAddr(path), err)
}

func newJSONServer(path string, options *JSONOptions) (*JSONSocket, error) {
	if path == "" {
		return nil, fmt.Errorf("empty path: %w", syscall.EINVAL)
	}
	j, err := bindJSON(path, nil)
	if err != nil {
		return nil, err
	}
	if options != nil && options.Peer != nil {
		j.peer = options.Peer
		if err := j.conn.ReceiveCredentials(true); err != nil {
			return nil, errors.Join(err, j.Close())
		}
	}
	return j, nil
}

// bindJSON makes a socket at a path, or with a name that the system chooses if path is "", and
// connects it to destination, unless that is nil.
func bindJSON(path string, destination transport.Addr) (*JSONSocket, error) {
	addr, err := transport.FromUnixPath(path)
	if err != nil {
		return nil, err
	}
	conn, pin, err := bindDatagram(addr, destination)
	if err != nil {
		return nil, err
	}
	c, err := borrow(conn)
	if err != nil {
		return nil, errors.Join(err, pin.removeThen(conn.Close))
	}
	return &JSONSocket{conn: c, pin: pin}, nil
}

// Addr is the socket's own address.
func (j *JSONSocket) Addr() transport.Addr { return transport.FromNetAddr(j.conn.conn.LocalAddr()) }

// SyscallConn gives access to the socket's options.
func (j *JSONSocket) SyscallConn() (syscall.RawConn, error) { return j.conn.SyscallConn() }

// Send sends v as JSON, with descriptors, to the destination that the client was made with;
// ENOTCONN if there is none. The descriptors, at most MaxDescriptors, stay the caller's. EMSGSIZE
// for a document that is too long for the socket's send buffer (SO_SNDBUF). Send waits while the
// receiver's queue is full, or that buffer with documents that have not been received. If v cannot
// be marshalled, Send returns the error of json.Marshal and sends nothing.
func (j *JSONSocket) Send(ctx context.Context, v any, fds ...int) error {
	return j.send(ctx, nil, v, fds)
}

// SendTo is Send to an address, that of a server or one that Receive has returned. It waits while
// the receiver's queue is full, and has the errors of Send: ENOENT or ECONNREFUSED if no socket has
// the address, EINVAL if the address is nil or not that of a UNIX socket.
func (j *JSONSocket) SendTo(ctx context.Context, to transport.Addr, v any, fds ...int) error {
	if to == nil {
		return failed("send JSON", nil, fmt.Errorf("no destination: %w", syscall.EINVAL))
	}
	return j.send(ctx, to, v, fds)
}

func (j *JSONSocket) send(ctx context.Context, to transport.Addr, v any, fds []int) error {
	whom := to
	if whom == nil {
		whom = j.conn.peer
	}
	p, err := json.Marshal(v)
	if err == nil {
		err = unwrapOp(j.conn.send(ctx, to, nil, p, fds))
	}
	return failed("send JSON", whom, err)
}

// Receive waits for the next document, of any length and with up to MaxDescriptors descriptors, and
// stores it in v as json.Unmarshal does; if v is nil, the document is only checked. It returns the
// descriptors in a set that is never nil, empty with an error, and that the caller closes; and the
// sender's address, an unnamed one for a sender that cannot be answered. ErrJSON for a document
// that is not JSON or does not fit v, ErrTruncated and ErrDescriptorsLost for one that has not come
// whole, ErrForbidden for a sender that Peer refuses: then all that came is gone, from is the
// sender's address, and the next document can be received.
func (j *JSONSocket) Receive(ctx context.Context, v any) (fds *FDSet, from transport.Addr, err error) {
	set := &FDSet{wary: true}
	p, from, cred, err := j.conn.ReceivePacket(ctx, nil, math.MaxInt, set, MaxDescriptors)
	if err = unwrapOp(err); err == nil && j.peer != nil {
		if err = j.peer(cred); err != nil && !errors.Is(err, ErrForbidden) {
			err = fmt.Errorf("%w: %w", ErrForbidden, err)
		}
	}
	if err == nil {
		err = decodeJSON(p, v)
	}
	if err != nil {
		return set, from, failed("receive JSON", from, errors.Join(err, set.Close()))
	}
	return set, from, nil
}

// Close closes the socket and removes its file, even if its directory has been moved meanwhile. It
// may be called any number of times.
func (j *JSONSocket) Close() error {
	j.closing.Do(func() {
		j.failure = j.pin.removeThen(j.conn.Close)
		if j.dir != "" {
			j.failure = errors.Join(j.failure, os.Remove(j.dir))
		}
	})
	return j.failure
}

// decodeJSON stores a document in v.
func decodeJSON(p []byte, v any) error {
	if v == nil {
		v = new(json.RawMessage)
	}
	if err := json.Unmarshal(p, v); err != nil {
		return fmt.Errorf("%w: %w", ErrJSON, err)
	}
	return nil
}

// split splits a path into its directory and its last element.
func split(path string) (dir, name string) {
	dir, name = filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	return dir, name
}
