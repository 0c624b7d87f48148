package handoff

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"github.com/cnode-go/cnode/transport/handoff/internal/sock"
)

// helloLimit is how long a visitor may take to send its first message.
const helloLimit = 5 * time.Second

// A Control is an owner's control socket, to which a process connects that wants to take over, or
// has a request. Its directory belongs to the user and is closed to all others, and every visitor's
// process is of the same user.
type Control struct {
	acceptor *sock.Acceptor
	path     string
	pin      *sock.Pin
	anew     sync.Once // the first Accept
	closing  sync.Once
	failure  error
}

// ListenControl listens at a path. Its directory must be there, belong to this user, and be open to
// nobody else (mode 0700): else ErrForbidden. A socket that a dead process has left is replaced;
// EADDRINUSE if a living process listens there. ListenControl locks the directory meanwhile; if
// another process holds the lock, flock(1) say, it waits for a second at most and goes on without.
// On Linux the directory may be longer than a UNIX socket's address; elsewhere the path is
// ENAMETOOLONG then. errors.ErrUnsupported where there are no UNIX sockets of sequenced packets
// (darwin, windows).
func ListenControl(path string) (*Control, error) {
	const op = "listen"
	addr, err := controlAddr(path)
	if err != nil {
		return nil, fault.Failed(op, addr, err)
	}
	unlock, err := lockDir(path)
	if err != nil {
		return nil, fault.Failed(op, addr, err)
	}
	defer unlock()
	c := &Control{path: path}
	err = shortened(path, func(short string) (err error) {
		c.acceptor, c.pin, err = sock.ListenPackets(addr, short)
		if errors.Is(err, syscall.EADDRINUSE) && abandoned(short) {
			err = os.Remove(path)
			if err == nil || errors.Is(err, fs.ErrNotExist) { // its owner may just have removed it
				c.acceptor, c.pin, err = sock.ListenPackets(addr, short)
			}
		}
		return err
	})
	if err != nil {
		return nil, fault.Failed(op, addr, err)
	}
	return c, nil
}

// controlAddr is the address of a control socket.
func controlAddr(path string) (transport.Addr, error) {
	addr, err := transport.FromUnixPath(path)
	if errors.Is(err, syscall.ENAMETOOLONG) {
		return longPath(path)
	}
	return addr, err
}

// abandoned tells whether there is a socket at path on which no process listens any more.
func abandoned(path string) bool {
	if st, err := os.Lstat(path); err != nil || st.Mode().Type() != os.ModeSocket {
		return false // connect(2) would return ECONNREFUSED for it as well
	}
	c, err := net.DialTimeout("unixpacket", path, time.Second)
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// ImportControl continues with a control socket that has been handed over. It owns fd from the call
// on: on failure fd is closed.
func ImportControl(fd int, path string) (*Control, error) {
	const op = "import"
	f := os.NewFile(uintptr(fd), path)
	if f == nil {
		return nil, fault.Failed(op, nil, syscall.EBADF)
	}
	defer f.Close()
	addr, err := controlAddr(path)
	if err != nil {
		return nil, fault.Failed(op, addr, err)
	}
	s, err := Inspect(fd)
	if err == nil {
		err = s.Listener()
	}
	if err != nil {
		return nil, fault.Failed(op, addr, err)
	}
	p, err := sock.PinThere(path)
	if err != nil {
		return nil, fault.Failed(op, addr, err)
	}
	l, err := net.FileListener(f) // uses a duplicate
	if err != nil {
		return nil, fault.Failed(op, addr, errors.Join(err, p.Close()))
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		return nil, fault.Failed(op, addr, errors.Join(fmt.Errorf("no UNIX socket: %w", syscall.EINVAL), l.Close(), p.Close()))
	}
	return &Control{acceptor: sock.NewAcceptor(u), path: path, pin: p}, nil
}

// Path returns the path of the socket.
func (c *Control) Path() string { return c.path }

// Removed tells whether the socket's file is gone from its path, or another one is in its place, so
// that nobody can connect any more: systemd-logind, say, removes XDG_RUNTIME_DIR when a user's last
// session has ended. ListenControl makes another socket.
func (c *Control) Removed() bool { return !c.pin.IsAt(c.path) }

// SyscallConn gives access to the descriptor, to hand it over.
func (c *Control) SyscallConn() (syscall.RawConn, error) { return c.acceptor.SyscallConn() }

// Close stops listening and removes the socket's file, unless another file has taken its place. It
// may be called any number of times; after Release it does nothing. Accept returns net.ErrClosed.
func (c *Control) Close() error {
	c.closing.Do(func() { c.failure = c.pin.RemoveThen(c.acceptor.Close) })
	return c.failure
}

// Release stops listening in this process and leaves the file: another process goes on with the
// socket. After Close it does nothing.
func (c *Control) Release() error {
	c.closing.Do(func() { c.failure = errors.Join(c.acceptor.Close(), c.pin.Close()) })
	return c.failure
}

// A Visit is a process that has connected to the control socket: either it has a request, or it is
// a new owner that wants to take over.
type Visit struct {
	ch      *Channel
	request []string
	asks    bool
}

// Accept waits for the next visitor: see Hear. One call at a time; others wait. A lack of
// descriptors or memory does not end it: it tries again, after a pause. net.ErrClosed is the end.
func (c *Control) Accept(ctx context.Context) (*net.UnixConn, error) {
	c.anew.Do(func() { c.acceptor.ListenAnew() })
	conn, err := c.acceptor.Accept(ctx)
	return conn, fault.Failed("accept", transport.UnixAddr(c.path), err)
}

// Hear reads what a visitor wants. It fails for a visitor of another user (ErrForbidden), one that
// sends nothing within five seconds, or one whose message makes no sense (ErrMalformed, or
// ErrUnknown): only the last is told why. The Visit owns the connection, which is closed on
// failure.
func Hear(ctx context.Context, conn *net.UnixConn) (*Visit, error) {
	v, err := hear(ctx, conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return v, nil
}

func hear(ctx context.Context, conn *net.UnixConn) (*Visit, error) {
	ctx, cancel := context.WithTimeout(ctx, helloLimit)
	defer cancel()
	ch, err := newChannel(conn)
	if err != nil {
		return nil, err
	}
	p, err := ch.next(ctx, nil, 0)
	if err != nil {
		return nil, err
	}
	v := &Visit{ch: ch}
	switch {
	case len(p) == 0:
		err = fault.Malformed("an empty message")
	case p[0] == kindAsk:
		v.asks = true
		v.request, err = parseWords(p[1:])
	case p[0] == kindHello:
		ch.unread = append([]byte(nil), p...)
	default:
		err = fault.Malformed("message %d to a control socket", p[0])
	}
	if err != nil {
		x := exchange{ch: ch}
		x.refuse(err)
		return nil, fault.Failed("hear", nil, err)
	}
	return v, nil
}

// Request returns the words of the visitor's request. ok is false for a new owner.
func (v *Visit) Request() (words []string, ok bool) { return v.request, v.asks }

// Channel returns the channel on which an Offer is given to a new owner.
func (v *Visit) Channel() *Channel { return v.ch }

// Answer answers the request. It waits for room in the socket, not for the visitor to read. ErrLeft
// if the visitor has gone, EMSGSIZE for words of more than 52 KiB.
func (v *Visit) Answer(ctx context.Context, words ...string) error {
	x := exchange{ch: v.ch}
	return fault.Failed("answer", v.ch.conn.peer, x.send(ctx, kindAnswer, appendWords(nil, words)))
}

// Refuse tells the visitor no, and why. why may be the refusal of another process.
func (v *Visit) Refuse(why error) {
	x := exchange{ch: v.ch}
	x.deny(stepHello, why)
}

// Close ends the visit.
func (v *Visit) Close() error { return v.ch.Close() }
