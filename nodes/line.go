package nodes

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"sync"
	"time"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A topic is what a word is about.
type topic string

// What the front says to a worker.
const (
	sayWelcome  topic = "welcome"  // Name, Creation, Part: who you are
	saySibling  topic = "sibling"  // Part, descriptor: the way to another worker
	saySessions topic = "sessions" // descriptor: further sessions come through this stream
	saySession  topic = "session"  // Plugin, State, Data, descriptor: a session that the BIND 10 form cannot carry
	sayProbe    topic = "probe"    // ID: are you there?
	sayDrop     topic = "drop"     // Name: this peer has connected anew elsewhere
	sayMeet     topic = "meet"     // Name, Part: give that worker a way to the peer
	sayAnswer   topic = "answer"   // ID, Part, OK, …: to claim, register and lookup
	sayFinish   topic = "finish"   // end in good order
	sayMove     topic = "move"     // ID, descriptor: give everything to the process at its other end
)

// What a worker says to the front.
const (
	sayReady    topic = "ready"    // sessions may come
	sayTook     topic = "took"     // Part: how many sessions of that way have been received, 0 or 1 says which way
	sayHere     topic = "here"     // ID: the answer to probe
	sayUp       topic = "up"       // Key, Name: a connection is up; Key is what its session or claim was counted under
	sayOver     topic = "over"     // Name: a session or claim has ended
	sayClaim    topic = "claim"    // ID, Name: may I connect to this peer?
	sayRegister topic = "register" // ID, Name, Pid
	sayRelease  topic = "release"  // Name: nobody here has it any more
	sayLookup   topic = "lookup"   // ID, Name: who has it?
	sayMoved    topic = "moved"    // Number: this process, of that number, is the worker now
	sayStayed   topic = "stayed"   // ID, Name: it is not, and why
)

// Both ways: a worker says it, and the front passes it on to the one that is named.
const (
	sayShadow topic = "shadow" // Part: to or from whom; Peer, descriptor: a way to the peer
	sayNone   topic = "none"   // Part, Name: there is no connection to that peer
)

// A word is one message between the front and a worker.
type word struct {
	Topic    topic      `json:"t"`
	ID       uint64     `json:"id,omitempty"`
	Part     int        `json:"part,omitempty"`
	Name     string     `json:"name,omitempty"`
	Key      string     `json:"key,omitempty"`
	OK       bool       `json:"ok,omitempty"`
	Creation uint32     `json:"creation,omitempty"`
	Number   uint64     `json:"number,omitempty"` // of a pid: its key
	Plugin   string     `json:"plugin,omitempty"`
	State    []byte     `json:"state,omitempty"`
	Data     []byte     `json:"data,omitempty"`
	Peer     *dist.Peer `json:"peer,omitempty"`

	fd int // that comes along, owned; 0: none, for a descriptor is 3 or higher
}

const (
	// maxWords bounds the words that wait for a process that does not read.
	maxWords = 1 << 14
	// packetWords is how many words at most go out together.
	packetWords = 64
	// lull is how long words that nobody waits for do: what they tell of goes on meanwhile, and they are cheaper together.
	lull = 2 * time.Millisecond
)

// idle tells whether a word may wait.
func (t topic) idle() bool { return t == sayTook || t == sayUp || t == sayOver }

// A line carries words between the front and one worker. Whoever says something never waits. It can stand still, in both directions, to
// go on in another process.
type line struct {
	conn *handoff.MessageConn

	mu     sync.Mutex
	queue  []word
	ready  chan struct{} // holds a token while there is something in queue that does not wait
	lulled bool          // a timer runs, for what does
	closed bool
	over   chan struct{} // closed with closed
	wrote  chan struct{} // closed when the writer has ended

	// To stand still.
	outward way
	inward  way
}

// A way is one direction of a line.
type way struct {
	halted bool
	runs   bool            // somebody is at it
	ctx    context.Context // ends when it halts
	end    context.CancelFunc
	rests  chan struct{} // closed once it has halted
	again  chan struct{} // closed when it goes on
}

func (w *way) begin() {
	w.halted = false
	w.ctx, w.end = context.WithCancel(context.Background())
	if w.again != nil {
		close(w.again)
		w.again = nil
	}
}

// halt tells whoever is at it to stop; what it gives is closed once that is so.
func (w *way) halt() <-chan struct{} {
	if !w.halted {
		w.halted, w.rests, w.again = true, make(chan struct{}), make(chan struct{})
		if w.end != nil {
			w.end()
		}
		if !w.runs {
			close(w.rests)
		}
	}
	return w.rests
}

// stop says that nobody is at it any more.
func (w *way) stop() {
	if w.runs = false; w.halted {
		close(w.rests)
	}
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
	l.outward.halt()
	l.inward.halt()
	go l.write()
	return l, nil
}

// say sends a word, whose descriptor becomes the line's; false when the line is closed.
func (l *line) say(w word) bool {
	l.mu.Lock()
	full := len(l.queue) >= maxWords
	ok := !l.closed && !full
	wait := ok && w.Topic.idle()
	if ok {
		l.queue = append(l.queue, w)
		if wait && !l.lulled {
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
	if !wait {
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
func (l *line) hold(ctx context.Context) error { return l.halt(ctx, &l.outward) }

// pause stops the reader between two words. It must not be called by who takes one.
func (l *line) pause(ctx context.Context) error { return l.halt(ctx, &l.inward) }

func (l *line) halt(ctx context.Context, w *way) error {
	l.mu.Lock()
	rests := w.halt()
	l.mu.Unlock()
	select {
	case <-rests:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unpause ends pause.
func (l *line) unpause() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inward.halted {
		l.inward.begin()
	}
}

// resume ends hold and pause.
func (l *line) resume() {
	l.unpause()
	l.mu.Lock()
	if l.outward.halted {
		l.outward.begin()
	}
	l.mu.Unlock()
	l.wake()
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

// drop closes the descriptor of a word that nobody takes.
func (w *word) drop() {
	if w.fd > 0 {
		_ = closeDescriptor(w.fd)
		w.fd = 0
	}
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
		if l.outward.halted || len(l.queue) == 0 {
			l.mu.Unlock()
			continue
		}
		l.outward.runs = true
		ctx, words := l.outward.ctx, l.queue
		l.queue, l.lulled = nil, false
		l.mu.Unlock()
		rest, err := l.send(ctx, words)
		l.mu.Lock()
		if ctx.Err() != nil && !l.closed {
			l.queue, rest, err = append(rest, l.queue...), nil, nil
		}
		l.outward.stop()
		l.mu.Unlock()
		for i := range rest {
			rest[i].drop()
		}
		if err != nil {
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

// read gives each word to take, which owns its descriptor, until the line ends.
func (l *line) read(take func(word)) error {
	ctx, end := context.WithCancel(context.Background())
	end() // the first turn begins
	for {
		if ctx = l.turn(ctx); ctx == nil {
			return ErrClosed
		}
		b, fd, err := l.conn.ReceiveFD(ctx)
		if err == nil {
			err = parseWords(b, max(fd, 0), take)
		}
		if err != nil && ctx.Err() == nil {
			l.mu.Lock()
			l.inward.stop()
			l.mu.Unlock()
			return err
		}
	}
}

// turn waits until reading goes on, and gives the context for it, nil when the line is closed. last is that of the last turn; one that is
// over begins.
func (l *line) turn(last context.Context) context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	in := &l.inward
	if last.Err() != nil { // it has halted, or not yet begun
		if in.runs {
			in.stop()
		}
		for in.halted && !l.closed {
			again := in.again
			l.mu.Unlock()
			select {
			case <-again:
			case <-l.over:
			}
			l.mu.Lock()
		}
		in.runs = !l.closed
	}
	if l.closed {
		if in.runs {
			in.stop()
		}
		return nil
	}
	return in.ctx
}

// parseWords gives the words of a message to take. fd is that of the first one.
func parseWords(b []byte, fd int, take func(word)) error {
	var words []word
	err := json.Unmarshal(b, &words)
	if err == nil && len(words) == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		(&word{fd: fd}).drop()
		return err
	}
	words[0].fd = fd
	for _, w := range words {
		take(w)
	}
	return nil
}

// close ends the line at once, in this process. It may be called again.
func (l *line) close() {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	queue := l.queue
	l.queue = nil
	l.mu.Unlock()
	for i := range queue {
		queue[i].drop()
	}
	if first {
		close(l.over)
		_ = l.conn.Close()
	}
}
