package jsoncomm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"github.com/cnode-go/cnode/transport/handoff/internal/inside"
	"github.com/cnode-go/cnode/transport/handoff/internal/sock"
)

// ErrDocument says that what came is not the JSON that was asked for; its descriptors are closed.
var ErrDocument = errors.New("jsoncomm: not the JSON that is wanted")

// A Socket exchanges JSON documents, each with a set of descriptors, as single datagrams of a
// UNIX socket. There is no connection: a server answers the address that a request came from. This
// is the first form of jsoncomm; Conn is the present one.
//
// A Socket that is dropped without Close is closed, and its file removed, some time after it has
// become unreachable, if the garbage collector runs.
//
// Methods may be called concurrently. An answer that waits for room at its receiver does not hold
// up others. But answers that clients have not read take room in the server's own send buffer
// (SO_SNDBUF): if some clients may never read, use a Conn for each.
type Socket struct {
	conn *handoff.Conn
	in   inside.Conn
	peer func(handoff.Cred) error
	sock *net.UnixConn // conn's
	held *held

	dropped runtime.Cleanup
}

// held is what a Socket, or a Listener, has to give back. It does not refer to that, and so can be
// closed when that is gone.
type held struct {
	last    func() error // closes the socket
	pin     *sock.Pin    // of the file; nil: there is none
	dir     string       // the directory that sock.AutobindName has made, or ""
	closing sync.Once
	failure error
}

// ServerOptions say how a server receives. The zero value is the default.
type ServerOptions struct {
	// Peer decides for each document whether its sender may send; an error refuses the document.
	// With nil, the mode of the socket's file alone decides. Linux only.
	Peer func(handoff.Cred) error
}

// NewClient makes a socket with a name of its own, so that the server can answer. Send sends to
// destination; if that is nil, only SendTo can be used. On Linux the name is an abstract one,
// elsewhere a file in a new directory, which Close removes.
func NewClient(destination transport.Addr) (*Socket, error) {
	j, err := newClient(destination)
	return j, fault.Failed("JSON client", destination, err)
}

func newClient(destination transport.Addr) (*Socket, error) {
	name, dir, err := sock.AutobindName()
	if err != nil {
		return nil, err
	}
	j, err := bind(name, destination, dir)
	if err != nil && dir != "" {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return j, err
}

// NewServer makes a socket at a path; on Linux a path that begins with "@" is an abstract name.
// EADDRINUSE if there is a file at that path already, even one that a dead process has left. Nil
// options are the default.
func NewServer(path string, options *ServerOptions) (*Socket, error) {
	j, err := newServer(path, options)
	return j, fault.Failed("JSON server", transport.UnixAddr(path), err)
}

func newServer(path string, options *ServerOptions) (*Socket, error) {
	if path == "" {
		return nil, fmt.Errorf("empty path: %w", syscall.EINVAL)
	}
	j, err := bind(path, nil, "")
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

// bind makes a socket at a path, or with a name that the system chooses if path is "", and connects
// it to destination, unless that is nil. The Socket owns dir, if it is not "".
func bind(path string, destination transport.Addr, dir string) (*Socket, error) {
	addr, err := transport.FromUnixPath(path)
	if err != nil {
		return nil, err
	}
	conn, pin, err := sock.BindDatagram(addr, destination)
	if err != nil {
		return nil, err
	}
	c, in, err := inside.Borrow(conn)
	if err != nil {
		return nil, errors.Join(err, pin.RemoveThen(conn.Close))
	}
	j := &Socket{conn: c, in: in, sock: conn, held: &held{last: conn.Close, pin: pin, dir: dir}}
	j.dropped = runtime.AddCleanup(j, (*held).dropped, j.held)
	return j, nil
}

// Addr is the socket's own address.
func (j *Socket) Addr() transport.Addr { return transport.FromNetAddr(j.sock.LocalAddr()) }

// SyscallConn gives access to the socket's options.
func (j *Socket) SyscallConn() (syscall.RawConn, error) { return j.conn.SyscallConn() }

// Send sends v as JSON, with descriptors, to the destination that the client was made with;
// ENOTCONN if there is none. The descriptors, at most MaxDescriptors, stay the caller's. EMSGSIZE
// for a document that is too long for the socket's send buffer (SO_SNDBUF). Send waits while the
// receiver's queue is full, or that buffer with documents that have not been received. If v cannot
// be marshalled, Send returns the error of json.Marshal and sends nothing.
func (j *Socket) Send(ctx context.Context, v any, fds ...int) error {
	return j.send(ctx, nil, v, fds)
}

// SendTo is Send to an address, that of a server or one that Receive has returned. It waits while
// the receiver's queue is full, and has the errors of Send: ENOENT or ECONNREFUSED if no socket has
// the address, EINVAL if the address is nil or not that of a UNIX socket.
func (j *Socket) SendTo(ctx context.Context, to transport.Addr, v any, fds ...int) error {
	if to == nil {
		return fault.Failed("send JSON", nil, fmt.Errorf("no destination: %w", syscall.EINVAL))
	}
	return j.send(ctx, to, v, fds)
}

func (j *Socket) send(ctx context.Context, to transport.Addr, v any, fds []int) error {
	whom := to
	if whom == nil {
		whom = j.in.Peer()
	}
	p, err := json.Marshal(v)
	if err == nil {
		err = fault.Cause(j.conn.SendTo(ctx, to, p, fds...))
		runtime.KeepAlive(j) // what is dropped is closed
	}
	return fault.Failed("send JSON", whom, err)
}

// Receive waits for the next document, of any length and with up to MaxDescriptors descriptors,
// and stores it in v as json.Unmarshal does; if v is nil, the document is only checked. It returns
// the descriptors in a set that is never nil, empty with an error, and that the caller closes; and
// the sender's address, an unnamed one for a sender that cannot be answered. ErrDocument for a
// document that is not JSON or does not fit v, ErrTruncated and ErrDescriptorsLost for one that
// has not come whole, handoff.ErrForbidden for a sender that Peer refuses: then all that came is
// gone, from is the sender's address, and the next document can be received.
func (j *Socket) Receive(ctx context.Context, v any) (fds *handoff.FDSet, from transport.Addr, err error) {
	set := new(handoff.FDSet)
	j.in.Distrust(set)
	p, from, cred, err := j.conn.ReceivePacket(ctx, nil, math.MaxInt, set, handoff.MaxDescriptors)
	runtime.KeepAlive(j) // what is dropped is closed
	if err = fault.Cause(err); err == nil && j.peer != nil {
		if err = j.peer(cred); err != nil && !errors.Is(err, handoff.ErrForbidden) {
			err = fmt.Errorf("%w: %w", handoff.ErrForbidden, err)
		}
	}
	if err == nil {
		err = decode(p, v)
	}
	if err != nil {
		return set, from, fault.Failed("receive JSON", from, errors.Join(err, set.Close()))
	}
	return set, from, nil
}

// Close closes the socket and removes its file, even if its directory has been moved meanwhile. It
// may be called any number of times.
func (j *Socket) Close() error {
	j.dropped.Stop()
	return j.held.close()
}

func (h *held) close() error {
	h.closing.Do(func() {
		h.failure = h.pin.RemoveThen(h.last)
		if h.dir != "" {
			h.failure = errors.Join(h.failure, os.Remove(h.dir))
		}
	})
	return h.failure
}

// dropped closes what a Socket, or a Listener, that was dropped has held. It does not wait for the
// file's directory.
func (h *held) dropped() { go func() { _ = h.close() }() }

// decode stores a document in v.
func decode(p []byte, v any) error {
	if v == nil {
		v = new(json.RawMessage)
	}
	if err := json.Unmarshal(p, v); err != nil {
		return fmt.Errorf("%w: %w", ErrDocument, err)
	}
	return nil
}
