package pubsub

import (
	"cmp"
	"maps"
	"slices"

	"github.com/cnode-go/cnode/ei"
)

// What a shard knows, as Phoenix.Tracker.State has it: an observed-remove set without tombstones.
// Each replica numbers its own changes, its clock; the number of a join is the entry's tag. A leave
// is a number too: that an entry is gone is seen from its tag, which the other side has counted,
// and which has no value there any more.

// A replica is one incarnation of a shard on a node: {Node, Vsn}.
type replica struct {
	_    struct{} `ei:"tuple"`
	Node ei.Atom
	Vsn  int64
}

// A tag is one change by a replica: {Replica, Clock}.
type tag struct {
	_       struct{} `ei:"tuple"`
	Replica replica
	Clock   uint64
}

// A contextOf says up to which clock everything by each replica is known.
type contextOf map[replica]uint64

// A cloud holds the clocks that are known beyond that of the context.
type cloud map[uint64]struct{}

// An id tells the entries of all topics apart. A process may be tracked once under a key of a
// topic.
type id struct {
	topic string
	pid   ei.Pid
	key   string // encoded
}

// An entry is a process that is tracked. It does not change: an update is another entry.
type entry struct {
	id
	meta ei.Raw
	tag  tag
}

// is tells whether both are the same: a replica that was forgotten gives its entries anew.
func (e *entry) is(other *entry) bool {
	return e == other || e != nil && other != nil && e.id == other.id && e.tag == other.tag
}

// A crdt is the set of what replicas track.
type crdt struct {
	own
	context contextOf
	clouds  map[replica]cloud
	down    map[replica]bool // whose entries are hidden
	entries map[id]*entry
	topics  map[string]map[id]*entry
	tags    map[replica]map[uint64]*entry
	bytes   map[replica]int // what their entries take
}

func newCRDT() *crdt {
	return &crdt{
		context: contextOf{}, clouds: map[replica]cloud{}, down: map[replica]bool{},
		entries: map[id]*entry{}, topics: map[string]map[id]*entry{}, tags: map[replica]map[uint64]*entry{},
		bytes: map[replica]int{}, own: own{pids: map[ei.Pid]map[id]struct{}{}},
	}
}

// What an entry, without its texts, and a clock of a cloud count towards PresenceOptions.Limit.
const (
	entryCost = 512
	clockCost = 64
)

func (e *entry) cost() int { return entryCost + len(e.topic) + len(e.key) + len(e.meta) }

// exceeds are the replicas that would take more than limit with what a delta adds.
func (s *crdt) exceeds(d *delta, limit int) map[replica]int {
	more := map[replica]int{}
	valued := make(map[tag]bool, len(d.values))
	for _, e := range d.values {
		valued[e.tag] = true
		if _, known := s.context[e.tag.Replica]; known && !s.context.knows(s.clouds, e.tag) {
			more[e.tag.Replica] += e.cost()
		}
	}
	for _, e := range s.observed(d) {
		if !valued[e.tag] { // it goes in the same moment
			more[e.tag.Replica] -= e.cost()
		}
	}
	for r, theirs := range d.clouds {
		if ours, known := s.context[r]; known {
			for c := range theirs {
				if c > ours {
					more[r] += clockCost
				}
			}
		}
	}
	maps.DeleteFunc(more, func(r replica, bytes int) bool { return bytes+s.bytes[r]+clockCost*len(s.clouds[r]) <= limit })
	return more
}

// without leaves out what a delta says of a replica.
func (d *delta) without(r replica) {
	delete(d.context, r)
	delete(d.clouds, r)
	d.values = slices.DeleteFunc(d.values, func(e *entry) bool { return e.tag.Replica == r })
}

// A delta is what a replica says: what it has changed, or all it knows of some replicas.
type delta struct {
	context contextOf // empty for changes
	clouds  map[replica]cloud
	values  []*entry

	// of one that is to be said: by whom, and from which clock to which it has the changes
	of       replica
	isState  bool
	from, to uint64
}

// visible is the entry of that id, unless its replica is down; nil if there is none.
func (s *crdt) visible(i id) *entry {
	if e := s.entries[i]; e != nil && !s.down[e.tag.Replica] {
		return e
	}
	return nil
}

// knows tells whether a change is known: in the context or in a cloud.
func (context contextOf) knows(clouds map[replica]cloud, t tag) bool {
	if c, ok := context[t.Replica]; ok && t.Clock <= c {
		return true
	}
	_, ok := clouds[t.Replica][t.Clock]
	return ok
}

// merge takes over what another replica says of replicas that are known here, and tells which ids
// that concerns.
func (s *crdt) merge(d *delta) (changed []id) {
	valued := make(map[tag]bool, len(d.values))
	var joined []*entry
	for _, e := range d.values {
		valued[e.tag] = true
		if _, known := s.context[e.tag.Replica]; known && !s.context.knows(s.clouds, e.tag) {
			joined = append(joined, e)
		}
	}
	for _, e := range s.observed(d) {
		if !valued[e.tag] {
			s.remove(e)
			changed = append(changed, e.id)
		}
	}
	for _, e := range joined {
		if !s.isOutdated(e) {
			// a peer that says a tag twice has lied, and the entry that nothing leads to any more would stay
			if old := s.tags[e.tag.Replica][e.tag.Clock]; old != nil {
				s.remove(old)
				changed = append(changed, old.id)
			}
			s.insert(e)
			changed = append(changed, e.id)
		}
	}
	for r, theirs := range d.clouds {
		if _, known := s.context[r]; known && len(theirs) > 0 {
			if s.clouds[r] == nil {
				s.clouds[r] = make(cloud, len(theirs))
			}
			for c := range theirs {
				if c > s.context[r] {
					s.clouds[r][c] = struct{}{}
				}
			}
			s.compact(r)
		}
	}
	for r, clock := range d.context {
		if ours, known := s.context[r]; known && clock > ours {
			maps.DeleteFunc(s.clouds[r], func(c uint64, _ struct{}) bool { return c <= clock })
			s.context[r] = clock
			s.compact(r)
		}
	}
	return changed
}

// isOutdated tells whether an entry comes late: its replica, a later one of the same node, or this
// one in its place, has tracked the same process anew.
func (s *crdt) isOutdated(e *entry) bool {
	now := s.entries[e.id]
	if now == nil || now.tag.Replica == s.me {
		return now != nil
	}
	a, b := e.tag, now.tag
	return a.Replica.Node == b.Replica.Node && cmp.Or(cmp.Compare(a.Replica.Vsn, b.Replica.Vsn), cmp.Compare(a.Clock, b.Clock)) < 0
}

// observed are the entries here that the other side has counted.
func (s *crdt) observed(d *delta) (es []*entry) {
	for r, clock := range d.context {
		for c, e := range s.tags[r] {
			if c <= clock {
				es = append(es, e)
			}
		}
	}
	for r, theirs := range d.clouds {
		for c := range theirs {
			if e := s.tags[r][c]; e != nil && c > d.context[r] {
				es = append(es, e)
			}
		}
	}
	return es
}

// compact moves to the context what follows it without a gap.
func (s *crdt) compact(r replica) {
	beyond, clock := s.clouds[r], s.context[r]
	for {
		if _, ok := beyond[clock+1]; !ok {
			break
		}
		clock++
		delete(beyond, clock)
	}
	s.context[r] = clock
	if len(beyond) == 0 {
		delete(s.clouds, r)
	}
}

func (s *crdt) insert(e *entry) {
	if old := s.entries[e.id]; old != nil {
		s.remove(old)
	}
	s.entries[e.id] = e
	s.bytes[e.tag.Replica] += e.cost()
	put(s.topics, e.topic, e.id, e)
	put(s.tags, e.tag.Replica, e.tag.Clock, e)
}

func (s *crdt) remove(e *entry) {
	delete(s.entries, e.id)
	s.bytes[e.tag.Replica] -= e.cost()
	drop(s.topics, e.topic, e.id)
	drop(s.tags, e.tag.Replica, e.tag.Clock)
}

// put and drop keep a table of tables, none of which is empty.
func put[A, B comparable, V any](tables map[A]map[B]V, a A, b B, v V) {
	if tables[a] == nil {
		tables[a] = map[B]V{}
	}
	tables[a][b] = v
}

func drop[A, B comparable, V any](tables map[A]map[B]V, a A, b B) {
	if delete(tables[a], b); len(tables[a]) == 0 {
		delete(tables, a)
	}
}

// up makes a replica known, and its entries visible.
func (s *crdt) up(r replica) (changed []id) {
	if _, known := s.context[r]; !known {
		s.context[r] = 0
	}
	delete(s.down, r)
	return s.of(r)
}

// hide hides the entries of a replica that is silent.
func (s *crdt) hide(r replica) (changed []id) {
	s.down[r] = true
	return s.of(r)
}

// forget removes a replica that will not come back, and its entries.
func (s *crdt) forget(r replica) (changed []id) {
	changed = s.of(r)
	for _, e := range s.tags[r] {
		s.remove(e)
	}
	delete(s.context, r)
	delete(s.clouds, r)
	delete(s.down, r)
	delete(s.bytes, r)
	return changed
}

func (s *crdt) of(r replica) (ids []id) {
	for _, e := range s.tags[r] {
		ids = append(ids, e.id)
	}
	return ids
}
