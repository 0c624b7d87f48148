package pubsub

import (
	"cmp"
	"maps"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/kept"
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

	// The clocks of tags, among them some of entries that are gone, and those of clouds.
	tagClocks, cloudClocks map[replica]*lowest

	limit   *kept.Limit[replica] // PresenceOptions.Limit
	largest map[replica]int      // bytes of the largest entry that was left out
}

func newCRDT(limit *kept.Limit[replica]) *crdt {
	return &crdt{
		context: contextOf{}, clouds: map[replica]cloud{}, down: map[replica]bool{},
		entries: map[id]*entry{}, topics: map[string]map[id]*entry{}, tags: map[replica]map[uint64]*entry{},
		bytes: map[replica]int{}, tagClocks: map[replica]*lowest{}, cloudClocks: map[replica]*lowest{}, limit: limit, largest: map[replica]int{},
		own: own{pids: map[ei.Pid]map[id]struct{}{}},
	}
}

// What an entry, without its texts, and a clock of a cloud count towards PresenceOptions.Limit.
const (
	entryCost = 512
	clockCost = 64
)

func (e *entry) cost() int { return entryCost + len(e.topic) + len(e.key) + len(e.meta) }

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

// merge takes over what another replica says of replicas that are known here, as far as there is
// room for it, and tells which ids that concerns.
func (s *crdt) merge(d *delta) (changed []id) {
	valued := make(map[tag]bool, len(d.values))
	var joined []*entry
	for _, e := range d.values {
		valued[e.tag] = true
		if _, known := s.context[e.tag.Replica]; known && !s.context.knows(s.clouds, e.tag) {
			joined = append(joined, e)
		}
	}
	for r, theirs := range d.clouds {
		s.leftOutGone(r, theirs, valued)
	}
	for _, e := range s.observed(d) {
		if !valued[e.tag] {
			s.remove(e)
			changed = append(changed, e.id)
		}
	}
	slices.SortFunc(joined, func(a, b *entry) int { return cmp.Compare(a.tag.Clock, b.tag.Clock) })
	left := map[replica]rest{}
	for _, e := range joined {
		if s.isOutdated(e) {
			continue
		}
		// a peer that says a tag of another entry has lied, and what nothing leads to any more would stay
		old := s.tags[e.tag.Replica][e.tag.Clock]
		if old.is(e) { // it was asked for all that it knows
			continue
		}
		if more := e.cost() - s.costOf(old, e.id, e.tag.Replica); more > 0 && more > s.room(e.tag.Replica) {
			one := left[e.tag.Replica]
			left[e.tag.Replica] = rest{one.count + 1, one.bytes + e.cost(), max(one.largest, e.cost())}
			continue
		}
		if old != nil {
			s.remove(old)
			changed = append(changed, old.id)
		}
		s.insert(e)
		changed = append(changed, e.id)
	}
	for r, rest := range left {
		s.largest[r] = max(s.largest[r], rest.largest)
		s.limit.LeaveOut(r, string(r.Node), rest.count, rest.bytes)
	}
	for r, theirs := range d.clouds {
		if _, known := s.context[r]; known {
			s.know(r, theirs)
		}
	}
	for r, clock := range d.context {
		if ours, known := s.context[r]; known && clock > ours {
			s.reach(r, clock)
		}
	}
	s.recount(d)
	return changed
}

// recount finds out what is left out of replicas of which a delta has told all there is.
func (s *crdt) recount(d *delta) {
	left := map[replica]int{}
	for r, clock := range d.context {
		if clock == s.context[r] && s.limit.Lacks(r) {
			left[r] = 0
		}
	}
	if len(left) == 0 {
		return
	}
	for _, e := range d.values {
		r := e.tag.Replica
		if _, ok := left[r]; ok && s.tags[r][e.tag.Clock] == nil && !s.isOutdated(e) {
			left[r] += e.cost()
		}
	}
	for r, bytes := range left {
		switch {
		case s.clouds[r] != nil || len(d.clouds[r]) > 0: // either may know what the other one does not
			s.limit.Left(r, 0)
		case bytes == 0:
			s.limit.Whole(r)
		default:
			s.limit.Left(r, bytes)
		}
	}
}

// A rest is entries that are left out, and how many bytes they, and the largest one, would take.
type rest struct{ count, bytes, largest int }

// room is how many bytes more there may be of a replica.
func (s *crdt) room(r replica) int { return s.limit.Bytes - s.bytes[r] - clockCost*len(s.clouds[r]) }

// costOf is what is removed for an entry of a replica: old, and the one that has the id.
func (s *crdt) costOf(old *entry, i id, r replica) (bytes int) {
	now := s.entries[i]
	if old != nil {
		bytes += old.cost()
	}
	if now != nil && now != old && now.tag.Replica == r {
		bytes += now.cost()
	}
	return bytes
}

// leftOutGone notes that entries have gone which were left out: their clocks are known, and there
// is no entry of that clock, here or in what is said.
func (s *crdt) leftOutGone(r replica, clocks cloud, valued map[tag]bool) {
	if !s.limit.Lacks(r) {
		return
	}
	gone := 0
	for c := range clocks {
		if t := (tag{Replica: r, Clock: c}); s.tags[r][c] == nil && !valued[t] && s.context.knows(s.clouds, t) {
			gone++
		}
	}
	s.limit.Gone(r, gone*s.largest[r])
}

// unlearn makes a replica one of which nothing was heard but the entries that are here: then who is
// asked gives all of it.
func (s *crdt) unlearn(r replica) {
	s.context[r] = 0
	delete(s.clouds, r)
	delete(s.cloudClocks, r)
	delete(s.largest, r)
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
		var again []uint64
		for c, ok := s.tagClocks[r].upTo(clock); ok; c, ok = s.tagClocks[r].upTo(clock) {
			if e := s.tags[r][c]; e != nil && (len(again) == 0 || again[len(again)-1] != c) {
				es, again = append(es, e), append(again, c)
			}
		}
		for _, c := range again {
			s.tagClocks[r].add(c)
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

// know notes clocks: in the context as far as they follow it without a gap, else in the cloud. For
// what there is no room there, the replica is asked when it shows that it is ahead.
func (s *crdt) know(r replica, theirs cloud) {
	for _, c := range slices.Sorted(maps.Keys(theirs)) {
		switch _, beyond := s.clouds[r][c]; {
		case c <= s.context[r] || beyond:
		case c == s.context[r]+1:
			s.reach(r, c)
		case s.room(r) < clockCost:
			s.limit.Left(r, 0) // what is left out may be told once more
			return
		default:
			put(s.clouds, r, c, struct{}{})
			if s.cloudClocks[r] == nil {
				s.cloudClocks[r] = &lowest{}
			}
			s.cloudClocks[r].add(c)
		}
	}
}

// reach moves a replica's context to a clock, and over those of the cloud that follow without gap.
func (s *crdt) reach(r replica, clock uint64) {
	for c, ok := s.cloudClocks[r].upTo(clock + 1); ok; c, ok = s.cloudClocks[r].upTo(clock + 1) {
		delete(s.clouds[r], c)
		clock = max(clock, c)
	}
	s.context[r] = clock
	if len(s.clouds[r]) == 0 {
		delete(s.clouds, r)
		delete(s.cloudClocks, r)
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
	r := e.tag.Replica
	if l := s.tagClocks[r]; l == nil || len(l.all) > 2*len(s.tags[r])+64 {
		s.tagClocks[r] = newLowest(maps.Keys(s.tags[r]))
		return
	}
	s.tagClocks[r].add(e.tag.Clock)
}

func (s *crdt) remove(e *entry) {
	delete(s.entries, e.id)
	s.bytes[e.tag.Replica] -= e.cost()
	drop(s.topics, e.topic, e.id)
	drop(s.tags, e.tag.Replica, e.tag.Clock)
}

// put and drop keep a table of tables, none of which is empty.
func put[A, B comparable, V any, M ~map[B]V](tables map[A]M, a A, b B, v V) {
	if tables[a] == nil {
		tables[a] = M{}
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

// hide hides the entries of a replica that is silent. If some are left out, it is asked for all
// when it is back.
func (s *crdt) hide(r replica) (changed []id) {
	s.down[r] = true
	if s.limit.Lacks(r) {
		s.unlearn(r)
		s.limit.Forget(r)
	}
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
	delete(s.tagClocks, r)
	delete(s.cloudClocks, r)
	delete(s.largest, r)
	s.limit.Forget(r)
	return changed
}

func (s *crdt) of(r replica) (ids []id) {
	for _, e := range s.tags[r] {
		ids = append(ids, e.id)
	}
	return ids
}
