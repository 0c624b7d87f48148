// Package roster has who has been told of which nodes that they are up, and what they are yet to be
// told.
package roster

import (
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
	"github.com/cnode-go/cnode/nodes/internal/peers"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// A Conn is a connection to a node.
type Conn interface {
	comparable
	Name() string // of the node
	Type() int    // of the node, one bit; 0: nobody is told of it
	Err() error   // why it has ended; nil: it is up
}

// A Roster is of which nodes somebody knows that they are up: a process that MonitorNodes reports
// to, or a loop over WatchNodes.
type Roster[C Conn] struct {
	Types int        // that are reported
	Up    map[C]bool // those that were reported as up
}

// Hears tells whether a connection is to be reported that was not yet.
func (s *Roster[C]) Hears(c C) bool { return c.Type()&s.Types != 0 && !s.Up[c] && c.Err() == nil }

func (s *Roster[C]) noteUp(c C) { lazymap.Put(&s.Up, c, true) }

// NoteDown notes that a connection has ended; false: it was not reported.
func (s *Roster[C]) NoteDown(c C) bool {
	knew := s.Up[c]
	delete(s.Up, c)
	return knew
}

// Bonds are what a process is to hear of connections: one nodedown for each call of MonitorNode,
// and what MonitorNodes reports.
type Bonds[C Conn] struct {
	downs map[C]int // whose nodedown MonitorNode asked for, and how often
	Roster[C]
	away map[string]int // the nodes of connections on the roster that have moved to another process, and their types
}

// Owe notes that the process is to get count more nodedowns when a connection ends.
func (s *Bonds[C]) Owe(c C, count int) { lazymap.Put(&s.downs, c, s.downs[c]+count) }

// Owed lists how many there are to be about a node, or about all if it is empty.
func (s *Bonds[C]) Owed(node string) (all []states.Down) {
	for c, count := range s.downs {
		if node == "" || node == c.Name() {
			all = append(all, states.Down{Node: c.Name(), Count: count})
		}
	}
	return all
}

// Awaited is a connection with a node whose nodedown the process is to get.
func (s *Bonds[C]) Awaited(node string) (c C, ok bool) {
	for c := range s.downs {
		if c.Name() == node {
			return c, true
		}
	}
	return c, false
}

// Waive takes one nodedown back; false: none was owed.
func (s *Bonds[C]) Waive(c C) bool {
	count := s.downs[c]
	if count > 1 {
		s.downs[c] = count - 1
	} else {
		delete(s.downs, c)
	}
	return count > 0
}

// Settle says how many nodedowns are owed now that a connection has ended, and owes none any more.
func (s *Bonds[C]) Settle(c C) int {
	count := s.downs[c]
	delete(s.downs, c)
	return count
}

// Watch has these types reported from now on, and returns the connections of which the process
// knows already.
func (s *Bonds[C]) Watch(types int) map[C]bool {
	s.Types, s.away = types, nil
	known := map[C]bool{}
	for c := range s.Up {
		if c.Type()&types == 0 {
			delete(s.Up, c)
		} else {
			known[c] = true
		}
	}
	return known
}

// NoteUp notes that the process knows that a connection is up; back: it never heard that the node
// was away.
func (s *Bonds[C]) NoteUp(c C) (back bool) {
	s.noteUp(c)
	back = s.away[c.Name()] == c.Type()
	delete(s.away, c.Name())
	return back
}

// Depart forgets a connection that has moved to another process.
func (s *Bonds[C]) Depart(c C) {
	delete(s.downs, c)
	if s.NoteDown(c) {
		lazymap.PutFew(&s.away, c.Name(), c.Type(), peers.MaxAway)
	}
}

// Forget ends MonitorNodes.
func (s *Bonds[C]) Forget() { s.Roster, s.away = Roster[C]{}, nil }

// MoveTo gives everything to a process that goes on in the place of this one.
func (s *Bonds[C]) MoveTo(to *Bonds[C]) {
	for c, count := range s.downs {
		to.Owe(c, count)
	}
	to.Types |= s.Types
	for c := range s.Up {
		to.noteUp(c)
	}
	*s = Bonds[C]{}
}
