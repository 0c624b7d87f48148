package nodes

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport/handoff"
)

// What the front and a worker say to each other, word by word. A word has a topic, and of the other fields those that the topic's comment
// names, with what they mean there; "+" is a descriptor that comes along. Part is always the number of a worker, but for took; whoever says
// a word does not name itself in it.

// A topic is what a word is about.
type topic string

// What the front says to a worker (Worker.take).
const (
	sayWelcome  topic = "welcome"  // who you are: Part is your number; Name, Creation: the node's; + the roll of names, if there is one
	saySessions topic = "sessions" // further sessions come through another socket: ID is its number; + it
	saySession  topic = "session"  // one that BIND 10's form cannot carry: Plugin, Place: see carriage; State of it; Data read so far; + it
	sayProbe    topic = "probe"    // are you there? ID is the probe's
	sayMeet     topic = "meet"     // the worker Part wants a way to the peer Name: say shadow or none to it
	sayAnswer   topic = "answer"   // ID: the question's (claim, register, lookup, which say what else there is)
	sayFinish   topic = "finish"   // end in good order
	sayMove     topic = "move"     // give everything to another process: ID is the move's; + the channel to it
)

// What a worker says to the front (crewman.take).
const (
	sayReady   topic = "ready"   // sessions may come
	sayTook    topic = "took"    // the oldest untaken session has been taken, of those that came this way: Part is viaForwarder or viaLine
	sayShut    topic = "shut"    // the socket for sessions with the number ID is no more; what was left in it, or an earlier one, is lost
	sayHere    topic = "here"    // I am: ID is the probe's
	sayUp      topic = "up"      // a connection to the peer Name is up, whose session or claim was counted under Key, "" of one without a name
	sayOver    topic = "over"    // a session, claim or connection of the peer Name has ended
	sayRelease topic = "release" // nobody here has the registered Name any more
	sayMoved   topic = "moved"   // another process is the worker now: Number is its process id, which the front knows
	sayStayed  topic = "stayed"  // the old process is the worker still: ID is the move's, Name an error's text
)

// What a worker asks the front. ID is the question's; the answer has it too, and what is behind the arrow.
const (
	sayClaim    topic = "claim"    // may I connect to the peer Name? → Part: you, yes; another one, it has been told to meet you
	sayRegister topic = "register" // may the process with the key Number have this Name? → OK
	sayLookup   topic = "lookup"   // who has this Name? → OK: somebody, in the worker Part, a process with the key Number
)

// What both say, each with a meaning of its own. Of shadow and none the front passes on what a worker says: Part is the one to whom, and
// then the one from whom.
const (
	// Front: this is your way to the worker Part, and ID the newest worker's number; + its socket. Without ID and +: that way is lost.
	// Worker: I have none to the worker Part.
	saySibling topic = "sibling"
	// Front: the peer Name has connected anew elsewhere, or, with OK, another worker has closed its shadow of your connection.
	// Worker: I have closed my shadow of the connection to the peer Name.
	sayDrop topic = "drop"

	sayShadow topic = "shadow" // this is a way to Peer, to which I am connected; + its socket
	sayNone   topic = "none"   // I have no connection to the peer Name. Of the front, without Name: the worker Part has ended
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
	Number   uint64     `json:"number,omitempty"`
	Plugin   string     `json:"plugin,omitempty"`
	Place    int        `json:"place,omitempty"`
	State    []byte     `json:"state,omitempty"`
	Data     []byte     `json:"data,omitempty"`
	Peer     *dist.Peer `json:"peer,omitempty"`

	fd  int  // that comes along, owned; 0: none, for a descriptor is 3 or higher
	now bool // somebody waits for it, whatever it is about
}

// Words whose fields do not say what they are.

func tookWord(via int) word                   { return word{Topic: sayTook, Part: via} }
func movedWord(pid int) word                  { return word{Topic: sayMoved, Number: uint64(pid)} }
func stayedWord(move uint64, why string) word { return word{Topic: sayStayed, ID: move, Name: why} }
func noneWord(to int, peer string) word       { return word{Topic: sayNone, Part: to, Name: peer} }
func endedWord(worker int) word               { return word{Topic: sayNone, Part: worker} }

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
