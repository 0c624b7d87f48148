package pg

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
)

// What a member, and a group of a scope, count towards Options.Limit, in bytes.
const (
	memberCost = 64
	groupCost  = 256
)

// A table says which processes are members of which groups. It is locked by whoever has it.
//
// A group is known by its key: its term, encoded in the one way that keyOf has for it.
type table struct {
	groups  map[string]*group
	watches map[*watch]struct{} // of the whole scope
}

func newTable() *table { return &table{groups: map[string]*group{}, watches: map[*watch]struct{}{}} }

// A group is one that has members, or is watched.
type group struct {
	members map[*owner]*members
	watches map[*watch]struct{}
}

// members are those of one scope process in a group, as often as they have joined.
type members struct {
	pids   []ei.Pid
	shared atomic.Bool // a reader has the slice: what it sees must stay
}

// An owner is a scope process, here or in another node, and what it has said of its node's members.
type owner struct {
	groups map[string]*members
	bytes  int // what this takes
}

func newOwner() *owner { return &owner{groups: map[string]*members{}} }

// join adds members to a group.
func (t *table) join(o *owner, key string, pids []ei.Pid) {
	if len(pids) == 0 {
		return
	}
	g := t.group(key)
	m := g.members[o]
	if m == nil {
		m = &members{}
		g.members[o], o.groups[key] = m, m
		o.bytes += groupCost + len(key)
	}
	m.pids = append(m.pids, pids...)
	o.bytes += memberCost * len(pids)
	t.note(key, g, pids, 1)
}

// leave removes members from a group, each as often as pids has it, and gives those that were
// there.
func (t *table) leave(o *owner, key string, pids []ei.Pid) []ei.Pid {
	if len(pids) != 1 {
		return t.leaveEach(o, key, counted(pids), 1)
	}
	m := o.groups[key]
	if m == nil {
		return nil
	}
	left := m.removeOne(pids[0])
	t.removed(o, key, left)
	return left
}

// leaveEach is leave with the processes counted, each of which leaves times as often. It takes the
// time that a look at each member takes, however many do not leave or are none.
func (t *table) leaveEach(o *owner, key string, due map[ei.Pid]int, times int) []ei.Pid {
	m := o.groups[key]
	if m == nil || len(due) == 0 {
		return nil
	}
	left := m.remove(due, times)
	t.removed(o, key, left)
	return left
}

func counted(pids []ei.Pid) map[ei.Pid]int {
	count := make(map[ei.Pid]int, len(pids))
	for _, pid := range pids {
		count[pid]++
	}
	return count
}

func (m *members) removeOne(pid ei.Pid) []ei.Pid {
	i := slices.Index(m.pids, pid)
	if i < 0 {
		return nil
	}
	m.own()
	last := len(m.pids) - 1
	m.pids[i] = m.pids[last]
	m.pids = m.pids[:last]
	return []ei.Pid{pid}
}

func (m *members) remove(due map[ei.Pid]int, times int) (left []ei.Pid) {
	gone, stay := map[ei.Pid]int{}, []ei.Pid(nil)
	for i, pid := range m.pids {
		switch {
		case gone[pid] < due[pid]*times:
			if left == nil {
				stay = slices.Clone(m.pids[:i])
			}
			gone[pid]++
			left = append(left, pid)
		case left != nil:
			stay = append(stay, pid)
		}
	}
	if left != nil {
		m.pids = stay
		m.shared.Store(false)
	}
	return left
}

// own makes the slice one that no reader has.
func (m *members) own() {
	if m.shared.CompareAndSwap(true, false) {
		m.pids = slices.Clone(m.pids)
	}
}

// removed counts what has left, and forgets what is empty.
func (t *table) removed(o *owner, key string, left []ei.Pid) {
	if len(left) == 0 {
		return
	}
	o.bytes -= memberCost * len(left)
	g := t.groups[key]
	t.note(key, g, left, -1)
	if len(o.groups[key].pids) == 0 {
		o.bytes -= groupCost + len(key)
		delete(o.groups, key)
		delete(g.members, o)
		t.tidy(key, g)
	}
}

// set makes the members of an owner those of now, and no others.
func (t *table) set(o *owner, now map[string][]ei.Pid) {
	for _, key := range slices.Collect(maps.Keys(o.groups)) {
		if len(now[key]) == 0 {
			t.leave(o, key, o.groups[key].pids)
		}
	}
	for key, pids := range now {
		var have []ei.Pid
		if m := o.groups[key]; m != nil {
			have = m.pids
		}
		come, gone := difference(have, pids)
		t.join(o, key, come) // first, so that the group does not end in between
		t.leave(o, key, gone)
	}
}

// drop removes all members of an owner.
func (t *table) drop(o *owner) { t.set(o, nil) }

// difference tells what has to come and to go for have to become want, in whatever order.
func difference(have, want []ei.Pid) (come, gone []ei.Pid) {
	if slices.Equal(have, want) {
		return nil, nil
	}
	count := counted(have)
	for _, pid := range want {
		if count[pid] > 0 {
			count[pid]--
		} else {
			come = append(come, pid)
		}
	}
	for _, pid := range have {
		if count[pid] > 0 {
			count[pid]--
			gone = append(gone, pid)
		}
	}
	return come, gone
}

// members gives the members of a group, those of one owner first, or only those. The slices stay as
// they are.
func (t *table) members(key string, first *owner, only bool) (all [][]ei.Pid) {
	g := t.groups[key]
	if g == nil {
		return nil
	}
	if m := g.members[first]; m != nil {
		all = append(all, m.share())
	}
	if only {
		return all
	}
	for o, m := range g.members {
		if o != first {
			all = append(all, m.share())
		}
	}
	return all
}

func (m *members) share() []ei.Pid {
	m.shared.Store(true)
	return m.pids[:len(m.pids):len(m.pids)]
}

// keys lists the groups that have members.
func (t *table) keys() (all []string) {
	for key, g := range t.groups {
		if len(g.members) > 0 {
			all = append(all, key)
		}
	}
	return all
}

func (t *table) group(key string) *group {
	g := t.groups[key]
	if g == nil {
		g = &group{members: map[*owner]*members{}, watches: map[*watch]struct{}{}}
		t.groups[key] = g
	}
	return g
}

func (t *table) tidy(key string, g *group) {
	if len(g.members) == 0 && len(g.watches) == 0 {
		delete(t.groups, key)
	}
}

// note tells the watches of a group what has joined (by is 1) or left (-1).
func (t *table) note(key string, g *group, pids []ei.Pid, by int) {
	for w := range g.watches {
		w.note(key, pids, by)
	}
	for w := range t.watches {
		w.note(key, pids, by)
	}
}

// A watch gathers what joins and leaves until somebody takes it. What comes and goes in between
// leaves no trace, so that a watch takes no more memory than the members before and after.
type watch struct {
	changes map[string]*gathered // by group; none is empty
	order   []*gathered          // in the order of their first changes, and some that have become empty
	ring    chan struct{}        // holds a token while there is something to take
}

// What is gathered of a group: how often a process has joined, less left.
type gathered struct {
	key   string
	count map[ei.Pid]int
}

func newWatch() *watch {
	return &watch{changes: map[string]*gathered{}, ring: make(chan struct{}, 1)}
}

func (w *watch) note(key string, pids []ei.Pid, by int) {
	g := w.changes[key]
	if g == nil {
		if len(w.order) > 2*len(w.changes)+64 {
			w.order = slices.DeleteFunc(w.order, func(g *gathered) bool { return len(g.count) == 0 })
		}
		g = &gathered{key, map[ei.Pid]int{}}
		w.changes[key] = g
		w.order = append(w.order, g)
	}
	for _, pid := range pids {
		if g.count[pid] += by; g.count[pid] == 0 {
			delete(g.count, pid)
		}
	}
	if len(g.count) == 0 {
		delete(w.changes, key)
	}
	select {
	case w.ring <- struct{}{}:
	default:
	}
}

// A netChange is what has become of one group.
type netChange struct {
	key          string
	joined, left []ei.Pid
}

// take takes what has been gathered.
func (w *watch) take() (all []netChange) {
	for _, g := range w.order {
		n := netChange{key: g.key}
		for pid, count := range g.count {
			for range count {
				n.joined = append(n.joined, pid)
			}
			for range -count {
				n.left = append(n.left, pid)
			}
		}
		if len(n.joined)+len(n.left) > 0 {
			all = append(all, n)
		}
	}
	w.changes, w.order = map[string]*gathered{}, nil
	return all
}
