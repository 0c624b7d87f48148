package handoff

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"github.com/cnode-go/cnode/transport/handoff/internal/sock"
)

// A Channel is the connection that the two sides of a hand-off speak over: sequenced packets
// between two processes of one user. It serves one hand-off, or one request, at a time.
type Channel struct {
	conn   *Conn
	peer   Cred
	known  bool   // peer.PID was told by the system, not by the other side
	buf    []byte // the buffer of the last packet
	unread []byte // a packet that Hear has read to see what it is, for next to return again
}

// newChannel makes a channel of a connected UNIX socket of sequenced packets, which the channel
// owns on success. ErrForbidden if the other end is a process of another user, EINVAL for a socket
// of another type, errors.ErrUnsupported where there are no such sockets (darwin, windows).
func newChannel(conn *net.UnixConn) (*Channel, error) {
	c, err := borrow(conn)
	if err != nil {
		return nil, err
	}
	if err := sock.Sequenced(c.kind); err != nil {
		return nil, fault.Failed("channel", c.peer, err)
	}
	cred, err := PeerCred(conn)
	if err == nil {
		err = sameUser(cred)
	}
	if err == nil {
		err = fault.Cause(c.tellEmpty())
	}
	if err != nil {
		return nil, fault.Failed("channel", c.peer, err)
	}
	ch := &Channel{conn: c, peer: cred, known: true, buf: make([]byte, packetLimit)}
	// a pair that this process made: its other end is meant for a child
	if cred.PID == os.Getpid() {
		ch.peer, ch.known = Cred{-1, cred.UID, cred.GID}, false
	}
	return ch, nil
}

// ChannelPair makes a channel and its other end, for a process that is to be started: see
// FileChannel. The caller owns both. ChannelPair does not wait. EMFILE if there are no descriptors
// left, errors.ErrUnsupported where there are no sequenced packets (darwin, windows).
func ChannelPair() (*Channel, *os.File, error) {
	ours, theirs, err := PacketPair()
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
		return nil, fault.Failed("channel", ch.conn.peer, errors.Join(err, ch.Close()))
	}
	// the process that made the pair may have passed its end on
	if !ch.known || ch.peer.PID == os.Getppid() {
		ch.known = false
	}
	return ch, nil
}

// ConnectControl connects to a control socket at a path; see Control. It does not wait for Accept.
// syscall.ECONNREFUSED, or fs.ErrNotExist, if no process listens; syscall.EAGAIN if the backlog is
// full; ErrForbidden if the listening process is of another user; errors.ErrUnsupported where there
// are no sequenced packets (darwin, windows).
func ConnectControl(ctx context.Context, path string) (*Channel, error) {
	addr, err := controlAddr(path)
	if err != nil {
		return nil, fault.Failed("connect", addr, err)
	}
	var c *net.UnixConn
	err = shortened(path, func(short string) (err error) {
		c, err = sock.DialPackets(ctx, short)
		return err
	})
	if err != nil {
		return nil, fault.Failed("connect", addr, err)
	}
	ch, err := newChannel(c)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return ch, nil
}

// Peer is the process at the other end. Its PID comes from the system: on Linux it is the process
// that sent the last packet, and before the first packet the one that connected, began to listen or
// made the pair, which may be an ancestor. On other systems the ends of a ChannelPair have the PID
// that the other process itself tells at hello. If this process has made the pair, the PID is -1
// until then.
func (ch *Channel) Peer() Cred { return ch.peer }

// Close closes this end. Calls that wait return.
func (ch *Channel) Close() error { return ch.conn.Close() }

// note takes the PID that the other side tells if the system has not told one.
func (ch *Channel) note(pid int) {
	if !ch.known && pid > 0 {
		ch.peer.PID = pid
	}
}

// next receives a packet, valid until the next call. io.EOF is the end, ECONNRESET the end if the
// peer closed without reading everything.
func (ch *Channel) next(ctx context.Context, set *FDSet, room int) ([]byte, error) {
	if p := ch.unread; p != nil {
		ch.unread = nil
		return p, nil
	}
	p, _, cred, err := ch.conn.receive(ctx, wanted{p: ch.buf, room: room}, set)
	// Linux: the sender of this packet, which need not be the process that listened or made the pair
	if cred.PID > 0 {
		ch.peer.PID, ch.known = cred.PID, true
	}
	return p, err
}

// Ask sends a request of words to a control socket and waits for the answer. A *RefusedError is the
// other side's refusal; ErrLeft if it has gone without an answer.
func (ch *Channel) Ask(ctx context.Context, words ...string) ([]string, error) {
	x := exchange{ch: ch}
	if err := x.send(ctx, kindAsk, appendWords(nil, words)); err != nil {
		return nil, fault.Failed("ask", ch.conn.peer, err)
	}
	m, err := x.receive(ctx, kindAnswer)
	if err != nil {
		return nil, fault.Failed("ask", ch.conn.peer, err)
	}
	words, err = parseWords(m.body)
	return words, fault.Failed("ask", ch.conn.peer, err)
}

// Wait waits until the other end is closed: until the other process has ended, say. Packets that
// arrive meanwhile are thrown away. On systems other than Linux an empty packet looks like the end.
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
			return fault.Failed("wait for", ch.conn.peer, fault.Cause(err))
		}
	}
}
