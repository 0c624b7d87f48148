package bonds

import (
	"iter"
	"math/rand/v2"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// Bonds are those of one process. The zero value has none.
type Bonds struct {
	links    byNode[ei.Pid, link]
	watchers byNode[MonitorID, Watcher] // who monitors this process
	watching byNode[ei.Ref, Target]     // what this process monitors
	aliases  lazymap.Map[ei.Ref, Alias] // the active ones
}

// A link is how one process sees a link: active, or ended by this side and remembered until the
// other side has acknowledged that, so that a LINK which was already on its way is ignored.
type link struct {
	active   bool
	unlinkID uint64 // of an UNLINK_ID not yet acknowledged; 0: none
}

// A Watcher is a process that monitors this one.
type Watcher struct {
	Pid  ei.Pid
	Name ei.Atom // the name that it monitors, if it does so by name
	// it waits for the answer to a call that this process has left for later
	Awaits bool
}

// A MonitorID names a monitor on a process. The reference alone does not: the peer chooses it, and
// may choose a reference of another node.
type MonitorID struct {
	Ref  ei.Ref
	Node ei.Atom // of the watcher
}

// A Target is what a process monitors: a process, or a name on a node. One that is neither stands
// for a process that has been asked for (SPAWN_REQUEST), until the answer comes.
type Target struct {
	Node   string
	Pid    ei.Pid
	Name   ei.Atom
	Worker int // if the target is in another worker of this node, that worker's number
}

// IsPending tells whether the target stands for a process that has been asked for.
func (t Target) IsPending() bool { return t.Pid == ei.Pid{} && t.Name == "" }

// Scope is where the target is.
func (t Target) Scope() Scope { return Scope{t.Node, t.Worker} }

// A Scope is a set of processes: those of a node, or those of one worker of this node. When a
// connection ends, links and monitors with the processes of its scope break.
type Scope struct {
	Node   string
	Worker int // 0: the whole node
}

// Has tells whether a process is in the scope.
func (s Scope) Has(pid ei.Pid) bool {
	return string(pid.Node) == s.Node && (s.Worker == 0 || WorkerOf(pid) == s.Worker)
}

// WorkerOf tells in which worker of its node a pid was made.
func WorkerOf(pid ei.Pid) int { return int(pid.Serial & states.MaxPart) }

// None tells whether there are neither links nor monitors.
func (b *Bonds) None() bool { return b.links.empty() && b.watchers.empty() && b.watching.empty() }

// Counts are the numbers of links, of what the process monitors, and of who monitors it.
func (b *Bonds) Counts() (links, watching, watchers int) {
	return b.links.len(), b.watching.len(), b.watchers.len()
}

// Linked gives the processes with which there is an active link.
func (b *Bonds) Linked() iter.Seq[ei.Pid] {
	return func(yield func(ei.Pid) bool) {
		for pid, l := range b.links.all("") {
			if l.active && !yield(pid) {
				return
			}
		}
	}
}

// Watchers gives the monitors on this process.
func (b *Bonds) Watchers() iter.Seq2[MonitorID, Watcher] { return b.watchers.all("") }

// Watching gives what this process monitors, and has asked for.
func (b *Bonds) Watching() iter.Seq2[ei.Ref, Target] { return b.watching.all("") }

// Link links with a process, and returns the LINK to be sent; nil: there is a link.
func (b *Bonds) Link(self, pid ei.Pid) *dist.Control {
	if b.IsLinked(pid) { // else the new link overrides an outstanding unlink
		return nil
	}
	b.links.put(pid.Node, pid, link{active: true})
	return &dist.Control{Op: dist.OpLink, From: self, To: pid}
}

// A Way is what an UNLINK meets on its way.
type Way int

const (
	Lost         Way = iota // there is no connection, whose end breaks the link
	Silent                  // the peer does not acknowledge: the old link protocol
	Acknowledged            // it does
)

// Unlink ends a link, and returns the signal to be sent; nil: none, since there is no link, or no
// way.
func (b *Bonds) Unlink(self, pid ei.Pid, way Way) *dist.Control {
	switch {
	case !b.IsLinked(pid):
		return nil
	case way == Lost:
		b.links.put(pid.Node, pid, link{})
		return nil
	case way == Silent:
		b.links.remove(pid.Node, pid)
		return &dist.Control{Op: dist.OpUnlink, From: self, To: pid}
	}
	id := rand.Uint64()>>1 + 1
	b.links.put(pid.Node, pid, link{unlinkID: id})
	return &dist.Control{Op: dist.OpUnlinkID, ID: id, From: self, To: pid}
}

// IsLinked tells whether there is an active link with a process.
func (b *Bonds) IsLinked(with ei.Pid) bool {
	l, _ := b.links.get(with.Node, with)
	return l.active
}

// TakeLink handles a LINK. While an unlink of this side is not acknowledged, it is ignored.
func (b *Bonds) TakeLink(from ei.Pid) {
	if l, _ := b.links.get(from.Node, from); l.unlinkID == 0 {
		b.links.put(from.Node, from, link{active: true})
	}
}

// TakeUnlink handles an UNLINK_ID, or an UNLINK.
func (b *Bonds) TakeUnlink(from ei.Pid) {
	if l, _ := b.links.get(from.Node, from); l.unlinkID == 0 {
		b.links.remove(from.Node, from)
	}
}

// TakeUnlinkAck handles an UNLINK_ID_ACK.
func (b *Bonds) TakeUnlinkAck(from ei.Pid, id uint64) {
	if l, _ := b.links.get(from.Node, from); l.unlinkID == id && !l.active {
		b.links.remove(from.Node, from)
	}
}

// Break removes an active link; false: there is none.
func (b *Bonds) Break(with ei.Pid) bool {
	if !b.IsLinked(with) {
		return false
	}
	b.links.remove(with.Node, with)
	return true
}

// TakeChild notes the link and the monitor that a new process, which this one has asked for, has
// from its beginning; each only if it was asked for.
func (b *Bonds) TakeChild(pid ei.Pid, ref ei.Ref, flags uint64) {
	if _, known := b.links.get(pid.Node, pid); !known && flags&dist.SpawnLinked != 0 {
		b.links.put(pid.Node, pid, link{active: true})
	}
	if _, known := b.watching.find(ref); !known && flags&dist.SpawnMonitored != 0 {
		b.watching.put(pid.Node, ref, Target{Node: string(pid.Node), Pid: pid})
	}
}

// Disown takes back what TakeChild has noted.
func (b *Bonds) Disown(pid ei.Pid, ref ei.Ref) {
	b.links.remove(pid.Node, pid)
	b.watching.remove(pid.Node, ref)
}

// Watch notes a monitor of the process's.
func (b *Bonds) Watch(ref ei.Ref, t Target) { b.watching.put(ei.Atom(t.Node), ref, t) }

// Target is what a monitor of the process's is for.
func (b *Bonds) Target(ref ei.Ref) (Target, bool) { return b.watching.find(ref) }

// Unwatch forgets a monitor; ends tells whether it is an alias that ends with it.
func (b *Bonds) Unwatch(t Target, ref ei.Ref) (ends bool) {
	b.watching.remove(ei.Atom(t.Node), ref)
	return b.Alias(ref)&WithMonitor != 0
}

// TakeDown finds the monitor that a MONITOR_P_EXIT of a node ends; false: there is none. An empty
// node is this one.
func (b *Bonds) TakeDown(ref ei.Ref, node string) (Target, bool) {
	t, ok := b.watching.find(ref)
	return t, ok && !t.IsPending() && (node == "" || t.Node == node)
}

// TakeMonitor handles a MONITOR_P.
func (b *Bonds) TakeMonitor(ref ei.Ref, w Watcher) {
	b.watchers.put(w.Pid.Node, MonitorID{ref, w.Pid.Node}, w)
}

// TakeDemonitor handles a DEMONITOR_P; false: there is no such monitor on the process.
func (b *Bonds) TakeDemonitor(id MonitorID) (Watcher, bool) {
	w, ok := b.watchers.get(id.Node, id)
	b.watchers.remove(id.Node, id)
	return w, ok
}

// Await notes whether the watcher, if there is one, waits for the answer to a call.
func (b *Bonds) Await(id MonitorID, awaits bool) {
	if w, ok := b.watchers.get(id.Node, id); ok && w.Awaits != awaits {
		w.Awaits = awaits
		b.watchers.put(id.Node, id, w)
	}
}

// Watcher is who has a monitor on the process.
func (b *Bonds) Watcher(id MonitorID) (Watcher, bool) { return b.watchers.get(id.Node, id) }

// A Monitor is one of the process's.
type Monitor struct {
	Ref ei.Ref
	Of  Target
}

// Cut removes the monitors that processes of a scope have, and lists the links with these, and the
// process's own monitors of them, which are to be ended by Break and Unwatch, in one step with
// what that does.
func (b *Bonds) Cut(with Scope) (links []ei.Pid, own []Monitor) {
	node := ei.Atom(with.Node)
	for pid, l := range b.links.all(node) {
		switch {
		case !with.Has(pid):
		case l.active:
			links = append(links, pid)
		default:
			b.links.remove(node, pid)
		}
	}
	for id, w := range b.watchers.all(node) {
		if with.Has(w.Pid) {
			b.watchers.remove(node, id)
		}
	}
	for ref, t := range b.watching.all(node) {
		if t.Scope() == with {
			own = append(own, Monitor{ref, t})
		}
	}
	return links, own
}

// Part removes the links of others, and their monitors: of those for which is says so.
func (b *Bonds) Part(is func(pid ei.Pid) bool) {
	for pid := range b.links.all("") {
		if is(pid) {
			b.links.remove(pid.Node, pid)
		}
	}
	for id, w := range b.watchers.all("") {
		if is(w.Pid) {
			b.watchers.remove(id.Node, id)
		}
	}
}

// Nodes are those with whose processes there are links or monitors.
func (b *Bonds) Nodes() map[string]bool {
	nodes := map[string]bool{}
	for pid := range b.links.all("") {
		nodes[string(pid.Node)] = true
	}
	for _, w := range b.watchers.all("") {
		nodes[string(w.Pid.Node)] = true
	}
	for _, t := range b.watching.all("") {
		nodes[t.Node] = true
	}
	return nodes
}

// Clear removes links and monitors.
func (b *Bonds) Clear() { *b = Bonds{aliases: b.aliases} }

// MoveTo gives everything to another process, which goes on in the place of this one and has
// neither links nor monitors.
func (b *Bonds) MoveTo(to *Bonds) {
	aliases := to.aliases
	*to, *b = *b, Bonds{}
	for ref, how := range aliases.All() {
		to.PutAlias(ref, how)
	}
}

// State describes the links and monitors with processes of a node, or with all if it is empty, in
// s, whose lists are used again.
func (b *Bonds) State(node string, s *states.Bonds) {
	s.Links, s.Watchers, s.Watching = s.Links[:0], s.Watchers[:0], s.Watching[:0]
	if b.None() {
		return
	}
	for pid, l := range b.links.all(ei.Atom(node)) {
		s.Links = append(s.Links, states.Link{Pid: pid, Active: l.active, UnlinkID: l.unlinkID})
	}
	for id, w := range b.watchers.all(ei.Atom(node)) {
		s.Watchers = append(s.Watchers, states.Watcher{Ref: id.Ref, Pid: w.Pid, Name: w.Name, Awaits: w.Awaits})
	}
	for ref, t := range b.watching.all(ei.Atom(node)) {
		s.Watching = append(s.Watching, states.Watching{Ref: ref, Node: t.Node, Pid: t.Pid, Name: t.Name, Worker: t.Worker})
	}
}

// Restore adds what State has described.
func (b *Bonds) Restore(s *states.Bonds) {
	for _, l := range s.Links {
		b.links.put(l.Pid.Node, l.Pid, link{l.Active, l.UnlinkID})
	}
	for _, w := range s.Watchers {
		b.TakeMonitor(w.Ref, Watcher{w.Pid, w.Name, w.Awaits})
	}
	for _, t := range s.Watching {
		b.Watch(t.Ref, Target{Node: t.Node, Pid: t.Pid, Name: t.Name, Worker: t.Worker})
	}
}

// LinkExit is the signal to a linked process that the process from has ended.
func LinkExit(from, to ei.Pid, reason ei.Raw) *dist.Control {
	return &dist.Control{Op: dist.OpExit, From: from, To: to, Reason: reason}
}

// Down is the signal to a watcher that a process of this node has ended.
func Down(from ei.Pid, w Watcher, ref ei.Ref, reason ei.Raw) *dist.Control {
	ctl := &dist.Control{Op: dist.OpMonitorPExit, From: from, To: w.Pid, Ref: ref, Reason: reason}
	if w.Name != "" {
		ctl.From, ctl.FromName = ei.Pid{}, w.Name
	}
	return ctl
}

// Demonitor is the signal that ends a monitor.
func Demonitor(from ei.Pid, t Target, ref ei.Ref) *dist.Control {
	return &dist.Control{Op: dist.OpDemonitorP, From: from, To: t.Pid, ToName: t.Name, Ref: ref}
}
