package nodes

import (
	"context"
	"encoding/json"
	"sync"

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

// maxWords bounds the words that wait for a process that does not read.
const maxWords = 1 << 14

// A line carries words between the front and one worker. Whoever says something never waits.
type line struct {
	conn *handoff.MessageConn

	mu     sync.Mutex
	queue  []word
	ready  chan struct{} // holds a token while there is something in queue
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
	if ok {
		l.queue = append(l.queue, w)
	}
	l.mu.Unlock()
	if !ok {
		w.drop()
		if full {
			l.close()
		}
		return false
	}
	select {
	case l.ready <- struct{}{}:
	default:
	}
	return true
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
		l.queue = nil
		l.mu.Unlock()
		for i := range words {
			err := l.send(&words[i])
			words[i].drop()
			if err != nil {
				for j := range words[i+1:] {
					words[i+1+j].drop()
				}
				l.close()
				return
			}
		}
	}
}

func (l *line) send(w *word) error {
	b, err := json.Marshal(w)
	if err != nil {
		return err
	}
	fd := -1
	if w.fd > 0 {
		fd = w.fd
	}
	return l.conn.SendFD(context.Background(), b, fd)
}

// read gives each word to take, which owns its descriptor, until the line ends.
func (l *line) read(take func(word)) error {
	for {
		b, fd, err := l.conn.ReceiveFD(context.Background())
		if err != nil {
			return err
		}
		var w word
		err = json.Unmarshal(b, &w)
		w.fd = max(fd, 0)
		if err != nil {
			w.drop()
			return err
		}
		take(w)
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
