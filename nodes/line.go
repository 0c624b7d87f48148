package nodes

import (
	"context"
	"encoding/json"
	"io"
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

// A line carries words between the front and one worker. Whoever says something never waits.
type line struct {
	conn *handoff.MessageConn

	mu     sync.Mutex
	queue  []word
	ready  chan struct{} // holds a token while there is something in queue that does not wait
	lulled bool          // a timer runs, for what does
	closed bool
	over   chan struct{} // closed with closed
	wrote  chan struct{} // closed when the writer has ended
}

func newLine(conn *handoff.MessageConn) *line {
	l := &line{conn: conn, ready: make(chan struct{}, 1), over: make(chan struct{}), wrote: make(chan struct{})}
	go l.write()
	return l
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
		words := l.queue
		l.queue, l.lulled = nil, false
		l.mu.Unlock()
		if err := l.send(words); err != nil {
			for i := range words {
				words[i].drop()
			}
			l.close()
			return
		}
	}
}

// send sends words in order, those together that have no descriptor.
func (l *line) send(words []word) error {
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
			err = l.conn.SendFD(context.Background(), b, fd)
		}
		if err != nil {
			return err
		}
		words[0].drop()
		words = words[n:]
	}
	return nil
}

// read gives each word to take, which owns its descriptor, until the line ends.
func (l *line) read(take func(word)) error {
	for {
		b, fd, err := l.conn.ReceiveFD(context.Background())
		if err != nil {
			return err
		}
		var words []word
		err = json.Unmarshal(b, &words)
		if err == nil && len(words) == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			(&word{fd: max(fd, 0)}).drop()
			return err
		}
		words[0].fd = max(fd, 0)
		for _, w := range words {
			take(w)
		}
	}
}

// close ends the line at once. It may be called again.
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
