package handoff

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// A Channel is what the two sides of a hand-off speak over: a connection of sequenced packets between two processes of one user. It is for
// one hand-off, or one request, at a time.
type Channel struct {
	conn   *Conn
	peer   Cred
	known  bool   // peer.PID is the system's word, not the other side's
	buf    []byte // of the last packet
	unread []byte // a packet that somebody has looked at already
}

// newChannel makes a channel of a connected UNIX socket of sequenced packets, which it owns on success. ErrForbidden if the other end is a
// process of another user, EINVAL for a socket of another type, errors.ErrUnsupported where there are no such sockets (darwin, windows).
func newChannel(conn *net.UnixConn) (*Channel, error) {
	c, err := borrow(conn)
	if err != nil {
		return nil, err
	}
	if err := sequenced(c.kind); err != nil {
		return nil, failed("channel", c.peer, err)
	}
	cred, err := PeerCred(conn)
	if err == nil {
		err = sameUser(cred)
	}
	if err == nil {
		err = unwrapOp(c.tellEmpty())
	}
	if err != nil {
		return nil, failed("channel", c.peer, err)
	}
	ch := &Channel{conn: c, peer: cred, known: true, buf: make([]byte, packetLimit)}
	if cred.PID == os.Getpid() { // a pair that was made here: its other end is a child's
		ch.peer, ch.known = Cred{-1, cred.UID, cred.GID}, false
	}
	return ch, nil
}

// ChannelPair makes a channel and its other end, for a process that is to be started: see FileChannel. The caller owns both. It does not
// wait. EMFILE if there are no descriptors left, errors.ErrUnsupported where there are no sequenced packets (darwin, windows).
func ChannelPair() (*Channel, *os.File, error) {
	ours, theirs, err := SocketPair()
	if err != nil {
		return nil, nil, err
	}
	ch, err := FileChannel(ours)
	if err != nil {
		return nil, nil, errors.Join(err, ours.Close(), theirs.Close())
	}
	return ch, theirs, nil
}

// FileChannel makes a channel of a file, which is closed on success; else it stays the caller's.
func FileChannel(f *os.File) (*Channel, error) {
	conn, err := sharedConn(f)
	if err != nil {
		return nil, err
	}
	ch, err := newChannel(conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := f.Close(); err != nil {
		return nil, failed("channel", ch.conn.peer, errors.Join(err, ch.Close()))
	}
	if !ch.known || ch.peer.PID == os.Getppid() { // the pair was made by a process that may have passed its end on
		ch.known = false
	}
	return ch, nil
}

// DialControl connects to a control socket at a path; see Control. It does not wait for Accept. syscall.ECONNREFUSED, or fs.ErrNotExist, if
// nobody listens; syscall.EAGAIN if the backlog is full; ErrForbidden if whoever listens is a process of another user;
// errors.ErrUnsupported where there are no sequenced packets (darwin, windows).
func DialControl(ctx context.Context, path string) (*Channel, error) {
	c, err := dialPackets(ctx, path)
	if err != nil {
		return nil, err
	}
	ch, err := newChannel(c)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return ch, nil
}

// Peer is the process at the other end. Its PID is the system's word: on Linux that of who has spoken last, before that of who connected or
// began to listen, perhaps an ancestor. Elsewhere it is the process's own word where the channel was inherited, and -1 until hello.
func (ch *Channel) Peer() Cred { return ch.peer }

// Close closes this end. Calls that wait come back.
func (ch *Channel) Close() error { return ch.conn.Close() }

// note takes the other side's word for its process where the system has none.
func (ch *Channel) note(pid int) {
	if !ch.known && pid > 0 {
		ch.peer.PID = pid
	}
}

// next receives a packet, valid until the next call. io.EOF is the end, and ECONNRESET that of who has not read all.
func (ch *Channel) next(ctx context.Context, set *FDSet, room int) ([]byte, error) {
	if p := ch.unread; p != nil {
		ch.unread = nil
		return p, nil
	}
	p, _, cred, err := ch.conn.receive(ctx, wanted{p: ch.buf, room: room}, set)
	if cred.PID > 0 { // Linux: who has spoken now, be it another one than who listened or made the pair
		ch.peer.PID, ch.known = cred.PID, true
	}
	return p, err
}

// Ask sends a request of words to a control socket and waits for the answer. A *RefusedError is the other side's no; ErrLeft if it has gone
// without one.
func (ch *Channel) Ask(ctx context.Context, words ...string) ([]string, error) {
	x := exchange{ch: ch}
	if err := x.send(ctx, kindAsk, appendWords(nil, words)); err != nil {
		return nil, failed("ask", ch.conn.peer, err)
	}
	m, err := x.receive(ctx, kindAnswer)
	if err != nil {
		return nil, failed("ask", ch.conn.peer, err)
	}
	words, err = parseWords(m.body)
	return words, failed("ask", ch.conn.peer, err)
}

// Wait waits until the other end is closed: until the other process has ended, say. What it sends meanwhile is thrown away. On systems
// other than Linux an empty packet looks like the end.
func (ch *Channel) Wait(ctx context.Context) error {
	set := &FDSet{wary: true}
	for {
		_, err := ch.next(ctx, set, MaxDescriptors)
		_ = set.Close()
		switch {
		case err == io.EOF || errors.Is(err, syscall.ECONNRESET):
			return nil
		case errors.Is(err, ErrTruncated) || errors.Is(err, ErrDescriptorsLost):
		case err != nil:
			return failed("wait for", ch.conn.peer, unwrapOp(err))
		}
	}
}
