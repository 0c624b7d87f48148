package roster

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/nodes/internal/lazymap"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// MostEvents is how many events wait for a loop.
const MostEvents = 1024

// Watches are the loops over WatchNodes.
type Watches[C Conn] struct {
	some atomic.Bool // there has been one
	mu   sync.Mutex
	all  map[*Watch[C]]bool
}

// Begin begins a loop, which hears of nodes of these types.
func (s *Watches[C]) Begin(types int) *Watch[C] {
	w := &Watch[C]{known: Roster[C]{Types: types}, behind: true}
	s.mu.Lock()
	defer s.mu.Unlock()
	lazymap.Put(&s.all, w, true)
	s.some.Store(true) // before the loop looks which connections there are
	return w
}

// End ends it.
func (s *Watches[C]) End(w *Watch[C]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, w)
}

// Waiting is how many loops there are, and how many events wait for the one with the most.
func (s *Watches[C]) Waiting() (loops, events int) {
	s.tell(func(w *Watch[C]) { loops, events = loops+1, max(events, len(w.events)) })
	return loops, events
}

// HearUp tells the loops that a connection is up, HearDown that it has ended.
func (s *Watches[C]) HearUp(c C)   { s.tell(func(w *Watch[C]) { w.hear(c, w.noteUp) }) }
func (s *Watches[C]) HearDown(c C) { s.tell(func(w *Watch[C]) { w.hear(c, w.noteDown) }) }

// tell calls what for every loop, which is locked.
func (s *Watches[C]) tell(what func(w *Watch[C])) {
	if !s.some.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.all {
		w.mu.Lock()
		what(w)
		w.mu.Unlock()
	}
}

// An Event says that a connection has come up, or ended.
type Event[C Conn] struct {
	Conn C
	Up   bool
}

// A Watch is what one loop has yet to be told.
type Watch[C Conn] struct {
	mu     sync.Mutex
	known  Roster[C] // by the last of the events
	events []Event[C]
	behind bool // no events are kept until the loop has had those that there are: see catchUp
	change wait.Bell
}

// Next waits for an event; false: the loop is over, since ctx or alive has ended.
func (w *Watch[C]) Next(ctx, alive context.Context, connections func() []C) (e Event[C], ok bool) {
	for {
		w.mu.Lock()
		behind, change := w.behind, w.change.Next()
		if len(w.events) > 0 && ctx.Err() == nil && alive.Err() == nil {
			e, w.events = w.events[0], w.events[1:]
			w.mu.Unlock()
			return e, true
		}
		w.mu.Unlock()
		if behind {
			w.catchUp(connections)
			continue
		}
		select {
		case <-change:
		case <-alive.Done():
			return e, false
		case <-wait.Cancelled(ctx):
			return e, false
		}
	}
}

// catchUp makes events of the difference between what the loop knows and what is. What happens
// after the look at the connections is told once more, or for the first time.
func (w *Watch[C]) catchUp(connections func() []C) {
	w.mu.Lock()
	w.behind = false
	for c := range w.known.Up {
		if c.Err() != nil {
			w.noteDown(c)
		}
	}
	w.mu.Unlock()
	for _, c := range connections() {
		w.mu.Lock()
		if !w.behind { // else an earlier connection of that node may still be known
			w.noteUp(c)
		}
		w.mu.Unlock()
	}
}

// hear notes what has become of a connection, if there is room for one more event; w.mu is held.
func (w *Watch[C]) hear(c C, note func(c C)) {
	if w.behind = w.behind || len(w.events) >= MostEvents; !w.behind {
		note(c)
	}
}

// noteUp adds an event, unless the connection is known, or has ended; w.mu is held.
func (w *Watch[C]) noteUp(c C) {
	if w.known.Hears(c) {
		w.known.noteUp(c)
		w.note(Event[C]{c, true})
	}
}

// noteDown adds an event, if the connection is known; w.mu is held.
func (w *Watch[C]) noteDown(c C) {
	if w.known.NoteDown(c) {
		w.note(Event[C]{c, false})
	}
}

func (w *Watch[C]) note(e Event[C]) {
	w.events = append(w.events, e)
	w.change.Ring()
}
