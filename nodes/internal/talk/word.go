package talk

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A word has a topic. Of the other fields it has those that the topic's comment names, which says
// what they mean there; "+" is a descriptor that comes along. Part is always the number of a
// worker, except in Took; the sender of a word does not name itself in it.

// A Topic is what a word is about.
type Topic string

// What the front says to a worker.
const (
	// who you are: Part is your number; Name, Creation: the node's; + the roll of names, if there
	// is one
	Welcome Topic = "welcome"
	// further sessions come through another socket: ID is its number; + the socket
	Sessions Topic = "sessions"
	// one unfit for BIND 10's form: Plugin, Place among those of its name; its State; Data read; +
	// its socket
	Session Topic = "session"
	Probe   Topic = "probe" // are you there? ID is the probe's
	// the worker Part wants a way to the peer Name: say shadow or none to it
	Meet Topic = "meet"
	// ID: the question's (claim, register, lookup, which say what else there is)
	Answer Topic = "answer"
	Finish Topic = "finish" // end in good order
	// give everything to another process: ID is the move's; + the channel to it
	Move Topic = "move"
)

// What a worker says to the front.
const (
	Ready Topic = "ready" // sessions may come
	// the oldest untaken session has been taken, of those that came this way: Part is ViaForwarder
	// or ViaLine
	Took Topic = "took"
	// the socket for sessions with the number ID is no more; what was left in it, or an earlier
	// one, is lost
	Shut Topic = "shut"
	Here Topic = "here" // I am: ID is the probe's
	// a connection to the peer Name is up, whose session or claim was counted under Key, "" if it
	// had no name
	Up Topic = "up"
	// a session, claim or connection of the peer Name has ended; OK: it was a session that could
	// not be taken
	Over    Topic = "over"
	Release Topic = "release" // no process here has the registered Name any more
	// another process is the worker now: Number is its id, known to the front
	Moved Topic = "moved"
	// the old process is the worker still: ID is the move's, Name an error's text
	Stayed Topic = "stayed"
)

// What a worker asks the front. ID is the question's; the answer has the same ID, and what stands
// behind the arrow.
const (
	// may I connect to the peer Name? → Part: if you, yes; if another worker, it has been told to
	// meet you
	Claim    Topic = "claim"
	Register Topic = "register" // may the process with the key Number have this Name? → OK
	// who has this Name? → OK: it is registered, in the worker Part, by the process with the key
	// Number
	Lookup Topic = "lookup"
)

// What both say, each with a meaning of its own. The front passes a worker's shadow and none on to
// another worker: in what the first one says Part is the receiver, and in what the front passes on
// it is the sender.
const (
	// Front: this is your way to the worker Part, and ID the newest worker's number; + its socket.
	// Without ID and +: that way is lost. Worker: I have no way to the worker Part.
	Sibling Topic = "sibling"
	// Front: the peer Name has connected anew elsewhere, or, with OK, another worker has closed its
	// shadow of your connection. Worker: I have closed my shadow of the connection to the peer
	// Name.
	Drop Topic = "drop"

	Shadow Topic = "shadow" // this is a way to Peer, to which I am connected; + its socket
	// I have no connection to the peer Name. Of the front, without Name: the worker Part has ended
	None Topic = "none"
)

// The two ways in which a session comes to a worker.
const (
	ViaForwarder = iota // in BIND 10's form, through the socket for sessions
	ViaLine             // as a word, Session
)

// A Word is one message between the front and a worker.
type Word struct {
	Topic    Topic      `json:"t"`
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

	FD  int  `json:"-"` // that comes along, owned; 0: none, since a descriptor is 3 or higher
	Now bool `json:"-"` // not to be kept back, whatever its topic: the other side waits for it
}

// Constructors of words whose fields do not speak for themselves.

// TookWord says that the oldest of the sessions that came in one of the two ways has been taken.
func TookWord(via int) Word { return Word{Topic: Took, Part: via} }

// UntakenWord says that the session of a peer could not be taken, as for want of a descriptor.
func UntakenWord(peer string) Word { return Word{Topic: Over, Name: peer, OK: true, Now: true} }

// MovedWord says which process the worker is now.
func MovedWord(pid int) Word { return Word{Topic: Moved, Number: uint64(pid)} }

// StayedWord says why a move came to nothing.
func StayedWord(move uint64, why string) Word { return Word{Topic: Stayed, ID: move, Name: why} }

// NoneWord says to a worker that there is no connection to a peer.
func NoneWord(to int, peer string) Word { return Word{Topic: None, Part: to, Name: peer} }

// EndedWord says that a worker has ended.
func EndedWord(worker int) Word { return Word{Topic: None, Part: worker} }

// idle tells whether a word may be kept back. A word by which the front learns of a peer that it
// has not heard of may not.
func (w *Word) idle() bool {
	switch w.Topic {
	case Took, Over:
		return !w.Now
	case Up:
		return w.Key == w.Name
	}
	return false
}

// A word owns its descriptor, and the keys of a session. On both sides, and whatever the topic, the
// function that takes a word drops it once it is dealt with; what is still needed then must have
// been taken out of the word before, by Keep.

// Keep returns the word with what it owns; w owns nothing any more.
func (w *Word) Keep() Word {
	kept := *w
	w.FD, w.State = 0, nil
	return kept
}

// Drop closes the descriptor of a word, and clears the keys of the session that came with it.
func (w *Word) Drop() {
	clear(w.State)
	if w.FD > 0 {
		if set, err := handoff.NewFDSet(w.FD); err == nil {
			_ = set.Close()
		}
		w.FD = 0
	}
}

// DropAll drops words that were not taken.
func DropAll(words []Word) {
	for i := range words {
		words[i].Drop()
	}
}

// ErrLost: a word has come without its descriptor, since no descriptor number was free
// (RLIMIT_NOFILE).
var ErrLost = fmt.Errorf("its descriptor was lost: %w", handoff.ErrDescriptorsLost)

// parseWords gives the words of a message to take. fd is that of the first one.
func parseWords(b []byte, fd int, take func(Word)) error {
	var words []Word
	err := json.Unmarshal(b, &words)
	if err == nil && len(words) == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		(&Word{FD: fd}).Drop()
		return err
	}
	words[0].FD = fd
	for _, w := range words {
		take(w)
	}
	return nil
}
