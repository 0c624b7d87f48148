package states

import (
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/form"
)

// A Clock is the state of a connection's tick timer, with ages in place of times: the two processes
// need not agree on the time of day.
type Clock struct {
	Age    time.Duration // since the last tick
	Idle   bool          // nothing was sent since
	Heard  bool          // something was received since
	Missed int           // ticks in a row without anything received
	At     int64         // the moment of all this, as Conn.Made
}

func (s *Clock) Describe(f *form.Fields) {
	form.Number(f, 1, form.Must, &s.Age)
	f.Bool(2, form.May, &s.Idle)
	f.Bool(3, form.May, &s.Heard)
	form.Number(f, 4, form.May, &s.Missed)
	form.Number(f, 5, form.May, &s.At)
}

// A Conn is the state of a connection.
type Conn struct {
	TransportID
	Export       []byte // the plug-in's own
	Descriptor   int    // its index among those of the node
	Self         string
	SelfCreation uint32
	Peer         dist.Peer
	Initiated    bool
	Pid          ei.Pid    // Conn.Self
	Ahead        []byte    // read, and not consumed: half a frame, or several
	Rest         []byte    // to be sent: the rest of a half-sent frame, then whole ones
	Unread       []Message // read by a Call for other receivers, and not received yet
	Clock        *Clock    // nil: it begins anew
	Bonds        []Bonds   // of a connection that moves by itself; a node's are with its mailboxes
	Received     int64
	Messages     int64
	Sent         int64
	Made         int64  // Conn.made
	Giver        *Giver // of a connection that moves by itself
	// of the listener whose Accept is to return it, in the order of the connections
	Unaccepted Place

	// Between the workers of one node.
	Worker   int   // worker link, relay link
	Shadow   bool  // it is the remote link of another worker's connection
	Trunk    Place // relay link: the place of its peer link among the node's connections
	Links    []Crossing
	Monitors []CrossMonitor
	Staked   bool   // the front counts it …
	Stake    string // … under this name

	Headers  bool         // frames have distribution headers
	Cached   []CachedAtom // the peer's atom cache
	Incoming []Incoming   // messages of which fragments are still to come, by their ids
	Outgoing []Outgoing   // messages that are not out in full, in turn

	Orphans []Orphan
}

func (s *Conn) Describe(f *form.Fields) {
	form.Text(f, 1, form.Must, &s.Plugin)
	f.Bytes(2, form.Must, &s.Export)
	form.Number(f, 3, form.Must, &s.Descriptor)
	form.Text(f, 4, form.Must, &s.Self)
	form.Number(f, 5, form.Must, &s.SelfCreation)
	form.Text(f, 6, form.Must, &s.Peer.Name)
	form.Number(f, 7, form.Must, &s.Peer.Creation)
	form.Number(f, 8, form.Must, &s.Peer.Flags)
	form.Number(f, 9, form.Must, &s.Peer.Announced)
	form.Number(f, 10, form.Must, &s.Peer.Version)
	form.Text(f, 11, form.May, &s.Peer.Status)
	f.Bool(12, form.May, &s.Initiated)
	f.Pid(13, form.Must, &s.Pid)
	f.Bytes(14, form.Must, &s.Ahead)
	f.Bytes(15, form.Must, &s.Rest)
	form.Each(f, 16, form.Must, "message", &s.Unread)
	form.One(f, 17, form.May, "clock", &s.Clock)
	form.Each(f, 18, form.Must, "process", &s.Bonds)
	form.Number(f, 19, form.May, &s.Received)
	form.Number(f, 20, form.May, &s.Messages)
	form.Number(f, 21, form.May, &s.Sent)
	form.Number(f, 22, form.Given, &s.Worker)
	f.Bool(23, form.Given, &s.Shadow)
	form.Number(f, 24, form.Given, &s.Trunk)
	form.Each(f, 25, form.Given, "link", &s.Links)
	form.Each(f, 26, form.Given, "monitor", &s.Monitors)
	f.Bool(27, form.Given, &s.Staked)
	form.Text(f, 28, form.Given, &s.Stake)
	form.Number(f, 29, form.May, &s.Made)
	form.Number(f, 30, form.May, &s.Place)
	form.One(f, 31, form.May, "giver", &s.Giver)
	form.Number(f, 32, form.May, &s.Unaccepted)
	f.Bool(33, form.Given, &s.Headers)
	form.Each(f, 34, form.Given, "atom", &s.Cached)
	form.Each(f, 35, form.Given, "incoming", &s.Incoming)
	form.Each(f, 36, form.Given, "outgoing", &s.Outgoing)
	form.Each(f, 37, form.May, "orphan", &s.Orphans)
	s.Peer.SelfName, s.Peer.SelfCreation = s.Self, s.SelfCreation
}

// An Orphan is a process that the peer has still to make, and whose parent has ended.
type Orphan struct {
	Ref    ei.Ref // of the request
	Reason ei.Raw // of the parent's end
}

func (s *Orphan) Describe(f *form.Fields) {
	f.Ref(1, form.Must, &s.Ref)
	f.Raw(2, &s.Reason)
}

// A Giver says which Node a connection comes from, and from which range that node makes its pids.
type Giver struct {
	Instance uint64 // Node.instance
	Worker   uint16 // Config.Worker
}

func (s *Giver) Describe(f *form.Fields) {
	form.Number(f, 1, form.May, &s.Instance)
	form.Number(f, 2, form.May, &s.Worker)
}

// A Crossing is a link between a process of the peer and one of another worker.
type Crossing struct{ Remote, Local ei.Pid }

func (s *Crossing) Describe(f *form.Fields) {
	f.Pid(1, form.Must, &s.Remote)
	f.Pid(2, form.Must, &s.Local)
}

// A CrossMonitor is a monitor on a process of another worker.
type CrossMonitor struct {
	Ref     ei.Ref
	Watcher ei.Pid
	Pid     ei.Pid
	Name    ei.Atom
}

func (s *CrossMonitor) Describe(f *form.Fields) {
	f.Ref(1, form.Must, &s.Ref)
	f.Pid(2, form.Must, &s.Watcher)
	f.Pid(3, form.May, &s.Pid)
	form.Text(f, 4, form.May, &s.Name)
}

// A CachedAtom is an atom that the peer has sent, and its place in the cache.
type CachedAtom struct {
	Place int
	Atom  ei.Atom
}

func (s *CachedAtom) Describe(f *form.Fields) {
	form.Number(f, 1, form.Must, &s.Place)
	form.Text(f, 2, form.Must, &s.Atom)
}

// An Incoming is a message of which fragments are still to come: protocol.Incomplete.
type Incoming struct {
	Sequence  uint64
	Next      uint64
	Discarded bool
	Message   *Message // the control message; nil, if it is discarded
	Refs      []Name   // the atoms of its header
	Payload   []byte   // what has come of it
}

func (s *Incoming) Describe(f *form.Fields) {
	form.Number(f, 1, form.Must, &s.Sequence)
	form.Number(f, 2, form.Must, &s.Next)
	f.Bool(3, form.Must, &s.Discarded)
	form.One(f, 4, form.Must, "control message", &s.Message)
	form.Each(f, 5, form.Must, "atom", &s.Refs)
	f.Bytes(6, form.Must, &s.Payload)
}

// An Outgoing is a message that is not out in full: the fragments to be sent, or a frame.
type Outgoing struct {
	From     ei.Pid // the sender
	Begun    bool   // the first fragment is out
	Control  []byte // the control message, encoded, if it is not
	Frame    []byte // in place of fragments: one frame, whole
	Sequence uint64
	Next     uint64 // the number of the next fragment
	Size     int    // bytes of the message in a fragment
	Rest     ei.Raw // of the payload
}

func (s *Outgoing) Describe(f *form.Fields) {
	f.Pid(1, form.Must, &s.From)
	f.Bool(2, form.Must, &s.Begun)
	f.Bytes(3, form.Must, &s.Control)
	f.Bytes(4, form.Must, &s.Frame)
	form.Number(f, 5, form.Must, &s.Sequence)
	form.Number(f, 6, form.Must, &s.Next)
	form.Number(f, 7, form.Must, &s.Size)
	f.Bytes(8, form.Must, (*[]byte)(&s.Rest))
}
