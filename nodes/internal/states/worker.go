package states

import "github.com/cnode-go/cnode/nodes/internal/form"

// PartBits is how many bits of a pid's serial say in which worker the pid was made, 1 to MaxPart.
const (
	PartBits = 13
	MaxPart  = 1<<PartBits - 1
)

// A Worker is the state of a worker.
type Worker struct {
	Node        []byte
	Descriptors int // of the node
	Part        int
	Latest      int
	Last        uint64
	Line        int // where the line's descriptor is
	Unsent      []LineMessage
	Work        []LineMessage // heard from the front, and not done yet
	Fixed       []Name
	Claimed     []Name
	Meets       []Meeting
	// peers of sessions and connections that the front has counted, and that end with the old process
	Over      []Name
	Questions []LineMessage
	NameTable Place         // of the name table's descriptor
	Crew      []Mate        // including this one
	Coming    []LineMessage // ways to other workers that wait for the ones before them to end
}

func (s *Worker) Describe(f *form.Fields) {
	f.Bytes(1, form.Must, &s.Node)
	form.Number(f, 2, form.Must, &s.Descriptors)
	form.Number(f, 3, form.Must, &s.Part)
	form.Number(f, 4, form.Must, &s.Latest)
	form.Number(f, 5, form.Must, &s.Last)
	form.Number(f, 6, form.Must, &s.Line)
	form.Each(f, 7, form.Must, "message", &s.Unsent)
	form.Each(f, 8, form.Must, "work", &s.Work)
	form.Each(f, 9, form.Must, "fixed name", &s.Fixed)
	form.Each(f, 10, form.Must, "name", &s.Claimed)
	form.Each(f, 11, form.Must, "meeting", &s.Meets)
	form.Each(f, 12, form.Must, "session", &s.Over)
	form.Each(f, 13, form.Must, "question", &s.Questions)
	form.Number(f, 14, form.Given, &s.NameTable)
	form.Each(f, 15, form.Must, "worker", &s.Crew)
	form.Each(f, 16, form.Given, "way", &s.Coming)
}

// A Mate is a worker that lives.
type Mate struct{ Part int }

func (s *Mate) Describe(f *form.Fields) { form.Number(f, 1, form.Must, &s.Part) }

// A Meeting is a way to a peer that another worker waits for.
type Meeting struct {
	Peer string
	To   int
}

func (s *Meeting) Describe(f *form.Fields) {
	form.Text(f, 1, form.Must, &s.Peer)
	form.Number(f, 2, form.Must, &s.To)
}
