package pubsub

import (
	"maps"
	"slices"

	"github.com/cnode-go/cnode/ei"
)

// What a shard tracks itself, as a replica among the others: each of its changes has a number, and
// is told to the others once; who has missed some asks for them.

// maxDelta is how many changes a replica that has missed them is told of one by one, the largest of
// :max_delta_sizes. Who has missed more gets all that is known.
const maxDelta = 10_000

// An own is what the replica of this node has changed.
type own struct {
	me      replica
	said    uint64    // the clock up to which the others have been told
	removed []removal // the oldest first
	floor   uint64    // the clock up to which removals are not in removed any more
	pids    map[ei.Pid]map[id]struct{}
}

// A removal is that of an entry. It has a clock of its own, also if another entry takes its place:
// the clocks of entries are told once more when these are removed, so that nobody would know that
// it has missed the removal.
type removal struct{ at, tag uint64 }

// clock is how many changes there have been. A replica with none is no replica: nobody hears of it.
func (s *crdt) clock() uint64 { return s.context[s.me] }

func (s *crdt) count() uint64 {
	s.context[s.me]++
	return s.context[s.me]
}

// tracked is this replica's entry of that id; nil if there is none.
func (s *crdt) tracked(i id) *entry {
	if e := s.entries[i]; e != nil && e.tag.Replica == s.me {
		return e
	}
	return nil
}

// join makes an entry of this replica, in the place of the one of that id, if there is one.
func (s *crdt) join(i id, meta ei.Raw) {
	if old := s.tracked(i); old != nil {
		s.removed = append(s.removed, removal{s.count(), old.tag.Clock})
	}
	s.insert(&entry{i, meta, tag{Replica: s.me, Clock: s.count()}})
	put(s.pids, i.pid, i, struct{}{})
}

// leave removes an entry of this replica; false: there is none.
func (s *crdt) leave(i id) bool {
	e := s.tracked(i)
	if e == nil {
		return false
	}
	s.remove(e)
	drop(s.pids, i.pid, i)
	s.removed = append(s.removed, removal{s.count(), e.tag.Clock})
	return true
}

// leaveAll removes those of a process.
func (s *crdt) leaveAll(pid ei.Pid) (changed []id) {
	changed = slices.Collect(maps.Keys(s.pids[pid]))
	for _, i := range changed {
		s.leave(i)
	}
	return changed
}

// since is what this replica has changed after a clock.
func (s *crdt) since(clock uint64) *delta {
	clocks := cloud{}
	d := &delta{of: s.me, from: clock, to: s.clock(), context: contextOf{}, clouds: map[replica]cloud{s.me: clocks}}
	for c := clock + 1; c <= d.to; c++ {
		clocks[c] = struct{}{}
		if e := s.tags[s.me][c]; e != nil {
			d.values = append(d.values, e)
		}
	}
	for _, r := range slices.Backward(s.removed) {
		if r.at <= clock {
			break
		}
		clocks[r.tag] = struct{}{}
	}
	return d
}

// news is what the others have not been told yet, and are now; nil: nothing.
func (s *crdt) news() *delta {
	if s.said == s.clock() {
		return nil
	}
	d := s.since(s.said)
	s.said = d.to
	if more := len(s.removed) - maxDelta; more > 0 {
		s.floor = s.removed[more-1].at
		s.removed = slices.Delete(s.removed, 0, more)
	}
	return d
}

// missed is what a replica lacks that knows so much: changes of this one, or all that is known of
// the replicas that it knows.
func (s *crdt) missed(by replica, theirs contextOf) *delta {
	at, knows := theirs[s.me]
	behind := knows && at >= s.floor && at < s.clock() && s.clock()-at <= maxDelta
	for r, clock := range theirs {
		if r != s.me && r != by && s.context[r] > clock && !s.limit.Lacks(r) {
			behind = false // there is more to tell
		}
	}
	if behind {
		return s.since(at)
	}
	d := &delta{of: s.me, isState: true, context: contextOf{}, clouds: map[replica]cloud{}}
	for r := range theirs {
		// who does not know all of a replica tells nothing of it: what is left out would be gone there
		if clock, known := s.context[r]; known && r != by && !s.limit.Lacks(r) {
			s.putState(d, r, clock)
		}
	}
	return d
}

// state is all that is known.
func (s *crdt) state() *delta {
	d := &delta{of: s.me, isState: true, context: contextOf{}, clouds: map[replica]cloud{}}
	for r, clock := range s.context {
		s.putState(d, r, clock)
	}
	return d
}

func (s *crdt) putState(d *delta, r replica, clock uint64) {
	d.context[r] = clock
	if beyond := s.clouds[r]; beyond != nil {
		d.clouds[r] = maps.Clone(beyond)
	}
	d.values = slices.AppendSeq(d.values, maps.Values(s.tags[r]))
}
