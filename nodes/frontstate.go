package nodes

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/roll"
	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// The states of a front and of a worker hold that of the node, and what they are to each other. Their descriptors come behind the node's;
// the places that they name count from there.

// A frontState is a front.
type frontState struct {
	node        []byte
	descriptors int    // of the node
	arrivals    uint64 // connections accepted, ever
	lastPart    int
	crew        []crewState
	routes      []routeState
	names       []tenancyState
	roll        place // of the roll's descriptor
}

func (s *frontState) Describe(f *form.Fields) {
	f.Bytes(1, form.Must, &s.node)
	form.Number(f, 2, form.Must, &s.descriptors)
	form.Number(f, 3, form.Must, &s.arrivals)
	form.Number(f, 4, form.Must, &s.lastPart)
	form.Each(f, 5, form.Must, "worker", &s.crew)
	form.Each(f, 6, form.Must, "route", &s.routes)
	form.Each(f, 7, form.Must, "name", &s.names)
	form.Number(f, 8, form.Given, &s.roll)
}

// A crewState is a worker, as the front sees it.
type crewState struct {
	slot, part int
	pid        int
	handle     place // of the descriptor by which its end is seen
	line       int   // where the line's is
	ready      bool
	hangs      bool
	sessions   int
	age        time.Duration // of the process
	moves      uint64
	words      []wordState // to be said
	untaken    []sessionState
	socket     uint64 // the number of the latest socket for sessions
}

func (s *crewState) Describe(f *form.Fields) {
	form.Number(f, 1, form.Must, &s.slot)
	form.Number(f, 2, form.Must, &s.part)
	form.Number(f, 3, form.Must, &s.pid)
	form.Number(f, 4, form.Given, &s.handle)
	form.Number(f, 5, form.Must, &s.line)
	f.Bool(6, form.Must, &s.ready)
	f.Bool(7, form.May, &s.hangs)
	form.Number(f, 8, form.Must, &s.sessions)
	form.Number(f, 9, form.May, &s.age)
	form.Each(f, 10, form.Must, "word", &s.words)
	form.Each(f, 11, form.Must, "session", &s.untaken)
	form.Number(f, 12, form.May, &s.moves)
	form.Number(f, 13, form.May, &s.socket)
}

// A wordState is a word that waits: as the line carries it, in JSON.
type wordState struct {
	json       []byte
	descriptor place
}

func (s *wordState) Describe(f *form.Fields) {
	f.Bytes(1, form.Must, &s.json)
	form.Number(f, 2, form.Given, &s.descriptor)
}

// A sessionState is one that its worker has not taken yet.
type sessionState struct {
	way        int
	descriptor place // nowhere: it was withdrawn
	peer       string
	socket     uint64
}

func (s *sessionState) Describe(f *form.Fields) {
	form.Number(f, 1, form.Must, &s.way)
	form.Number(f, 2, form.Given, &s.descriptor)
	form.Text(f, 3, form.May, &s.peer)
	form.Number(f, 4, form.May, &s.socket)
}

// A routeState says which workers have something to do with a peer.
type routeState struct {
	peer  string
	order uint64 // 0: earlier versions want it
	at    int    // the part; 0: nobody
	held  []heldState

	proven bool
}

func (s *routeState) Describe(f *form.Fields) {
	form.Text(f, 1, form.Must, &s.peer)
	form.Number(f, 2, form.Must, &s.order)
	form.Number(f, 3, form.Must, &s.at)
	form.Each(f, 4, form.Must, "worker", &s.held)
	f.Bool(5, form.May, &s.proven)
}

// A heldState is how much a worker has to do with a peer.
type heldState struct{ part, count int }

func (s *heldState) Describe(f *form.Fields) {
	form.Number(f, 1, form.Must, &s.part)
	form.Number(f, 2, form.Must, &s.count)
}

// A tenancyState says who has a registered name.
type tenancyState struct {
	name   string
	part   int
	number uint64
}

func (s *tenancyState) Describe(f *form.Fields) {
	form.Text(f, 1, form.Must, &s.name)
	form.Number(f, 2, form.Must, &s.part)
	form.Number(f, 3, form.Must, &s.number)
}

// A workerState is a worker.
type workerState struct {
	node        []byte
	descriptors int // of the node
	part        int
	latest      int
	last        uint64
	line        int // where the line's descriptor is
	words       []wordState
	work        []wordState // heard, and not done
	fixed       []nameState
	claimed     []nameState
	meets       []meetState
	over        []nameState // what the front counted, and is over with the old process
	questions   []wordState
	roll        place       // of the roll's descriptor
	crew        []mateState // with this one; none: an earlier process does not say
	coming      []wordState // ways to other workers that wait for the ones before them to end
}

func (s *workerState) Describe(f *form.Fields) {
	f.Bytes(1, form.Must, &s.node)
	form.Number(f, 2, form.Must, &s.descriptors)
	form.Number(f, 3, form.Must, &s.part)
	form.Number(f, 4, form.Must, &s.latest)
	form.Number(f, 5, form.Must, &s.last)
	form.Number(f, 6, form.Must, &s.line)
	form.Each(f, 7, form.Must, "word", &s.words)
	form.Each(f, 8, form.Must, "work", &s.work)
	form.Each(f, 9, form.Must, "fixed name", &s.fixed)
	form.Each(f, 10, form.Must, "name", &s.claimed)
	form.Each(f, 11, form.Must, "meeting", &s.meets)
	form.Each(f, 12, form.Must, "session", &s.over)
	form.Each(f, 13, form.Must, "question", &s.questions)
	form.Number(f, 14, form.Given, &s.roll)
	form.Each(f, 15, form.May, "worker", &s.crew)
	form.Each(f, 16, form.Given, "way", &s.coming)
}

// A mateState is a worker that lives.
type mateState struct{ part int }

func (s *mateState) Describe(f *form.Fields) { form.Number(f, 1, form.Must, &s.part) }

// A meetState is a way to a peer that another worker waits for.
type meetState meeting

func (s *meetState) Describe(f *form.Fields) {
	form.Text(f, 1, form.Must, &s.peer)
	form.Number(f, 2, form.Must, &s.to)
}

// words describes words. Their descriptors stay theirs.
func (t *descriptorTable) words(list []talk.Word) ([]wordState, error) {
	var states []wordState
	for _, w := range list {
		b, err := json.Marshal(w)
		if err != nil {
			return nil, err
		}
		s := wordState{json: b}
		if w.FD > 0 {
			s.descriptor = placeOf(t.add(w.FD))
		}
		states = append(states, s)
	}
	return states, nil
}

// takeWords makes words of their description. On failure the descriptors of those that were made are closed.
func (l *descriptorList) takeWords(states []wordState) (list []talk.Word, err error) {
	for i := range states {
		var w talk.Word
		if err = json.Unmarshal(states[i].json, &w); err != nil {
			err = &StateError{"word", fmt.Errorf("%w: %w", ErrState, err)}
		} else if at := states[i].descriptor.index(); at >= 0 {
			w.FD, err = l.takeOne(at)
		}
		if err != nil {
			talk.DropAll(list)
			return nil, err
		}
		list = append(list, w)
	}
	return list, nil
}

// takeRoll opens the roll of a state that has one.
func (l *descriptorList) takeRoll(p place) (*roll.Roll, error) {
	at := p.index()
	if at < 0 {
		return nil, nil
	}
	fd, err := l.takeOne(at)
	if err != nil {
		return nil, err
	}
	return roll.Open(fd)
}

// takeFirst gives the first descriptors away, as a list of its own.
func (l *descriptorList) takeFirst(n int) (*descriptorList, error) {
	fds, err := l.take(0, n)
	return &descriptorList{fds}, err
}
