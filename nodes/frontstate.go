package nodes

import (
	"encoding/json"
	"fmt"
	"time"
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

func (s *frontState) describe(f *form) {
	f.bytes(1, must, &s.node)
	number(f, 2, must, &s.descriptors)
	number(f, 3, must, &s.arrivals)
	number(f, 4, must, &s.lastPart)
	each(f, 5, must, "worker", &s.crew)
	each(f, 6, must, "route", &s.routes)
	each(f, 7, must, "name", &s.names)
	number(f, 8, given, &s.roll)
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

func (s *crewState) describe(f *form) {
	number(f, 1, must, &s.slot)
	number(f, 2, must, &s.part)
	number(f, 3, must, &s.pid)
	number(f, 4, given, &s.handle)
	number(f, 5, must, &s.line)
	f.bool(6, must, &s.ready)
	f.bool(7, may, &s.hangs)
	number(f, 8, must, &s.sessions)
	number(f, 9, may, &s.age)
	each(f, 10, must, "word", &s.words)
	each(f, 11, must, "session", &s.untaken)
	number(f, 12, may, &s.moves)
	number(f, 13, may, &s.socket)
}

// A wordState is a word that waits: as the line carries it, in JSON.
type wordState struct {
	json       []byte
	descriptor place
}

func (s *wordState) describe(f *form) {
	f.bytes(1, must, &s.json)
	number(f, 2, given, &s.descriptor)
}

// A sessionState is one that its worker has not taken yet.
type sessionState struct {
	way        int
	descriptor place // nowhere: it was withdrawn
	peer       string
	socket     uint64
}

func (s *sessionState) describe(f *form) {
	number(f, 1, must, &s.way)
	number(f, 2, given, &s.descriptor)
	text(f, 3, may, &s.peer)
	number(f, 4, may, &s.socket)
}

// A routeState says which workers have something to do with a peer.
type routeState struct {
	peer  string
	order uint64 // 0: earlier versions want it
	at    int    // the part; 0: nobody
	held  []heldState

	proven bool
}

func (s *routeState) describe(f *form) {
	text(f, 1, must, &s.peer)
	number(f, 2, must, &s.order)
	number(f, 3, must, &s.at)
	each(f, 4, must, "worker", &s.held)
	f.bool(5, may, &s.proven)
}

// A heldState is how much a worker has to do with a peer.
type heldState struct{ part, count int }

func (s *heldState) describe(f *form) {
	number(f, 1, must, &s.part)
	number(f, 2, must, &s.count)
}

// A tenancyState says who has a registered name.
type tenancyState struct {
	name   string
	part   int
	number uint64
}

func (s *tenancyState) describe(f *form) {
	text(f, 1, must, &s.name)
	number(f, 2, must, &s.part)
	number(f, 3, must, &s.number)
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

func (s *workerState) describe(f *form) {
	f.bytes(1, must, &s.node)
	number(f, 2, must, &s.descriptors)
	number(f, 3, must, &s.part)
	number(f, 4, must, &s.latest)
	number(f, 5, must, &s.last)
	number(f, 6, must, &s.line)
	each(f, 7, must, "word", &s.words)
	each(f, 8, must, "work", &s.work)
	each(f, 9, must, "fixed name", &s.fixed)
	each(f, 10, must, "name", &s.claimed)
	each(f, 11, must, "meeting", &s.meets)
	each(f, 12, must, "session", &s.over)
	each(f, 13, must, "question", &s.questions)
	number(f, 14, given, &s.roll)
	each(f, 15, may, "worker", &s.crew)
	each(f, 16, given, "way", &s.coming)
}

// A mateState is a worker that lives.
type mateState struct{ part int }

func (s *mateState) describe(f *form) { number(f, 1, must, &s.part) }

// A meetState is a way to a peer that another worker waits for.
type meetState meeting

func (s *meetState) describe(f *form) {
	text(f, 1, must, &s.peer)
	number(f, 2, must, &s.to)
}

// words describes words. Their descriptors stay theirs.
func (t *descriptorTable) words(list []word) ([]wordState, error) {
	var states []wordState
	for _, w := range list {
		b, err := json.Marshal(w)
		if err != nil {
			return nil, err
		}
		s := wordState{json: b}
		if w.fd > 0 {
			s.descriptor = placeOf(t.add(w.fd))
		}
		states = append(states, s)
	}
	return states, nil
}

// takeWords makes words of their description. On failure the descriptors of those that were made are closed.
func (l *descriptorList) takeWords(states []wordState) (list []word, err error) {
	for i := range states {
		var w word
		if err = json.Unmarshal(states[i].json, &w); err != nil {
			err = &StateError{"word", fmt.Errorf("%w: %w", ErrState, err)}
		} else if at := states[i].descriptor.index(); at >= 0 {
			w.fd, err = l.takeOne(at)
		}
		if err != nil {
			dropAll(list)
			return nil, err
		}
		list = append(list, w)
	}
	return list, nil
}

// takeRoll opens the roll of a state that has one.
func (l *descriptorList) takeRoll(p place) (*roll, error) {
	at := p.index()
	if at < 0 {
		return nil, nil
	}
	fd, err := l.takeOne(at)
	if err != nil {
		return nil, err
	}
	return openRoll(fd)
}

// takeFirst gives the first descriptors away, as a list of its own.
func (l *descriptorList) takeFirst(n int) (*descriptorList, error) {
	fds, err := l.take(0, n)
	return &descriptorList{fds}, err
}
