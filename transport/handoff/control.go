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
)

// helloLimit is how long a visitor may take to say what it wants.
const helloLimit = 5 * time.Second

// A Control is an owner's control socket: whoever wants what it has, or wants it to do something, comes there. Its directory is one of the
// user's own, which nobody else can look into, and every visitor's process is of the same user.
type Control struct {
	*acceptor
	path    string
	pin     *pin
	closing sync.Once
	failure error
}

// ListenControl listens at a path. Its directory must be there, belong to this user, and be open to nobody else (mode 0700): else
// ErrForbidden. A socket that a dead process has left is replaced; EADDRINUSE if a living one listens. It locks the directory, and waits
// for another lock, one of flock(1) say, for a second at most. errors.ErrUnsupported where there are no UNIX sockets of sequenced packets
// (darwin, windows).
func ListenControl(path string) (*Control, error) {
	const op = "listen"
	addr, err := transport.FromUnixPath(path)
	if err != nil {
		return nil, failed(op, addr, err)
	}
	unlock, err := lockDir(path)
	if err != nil {
		return nil, failed(op, addr, err)
	}
	defer unlock()
	c := &Control{path: path}
	c.acceptor, c.pin, err = listenPackets(addr, path)
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(path) {
		if err = os.Remove(path); err == nil || errors.Is(err, fs.ErrNotExist) { // its owner may have been about to
			c.acceptor, c.pin, err = listenPackets(addr, path)
		}
	}
	if err != nil {
		return nil, failed(op, addr, err)
	}
	return c, nil
}

// abandoned tells whether there is a socket at a path at which nobody listens any more.
func abandoned(path string) bool {
	if st, err := os.Lstat(path); err != nil || st.Mode().Type() != os.ModeSocket {
		return false // connect(2) would say the same of a file that is no socket
	}
	c, err := net.DialTimeout("unixpacket", path, time.Second)
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// ImportControl goes on with a control socket that has been handed over. fd is its own from the call on: on failure it is closed.
func ImportControl(fd int, path string) (*Control, error) {
	const op = "import"
	f := os.NewFile(uintptr(fd), path)
	if f == nil {
		return nil, failed(op, nil, syscall.EBADF)
	}
	defer f.Close()
	addr, err := transport.FromUnixPath(path)
	if err != nil {
		return nil, failed(op, addr, err)
	}
	s, err := Inspect(fd)
	if err == nil {
		err = s.Listener()
	}
	if err != nil {
		return nil, failed(op, addr, err)
	}
	p, err := pinThere(path)
	if err != nil {
		return nil, failed(op, addr, err)
	}
	l, err := net.FileListener(f) // of a duplicate
	if err != nil {
		return nil, failed(op, addr, errors.Join(err, p.close()))
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		return nil, failed(op, addr, errors.Join(fmt.Errorf("no UNIX socket: %w", syscall.EINVAL), l.Close(), p.close()))
	}
	return &Control{acceptor: newAcceptor(u), path: path, pin: p}, nil
}

// Path is where it listens.
func (c *Control) Path() string { return c.path }

// SyscallConn gives the descriptor, to hand it over.
func (c *Control) SyscallConn() (syscall.RawConn, error) { return c.l.SyscallConn() }

// Close stops listening and removes the socket's file, if it is still its own. It may be called any number of times; after Release it does
// nothing. Accept comes back with net.ErrClosed.
func (c *Control) Close() error {
	c.closing.Do(func() { c.failure = c.pin.removeThen(c.close) })
	return c.failure
}

// Release stops listening in this process: it goes on in another one. After Close it does nothing.
func (c *Control) Release() error {
	c.closing.Do(func() { c.failure = errors.Join(c.close(), c.pin.close()) })
	return c.failure
}

// A Visit is somebody at the control socket. Either it asks for something, or it is a new owner that wants all.
type Visit struct {
	ch      *Channel
	request []string
	asks    bool
}

// Accept waits for the next visitor: see Hear. One call at a time; others wait. A want of descriptors or memory does not end it: it tries
// again, after a pause. net.ErrClosed is the end.
func (c *Control) Accept(ctx context.Context) (*net.UnixConn, error) {
	conn, err := c.accept(ctx)
	return conn, failed("accept", transport.FromNetAddr(c.l.Addr()), err)
}

// Hear reads what a visitor wants. It fails for one who is of another user (ErrForbidden), says nothing in five seconds, or something that
// makes no sense (ErrMalformed, or ErrUnknown): only the last is told why. The connection is the visit's, and closed on failure.
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
		err = malformed("an empty message")
	case p[0] == kindAsk:
		v.asks = true
		v.request, err = parseWords(p[1:])
	case p[0] == kindHello:
		ch.unread = append([]byte(nil), p...)
	default:
		err = malformed("message %d to a control socket", p[0])
	}
	if err != nil {
		x := exchange{ch: ch}
		x.refuse(err)
		return nil, failed("hear", nil, err)
	}
	return v, nil
}

// Request gives the words that the visitor asks with. It is not ok for a new owner.
func (v *Visit) Request() (words []string, ok bool) { return v.request, v.asks }

// Channel is where an Offer is given to a new owner.
func (v *Visit) Channel() *Channel { return v.ch }

// Answer answers the request. It waits for room, not for the visitor to read. ErrLeft if the visitor has gone, EMSGSIZE for words of more
// than 52 KiB.
func (v *Visit) Answer(ctx context.Context, words ...string) error {
	x := exchange{ch: v.ch}
	return failed("answer", v.ch.conn.peer, x.send(ctx, kindAnswer, appendWords(nil, words)))
}

// Refuse says no to the visitor, for whatever reason: another process's refusal, too.
func (v *Visit) Refuse(why error) {
	x := exchange{ch: v.ch}
	x.deny(StepHello, why)
}

// Close ends the visit.
func (v *Visit) Close() error { return v.ch.Close() }
