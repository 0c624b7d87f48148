package states

import "github.com/cnode-go/cnode/nodes/internal/form"

// A Listener is the state of a listener.
type Listener struct {
	TransportID
	Descriptor int
	Serves     bool // it is Start's, and accepts by itself
	KeepsPath  bool // the file of its socket is not its own, and stays
	Begun      bool // it accepts without another Accept
}

func (s *Listener) Describe(f *form.Fields) {
	form.Text(f, 1, form.Must, &s.Plugin)
	form.Number(f, 2, form.Must, &s.Descriptor)
	f.Bool(3, form.May, &s.Serves)
	// another transport may let in peers that this one does not
	form.Number(f, 4, form.Given, &s.Place)
	f.Bool(5, form.May, &s.KeepsPath)
	f.Bool(6, form.May, &s.Begun)
}

// A Publication is a name that is published in a way that can move.
type Publication struct {
	State       []byte // the Publication's own
	Descriptors int    // how many, from First on
	First       int
}

func (s *Publication) Describe(f *form.Fields) {
	f.Bytes(1, form.Must, &s.State)
	form.Number(f, 2, form.Must, &s.Descriptors)
	form.Number(f, 3, form.Must, &s.First)
}

// A Node is the state of a whole node.
type Node struct {
	Name        string
	Creation    uint32
	Pids, Refs  uint64 // counters
	Started     bool
	Published   bool
	Conns       []Conn
	Mailboxes   form.List[Mailbox]
	Orphans     []Bonds // of processes that do not move: calls in progress
	Listeners   []Listener
	Publication *Publication // nil: there is none that moves
	Blob        []byte       // the application's
	Stats       [7]int64
	Bytes       int // about how many the state takes
}

// Room is how much room is made for the state before it is written.
func (s *Node) Room() int { return s.Bytes }

func (s *Node) Describe(f *form.Fields) {
	form.Text(f, 1, form.Must, &s.Name)
	form.Number(f, 2, form.Must, &s.Creation)
	form.Number(f, 3, form.Must, &s.Pids)
	form.Number(f, 4, form.Must, &s.Refs)
	f.Bool(5, form.Must, &s.Started)
	f.Bool(6, form.Must, &s.Published)
	form.Each(f, 7, form.Must, "connection", &s.Conns)
	form.Stream(f, 8, form.Must, "mailbox", &s.Mailboxes)
	form.Each(f, 9, form.May, "call", &s.Orphans)
	form.Each(f, 10, form.Must, "listener", &s.Listeners)
	form.One(f, 11, form.Must, "publication", &s.Publication)
	f.Bytes(12, form.May, &s.Blob)
	for i := range s.Stats {
		form.Number(f, 13+uint64(i), form.May, &s.Stats[i])
	}
}

// A TransportID says, to another process, which of the Config's transports carries something.
// Several may have one name, each with keys and checks of its own: then their order in the Config
// tells which one is meant.
type TransportID struct {
	Plugin string
	// among those of the name, from 0 on; also 0 for one that is not in the Config: a Resolver's, say
	Place int
}
