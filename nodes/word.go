package nodes

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport/handoff"
)

// What the front and a worker say to each other, word by word: a topic, and the fields that its comment names. A descriptor may come along.

// A topic is what a word is about.
type topic string

// What the front says to a worker.
const (
	sayWelcome  topic = "welcome"  // Name, Creation, Part, descriptor: who you are, and the roll of names
	saySessions topic = "sessions" // ID, descriptor: further sessions come through this socket, which has this number
	saySession  topic = "session"  // Plugin, Place, State, Data, descriptor: a session that BIND 10's form cannot carry
	sayProbe    topic = "probe"    // ID: are you there?
	sayMeet     topic = "meet"     // Name, Part: give that worker a way to the peer
	sayAnswer   topic = "answer"   // ID, and Part, OK, Number: to claim, register and lookup
	sayFinish   topic = "finish"   // end in good order
	sayMove     topic = "move"     // ID, descriptor: give everything to the process at its other end
)

// What a worker says to the front.
const (
	sayReady    topic = "ready"    // sessions may come
	sayTook     topic = "took"     // Part: the oldest untaken session has been taken; viaForwarder or viaLine says of which list
	sayShut     topic = "shut"     // ID: the socket for sessions of that number is no more; what was left in it, or an earlier one, is lost
	sayHere     topic = "here"     // ID: the answer to probe
	sayUp       topic = "up"       // Key, Name: a connection is up; Key is what its session or claim was counted under
	sayOver     topic = "over"     // Name: a session or claim has ended
	sayClaim    topic = "claim"    // ID, Name: may I connect to this peer?
	sayRegister topic = "register" // ID, Name, Number: may this process have the name?
	sayRelease  topic = "release"  // Name: nobody here has it any more
	sayLookup   topic = "lookup"   // ID, Name: who has it?
	sayMoved    topic = "moved"    // Number: the process with that process id is the worker now
	sayStayed   topic = "stayed"   // ID, Name: the old process is the worker still; Name says why
)

// The front says it to a worker: Part, ID (the newest number) and a descriptor, the way to another worker. Part alone: that way is lost, and
// the worker asks the front for another one by the same.
const saySibling topic = "sibling"

// The front says it to a worker: this peer has connected anew elsewhere, or, OK, another worker has closed its shadow of the connection.
// A worker says it to the front where it has done that.
const sayDrop topic = "drop" // Name, OK

// Both ways: a worker says it, and the front passes it on to the one that is named.
const (
	sayShadow topic = "shadow" // Part: to or from whom; Peer, descriptor: a way to the peer
	sayNone   topic = "none"   // Part, Name: there is no connection to that peer; of the front, without a name: that worker has ended
)

// The two ways in which a session comes to a worker.
const (
	viaForwarder = iota // in BIND 10's form, through the socket for sessions
	viaLine             // as a word, saySession
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
	Place    int        `json:"place,omitempty"` // see carriage
	State    []byte     `json:"state,omitempty"`
	Data     []byte     `json:"data,omitempty"`
	Peer     *dist.Peer `json:"peer,omitempty"`

	fd  int  // that comes along, owned; 0: none, for a descriptor is 3 or higher
	now bool // somebody waits for it, whatever it is about
}

// idle tells whether a word may wait: not one by which the front learns of a peer that it has not heard of.
func (w *word) idle() bool {
	switch w.Topic {
	case sayTook, sayOver:
		return !w.now
	case sayUp:
		return w.Key == w.Name
	}
	return false
}

// A word owns its descriptor, and the keys of a session. Who takes a word drops it once it is dealt with, on both sides and whatever the
// topic; what somebody goes on with, the word has given away before that, by keep.

// keep gives the word, with what it owns, to who goes on with it.
func (w *word) keep() word {
	kept := *w
	w.fd, w.State = 0, nil
	return kept
}

// drop closes the descriptor of a word, and clears the keys of the session that came with it.
func (w *word) drop() {
	clear(w.State)
	if w.fd > 0 {
		_ = closeDescriptor(w.fd)
		w.fd = 0
	}
}

// dropAll drops words that nobody has taken.
func dropAll(words []word) {
	for i := range words {
		words[i].drop()
	}
}

// errLost: a word has come without its descriptor, for there was no number free (RLIMIT_NOFILE).
var errLost = fmt.Errorf("its descriptor was lost: %w", handoff.ErrDescriptorsLost)

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
