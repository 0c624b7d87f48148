package nodes

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport/handoff"
)

const (
	// maxWords bounds the words that wait for a process that does not read.
	maxWords = 1 << 14
	// packetWords is how many words at most go out together.
	packetWords = 64
	// lull is how long words that nobody waits for are kept back, to go out together, and lullWords how many of them.
	lull      = 10 * time.Millisecond
	lullWords = maxUntaken / 2
)

// A line carries words between the front and one worker. Whoever says something never waits. It can stand still, in both directions, to
// go on in another process.
type line struct {
	conn *handoff.MessageConn

	mu     sync.Mutex
	queue  []word
	ready  chan struct{} // holds a token while there is something in queue that does not wait
	lulled bool          // a timer runs, for what does
	ended  bool          // the reader has found the end of the line, or the writer
	closed bool
	deaf   bool          // the other side has ended: it takes nothing, and what it has said is still to be read
	over   chan struct{} // closed with closed
	wrote  chan struct{} // closed when the writer has ended

	// To stand still.
	outward wait.Pausable
	inward  wait.Pausable
}

// newLine makes a line of a socket, which is its own on success.
func newLine(socket *net.UnixConn) (*line, error) {
	l, err := stagedLine(socket, nil)
	if err == nil {
		l.resume()
	}
	return l, err
}

// stagedLine is a line that stands still, with what was still to be said.
func stagedLine(socket *net.UnixConn, words []word) (*line, error) {
	conn, err := handoff.NewMessageConn(socket, nil)
	if err != nil {
		return nil, err
	}
	l := &line{conn: conn, queue: words, ready: make(chan struct{}, 1), over: make(chan struct{}), wrote: make(chan struct{})}
	l.outward.Halt()
	l.inward.Halt()
	go l.write()
	return l, nil
}

// say sends a word, whose descriptor becomes the line's; false when the line is closed, or nobody takes it.
func (l *line) say(w word) bool {
	l.mu.Lock()
	full := len(l.queue) >= maxWords
	ok := !l.closed && !l.deaf && !full
	later := ok && w.idle() && len(l.queue) < lullWords
	if ok {
		l.queue = append(l.queue, w)
		if later && !l.lulled {
			l.lulled = true
			time.AfterFunc(lull, l.wake)
		}
	}
	l.mu.Unlock()
	if !ok {
		w.drop()
		if full {
			l.close()
		}
		return false
	}
	if !later {
		l.wake()
	}
	return true
}

// wake has the writer send what there is.
func (l *line) wake() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// hold stops the writer. What is said from now on stays in the queue.
func (l *line) hold(ctx context.Context) error { return l.outward.Pause(ctx, &l.mu) }

// pause stops the reader between two words. It must not be called by who takes one.
func (l *line) pause(ctx context.Context) error { return l.inward.Pause(ctx, &l.mu) }

// unpause ends pause.
func (l *line) unpause() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inward.Resume()
}

// resume ends hold and pause.
func (l *line) resume() {
	l.mu.Lock()
	l.inward.Resume()
	l.outward.Resume()
	l.mu.Unlock()
	l.wake()
}

// ends tells whether the line has ended, or is about to be closed because it has.
func (l *line) ends() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended || l.closed
}

// waiting lists the words of a line that is held.
func (l *line) waiting() []word {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]word(nil), l.queue...)
}

// descriptor is the socket's; it stays the line's.
func (l *line) descriptor() (fd int, err error) {
	raw, err := l.conn.SyscallConn()
	if err == nil {
		err = raw.Control(func(n uintptr) { fd = int(n) })
	}
	return fd, err
}

func (l *line) write() {
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
		ctx, words := l.outward.Context(), l.queue
		l.queue, l.lulled = nil, false
		l.mu.Unlock()
		rest, err := l.send(ctx, words)
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
		dropAll(rest)
		switch {
		case l.deaf: // which nobody else sets; the reader finds the end
			return
		case err != nil:
			l.close()
			return
		}
	}
}

// send sends words in order, those together that have no descriptor, and gives back those that are not out.
func (l *line) send(ctx context.Context, words []word) ([]word, error) {
	for len(words) > 0 {
		n, fd := 1, -1
		if words[0].fd > 0 {
			fd = words[0].fd
		} else {
			for n < min(len(words), packetWords) && words[n].fd == 0 {
				n++
			}
		}
		b, err := json.Marshal(words[:n])
		if err == nil {
			err = l.conn.SendFD(ctx, b, fd)
		}
		if err != nil {
			return words, err
		}
		words[0].drop()
		words = words[n:]
	}
	return nil, nil
}

// first waits for what comes over a line that nobody reads yet: one word, or several, whose descriptors are the caller's.
func (l *line) first(ctx context.Context) (words []word, err error) {
	err = l.receive(ctx, func(w word) { words = append(words, w) })
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return words, err
}

// receive waits for what comes next and gives its words to take. One whose descriptor was lost has none, as who takes it sees.
func (l *line) receive(ctx context.Context, take func(word)) error {
	b, fd, err := l.conn.ReceiveFD(ctx)
	if err == nil || len(b) > 0 && errors.Is(err, handoff.ErrDescriptorsLost) {
		err = parseWords(b, max(fd, 0), take)
	}
	return err
}

// read gives each word to take, which owns its descriptor, until the line ends.
func (l *line) read(take func(word)) error {
	for {
		ctx := l.listen()
		if ctx == nil {
			return ErrClosed
		}
		err := l.readUntil(ctx, take)
		l.mu.Lock()
		paused := ctx.Err() != nil
		l.ended = l.ended || !paused // before anybody takes it for paused
		l.inward.Done()
		l.mu.Unlock()
		if !paused {
			return err
		}
	}
}

// listen waits until reading may go on, and gives the context for it, which ends when it is to pause; nil when the line is closed.
func (l *line) listen() context.Context {
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
func (l *line) readUntil(ctx context.Context, take func(word)) error {
	for {
		if err := l.receive(ctx, take); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// close ends the line at once, in this process. It may be called again.
func (l *line) close() {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	queue := l.queue
	l.queue = nil
	l.mu.Unlock()
	dropAll(queue)
	if first {
		close(l.over)
		_ = l.conn.Close()
	}
}
