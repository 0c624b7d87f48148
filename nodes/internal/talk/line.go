package talk

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/beam"
)

const (
	// maxQueue bounds the messages that wait for a process that does not read.
	maxQueue = 1 << 14
	// packetSize is how many messages at most go out together.
	packetSize = 64
	// Lull is how long messages that the other side does not wait for are kept back, to go out
	// together.
	Lull = 10 * time.Millisecond
	// LullCount is how many of them are kept back at most.
	LullCount = 32
)

// A Line carries messages between the front and one worker. Saying a message never waits. A line
// can stand still, in both directions, to go on in another process.
type Line struct {
	conn *beam.Conn

	mu     sync.Mutex
	queue  []Message
	ready  chan struct{} // holds a token while there is something in queue that does not wait
	lulled bool          // a timer runs, for messages that do wait
	ended  bool          // the reader or the writer has found the end of the line
	closed bool
	// the other side has ended: it takes no more messages, but what it has said is still to be read
	deaf  bool
	over  chan struct{} // closed when closed is set
	wrote chan struct{} // closed when the writer has ended

	// To stand still.
	outward wait.Pausable
	inward  wait.Pausable
}

// New makes a line of a socket, which it owns on success.
func New(socket *net.UnixConn) (*Line, error) {
	l, err := Staged(socket, nil)
	if err == nil {
		l.Resume()
	}
	return l, err
}

// Staged is a line that stands still, with the messages that were still to be sent.
func Staged(socket *net.UnixConn, list []Message) (*Line, error) {
	conn, err := beam.NewConn(socket, nil)
	if err != nil {
		return nil, err
	}
	l := &Line{conn: conn, queue: list, ready: make(chan struct{}, 1), over: make(chan struct{}), wrote: make(chan struct{})}
	l.outward.Halt()
	l.inward.Halt()
	go l.write()
	return l, nil
}

// Say sends a message, whose descriptor becomes the line's; false when the line is closed, or the
// other side does not take it.
func (l *Line) Say(m Message) bool {
	l.mu.Lock()
	full := len(l.queue) >= maxQueue
	ok := !l.closed && !l.deaf && !full
	later := ok && canWait(m) && len(l.queue) < LullCount
	if ok {
		l.queue = append(l.queue, m)
		if later && !l.lulled {
			l.lulled = true
			time.AfterFunc(Lull, l.wake)
		}
	}
	l.mu.Unlock()
	if !ok {
		Drop(m)
		if full {
			l.Close()
		}
		return false
	}
	if !later {
		l.wake()
	}
	return true
}

// wake makes the writer send what is in the queue.
func (l *Line) wake() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// Hold stops the writer. What is said from now on stays in the queue.
func (l *Line) Hold(ctx context.Context) error { return l.outward.Pause(ctx, &l.mu) }

// Pause stops the reader between two messages. The function that takes the messages must not call
// it.
func (l *Line) Pause(ctx context.Context) error { return l.inward.Pause(ctx, &l.mu) }

// Unpause ends Pause.
func (l *Line) Unpause() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inward.Resume()
}

// Resume ends Hold and Pause.
func (l *Line) Resume() {
	l.mu.Lock()
	l.inward.Resume()
	l.outward.Resume()
	l.mu.Unlock()
	l.wake()
}

// Wrote is closed when the line's writer has ended.
func (l *Line) Wrote() <-chan struct{} { return l.wrote }

// Over is closed when the line is closed.
func (l *Line) Over() <-chan struct{} { return l.over }

// Unsaid takes back the messages that were not sent yet; the caller owns their descriptors.
func (l *Line) Unsaid() []Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.queue
	l.queue = nil
	return list
}

// Ends tells whether the line has ended, or is about to be closed because it has.
func (l *Line) Ends() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended || l.closed
}

// Waiting lists the messages of a line that is held; those of another one are its writer's.
func (l *Line) Waiting() []Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.outward.Halted() {
		return nil
	}
	return append([]Message(nil), l.queue...)
}

// Descriptor is the socket's; it stays the line's.
func (l *Line) Descriptor() (fd int, err error) {
	raw, err := l.conn.SyscallConn()
	if err == nil {
		err = raw.Control(func(n uintptr) { fd = int(n) })
	}
	return fd, err
}

func (l *Line) write() {
	defer close(l.wrote)
	for {
		select {
		case <-l.ready:
		case <-l.over:
			return
		}
		l.mu.Lock()
		if len(l.queue) == 0 || !l.outward.Begin() {
			l.mu.Unlock()
			continue
		}
		ctx, list := l.outward.Context(), l.queue
		l.queue, l.lulled = nil, false
		l.mu.Unlock()
		rest, err := l.send(ctx, list)
		l.mu.Lock()
		if ctx.Err() != nil && !l.closed {
			l.queue, rest, err = append(rest, l.queue...), nil, nil
		}
		l.ended = l.ended || err != nil
		if l.deaf = errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET); l.deaf {
			rest, l.queue = append(rest, l.queue...), nil
		}
		l.outward.Done()
		l.mu.Unlock()
		DropAll(rest)
		switch {
		case l.deaf: // only the writer sets it; the reader finds the end of the line
			return
		case err != nil:
			l.Close()
			return
		}
	}
}

// send sends messages in order, consecutive ones without a descriptor together, and returns those
// that are not out.
func (l *Line) send(ctx context.Context, list []Message) ([]Message, error) {
	for len(list) > 0 {
		n, fd := 1, Descriptor(list[0])
		if fd == 0 {
			fd = -1
			for n < min(len(list), packetSize) && Descriptor(list[n]) == 0 {
				n++
			}
		}
		b, err := marshalAll(list[:n])
		if err == nil {
			err = l.conn.SendFD(ctx, b, fd)
		}
		if err != nil {
			return list, err
		}
		Drop(list[0])
		list = list[n:]
	}
	return nil, nil
}

// First waits for what comes over a line that nobody reads yet: one message, or several, whose
// descriptors are the caller's.
func (l *Line) First(ctx context.Context) (list []Message, err error) {
	err = l.receive(ctx, func(m Message) { list = append(list, m) })
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return list, err
}

// receive waits for what comes next and gives its messages to take. A message whose descriptor was
// lost has FD 0, as take can see.
func (l *Line) receive(ctx context.Context, take func(Message)) error {
	b, fd, err := l.conn.ReceiveFD(ctx)
	if err == nil || len(b) > 0 && errors.Is(err, handoff.ErrDescriptorsLost) {
		err = parseAll(b, max(fd, 0), take)
	}
	return err
}

// Read gives each message to take, which owns its descriptor, until the line ends.
func (l *Line) Read(take func(Message)) error {
	for {
		ctx := l.listen()
		if ctx == nil {
			return net.ErrClosed
		}
		err := l.readUntil(ctx, take)
		l.mu.Lock()
		paused := ctx.Err() != nil
		l.ended = l.ended || !paused // set before the line can be taken for paused
		l.inward.Done()
		l.mu.Unlock()
		if !paused {
			return err
		}
	}
}

// listen waits until reading may go on, and returns the context for it, which ends when reading is
// to pause; nil when the line is closed.
func (l *Line) listen() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed && !l.inward.Begin() {
		change := l.inward.Changed.Next()
		l.mu.Unlock()
		select {
		case <-change:
		case <-l.over:
		}
		l.mu.Lock()
	}
	if l.closed {
		return nil
	}
	return l.inward.Context()
}

// readUntil reads until the line ends, or ctx does.
func (l *Line) readUntil(ctx context.Context, take func(Message)) error {
	for {
		if err := l.receive(ctx, take); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// Close ends the line at once, in this process. It may be called again.
func (l *Line) Close() {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	DropAll(l.Unsaid())
	if first {
		close(l.over)
		_ = l.conn.Close()
	}
}
