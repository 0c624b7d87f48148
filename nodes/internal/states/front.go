package states

import (
	"time"

	"github.com/cnode-go/cnode/nodes/internal/form"
)

// A Front is the state of a front.
type Front struct {
	Node        []byte
	Descriptors int    // of the node
	Arrivals    uint64 // connections accepted, ever
	LastPart    int
	Crew        []Crewman
	Routes      []Route
	Names       []Tenancy
	NameTable   Place // of the name table's descriptor
}

func (s *Front) Describe(f *form.Fields) {
	f.Bytes(1, form.Must, &s.Node)
	form.Number(f, 2, form.Must, &s.Descriptors)
	form.Number(f, 3, form.Must, &s.Arrivals)
	form.Number(f, 4, form.Must, &s.LastPart)
	form.Each(f, 5, form.Must, "worker", &s.Crew)
	form.Each(f, 6, form.Must, "route", &s.Routes)
	form.Each(f, 7, form.Must, "name", &s.Names)
	form.Number(f, 8, form.Given, &s.NameTable)
}

// A Crewman is a worker, as the front sees it.
type Crewman struct {
	Slot, Part int
	PID        int
	Handle     Place // of the descriptor by which the end of its process is seen
	Line       int   // where the line's descriptor is
	Ready      bool
	Hangs      bool
	Sessions   int
	Age        time.Duration // of the process
	Moves      uint64
	Unsent     []LineMessage // to be said
	Untaken    []Session
	Socket     uint64 // the number of the latest socket for sessions
}

func (s *Crewman) Describe(f *form.Fields) {
	form.Number(f, 1, form.Must, &s.Slot)
	form.Number(f, 2, form.Must, &s.Part)
	form.Number(f, 3, form.Must, &s.PID)
	form.Number(f, 4, form.Given, &s.Handle)
	form.Number(f, 5, form.Must, &s.Line)
	f.Bool(6, form.Must, &s.Ready)
	f.Bool(7, form.May, &s.Hangs)
	form.Number(f, 8, form.Must, &s.Sessions)
	form.Number(f, 9, form.May, &s.Age)
	form.Each(f, 10, form.Must, "message", &s.Unsent)
	form.Each(f, 11, form.Must, "session", &s.Untaken)
	form.Number(f, 12, form.May, &s.Moves)
	form.Number(f, 13, form.May, &s.Socket)
}

// A LineMessage is a message that waits: as the line carries it, in JSON.
type LineMessage struct {
	JSON       []byte
	Descriptor Place
}

func (s *LineMessage) Describe(f *form.Fields) {
	f.Bytes(1, form.Must, &s.JSON)
	form.Number(f, 2, form.Given, &s.Descriptor)
}

// A Session is a session that its worker has not taken yet.
type Session struct {
	Via        int   // talk.ViaForwarder or talk.ViaLine
	Descriptor Place // nowhere: the session was withdrawn
	Peer       string
	Socket     uint64
}

func (s *Session) Describe(f *form.Fields) {
	form.Number(f, 1, form.Must, &s.Via)
	form.Number(f, 2, form.Given, &s.Descriptor)
	form.Text(f, 3, form.May, &s.Peer)
	form.Number(f, 4, form.May, &s.Socket)
}

// A Route says which workers have something to do with a peer.
type Route struct {
	Peer   string
	At     int // the worker's number
	Held   []Held
	Proven bool
}

func (s *Route) Describe(f *form.Fields) {
	form.Text(f, 1, form.Must, &s.Peer)
	form.Number(f, 2, form.Must, &s.At)
	form.Each(f, 3, form.Must, "worker", &s.Held)
	f.Bool(4, form.May, &s.Proven)
}

// A Held is how many sessions and connections of a peer a worker has.
type Held struct{ Part, Count int }

func (s *Held) Describe(f *form.Fields) {
	form.Number(f, 1, form.Must, &s.Part)
	form.Number(f, 2, form.Must, &s.Count)
}

// A Tenancy says which process has a registered name.
type Tenancy struct {
	Name   string
	Part   int
	Number uint64
}

func (s *Tenancy) Describe(f *form.Fields) {
	form.Text(f, 1, form.Must, &s.Name)
	form.Number(f, 2, form.Must, &s.Part)
	form.Number(f, 3, form.Must, &s.Number)
}
