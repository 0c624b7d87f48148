package bonds

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

var (
	self   = ei.Pid{Node: "here@h", ID: 1, Creation: 7}
	friend = ei.Pid{Node: "there@h", ID: 2, Creation: 8}
	other  = ei.Pid{Node: "else@h", ID: 3, Creation: 9}
)

func ref(i uint32) ei.Ref { return ei.Ref{Node: "here@h", Creation: 7, Len: 3, ID: [5]uint32{i}} }

// The link protocol of erl_dist_protocol, step by step: what is sent, and whether there is a link
// afterwards.
func TestLinkProtocol(t *testing.T) {
	type step struct {
		do   func(b *Bonds, id *uint64) *dist.Control
		op   dist.Op // sent; 0: nothing
		is   bool    // linked afterwards
		none bool    // nothing is remembered
	}
	link := func(b *Bonds, _ *uint64) *dist.Control { return b.Link(self, friend) }
	unlink := func(way Way) func(b *Bonds, id *uint64) *dist.Control {
		return func(b *Bonds, id *uint64) *dist.Control {
			ctl := b.Unlink(self, friend, way)
			if ctl != nil {
				*id = ctl.ID
			}
			return ctl
		}
	}
	takes := func(f func(b *Bonds, id uint64)) func(b *Bonds, id *uint64) *dist.Control {
		return func(b *Bonds, id *uint64) *dist.Control { f(b, *id); return nil }
	}
	takeLink := takes(func(b *Bonds, _ uint64) { b.TakeLink(friend) })
	takeUnlink := takes(func(b *Bonds, _ uint64) { b.TakeUnlink(friend) })
	ack := takes(func(b *Bonds, id uint64) { b.TakeUnlinkAck(friend, id) })
	wrongAck := takes(func(b *Bonds, id uint64) { b.TakeUnlinkAck(friend, id+1) })
	for name, steps := range map[string][]step{
		"twice":               {{link, dist.OpLink, true, false}, {link, 0, true, false}},
		"from the other side": {{takeLink, 0, true, false}, {link, 0, true, false}, {takeUnlink, 0, false, true}},
		"acknowledged": {
			{link, dist.OpLink, true, false}, {unlink(Acknowledged), dist.OpUnlinkID, false, false}, {ack, 0, false, true},
		},
		"a LINK that was on its way": {
			{link, dist.OpLink, true, false}, {unlink(Acknowledged), dist.OpUnlinkID, false, false}, {takeLink, 0, false, false},
			{takeUnlink, 0, false, false}, {wrongAck, 0, false, false}, {ack, 0, false, true}, {takeLink, 0, true, false},
		},
		"linked anew before the acknowledgement": {
			{link, dist.OpLink, true, false}, {unlink(Acknowledged), dist.OpUnlinkID, false, false}, {link, dist.OpLink, true, false},
			{ack, 0, true, false},
		},
		"the old protocol":  {{link, dist.OpLink, true, false}, {unlink(Silent), dist.OpUnlink, false, true}},
		"without a way":     {{link, dist.OpLink, true, false}, {unlink(Lost), 0, false, false}, {link, dist.OpLink, true, false}},
		"no link to be cut": {{unlink(Acknowledged), 0, false, true}, {takeUnlink, 0, false, true}, {ack, 0, false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			var b Bonds
			var id uint64
			for i, s := range steps {
				ctl := s.do(&b, &id)
				if s.op == 0 {
					require.Nil(t, ctl, i)
				} else {
					require.Equal(t, s.op, ctl.Op, i)
					require.Equal(t, self, ctl.From, i)
					require.Equal(t, friend, ctl.To, i)
					require.Equal(t, s.op == dist.OpUnlinkID, ctl.ID != 0, i)
				}
				require.Equal(t, s.is, b.IsLinked(friend), i)
				require.Equal(t, s.none, b.None(), i)
			}
		})
	}
}

func TestBreak(t *testing.T) {
	var b Bonds
	require.False(t, b.Break(friend))
	b.Link(self, friend)
	require.Equal(t, []ei.Pid{friend}, slices.Collect(b.Linked()))
	require.True(t, b.Break(friend))
	require.False(t, b.Break(friend))
	require.True(t, b.None())
}

// Two peers may choose the same reference.
func TestMonitorsOnTheProcess(t *testing.T) {
	var b Bonds
	b.TakeMonitor(ref(1), Watcher{Pid: friend})
	b.TakeMonitor(ref(1), Watcher{Pid: other, Name: "joe"})
	require.Len(t, maps.Collect(b.Watchers()), 2)
	for _, awaits := range []bool{true, true, false} {
		b.Await(MonitorID{ref(1), other.Node}, awaits)
		w, _ := b.Watcher(MonitorID{ref(1), other.Node})
		require.Equal(t, Watcher{other, "joe", awaits}, w)
	}
	w, ok := b.TakeDemonitor(MonitorID{ref(1), other.Node})
	require.True(t, ok)
	require.Equal(t, Watcher{Pid: other, Name: "joe"}, w)
	b.Await(MonitorID{ref(1), other.Node}, true)
	require.Len(t, maps.Collect(b.Watchers()), 1, "it has no monitor any more")
	_, ok = b.TakeDemonitor(MonitorID{ref(1), other.Node})
	require.False(t, ok)
	require.Equal(t, &dist.Control{Op: dist.OpMonitorPExit, From: self, To: friend, Ref: ref(1)},
		Down(self, Watcher{Pid: friend}, ref(1), nil))
	require.Equal(t, &dist.Control{Op: dist.OpMonitorPExit, FromName: "joe", To: other, Ref: ref(1)}, Down(self, w, ref(1), nil))
}

func TestOwnMonitors(t *testing.T) {
	var b Bonds
	target := Target{Node: "there@h", Pid: friend}
	b.Watch(ref(1), target)
	b.PutAlias(ref(1), WithMonitor)
	b.Watch(ref(2), Target{Node: "there@h"}) // asked for
	for _, tt := range []struct {
		ref  ei.Ref
		node string
		is   bool
	}{{ref(1), "there@h", true}, {ref(1), "", true}, {ref(1), "else@h", false}, {ref(2), "there@h", false}, {ref(3), "there@h", false}} {
		_, ok := b.TakeDown(tt.ref, tt.node)
		require.Equal(t, tt.is, ok, tt)
	}
	require.True(t, b.Unwatch(target, ref(1)), "it is an alias")
	b.RemoveAlias(ref(1))
	require.Zero(t, b.Alias(ref(1)))
	require.False(t, b.Unwatch(Target{Node: "there@h"}, ref(2)))
	require.True(t, b.None())
}

// The end of a connection breaks what there is with one node, or with one worker of this node.
func TestCut(t *testing.T) {
	worker := func(pid ei.Pid, at uint32) ei.Pid { pid.Serial = at; return pid }
	one, two := worker(self, 1), worker(self, 2)
	fill := func() *Bonds {
		b := new(Bonds)
		for i, pid := range []ei.Pid{friend, other, one, two} {
			b.Link(self, pid)
			b.TakeMonitor(ref(uint32(i)), Watcher{Pid: pid})
			b.Watch(ref(uint32(10+i)), Target{Node: string(pid.Node), Pid: pid, Worker: WorkerOf(pid)})
		}
		b.Link(self, ei.Pid{Node: "there@h", ID: 5})
		b.Unlink(self, ei.Pid{Node: "there@h", ID: 5}, Lost)
		return b
	}
	for _, tt := range []struct {
		scope Scope
		pid   ei.Pid
		ref   ei.Ref
	}{{Scope{Node: "there@h"}, friend, ref(10)}, {Scope{"here@h", 2}, two, ref(13)}} {
		b := fill()
		links, own := b.Cut(tt.scope)
		require.Equal(t, []ei.Pid{tt.pid}, links)
		require.Len(t, own, 1)
		require.Equal(t, tt.ref, own[0].Ref)
		require.Equal(t, tt.scope, own[0].Of.Scope())
		require.True(t, b.Break(links[0]))
		b.Unwatch(own[0].Of, own[0].Ref)
		require.Equal(t, 3, len(slices.Collect(b.Linked())))
		_, watching, watchers := b.Counts()
		require.Equal(t, []int{3, 3}, []int{watching, watchers})
	}
	require.Equal(t, map[string]bool{"there@h": true, "else@h": true, "here@h": true}, fill().Nodes())
	b := fill()
	b.Part(func(pid ei.Pid) bool { return pid.Node != self.Node })
	require.ElementsMatch(t, []ei.Pid{one, two}, slices.Collect(b.Linked()))
	require.Len(t, maps.Collect(b.Watchers()), 2)
	require.Len(t, maps.Collect(b.Watching()), 4, "its own stay")
}

// A new process may have a link and a monitor from its beginning; a link that its parent has made
// or ended meanwhile stays as it is.
func TestChild(t *testing.T) {
	var b Bonds
	b.TakeChild(friend, ref(1), 0)
	require.True(t, b.None())
	b.TakeChild(friend, ref(1), dist.SpawnLinked|dist.SpawnMonitored)
	require.True(t, b.IsLinked(friend))
	target, ok := b.Target(ref(1))
	require.True(t, ok)
	require.Equal(t, Target{Node: "there@h", Pid: friend}, target)
	b.Unlink(self, friend, Acknowledged)
	b.TakeChild(friend, ref(1), dist.SpawnLinked)
	require.False(t, b.IsLinked(friend))
	b.Disown(friend, ref(1))
	require.True(t, b.None())
}

// Another process, or another one here, goes on with the same bonds.
func stateOf(b *Bonds, node string) (s states.Bonds) {
	b.State(node, &s)
	return s
}

func TestStateAndMoveTo(t *testing.T) {
	var b, heir, copied Bonds
	b.Link(self, friend)
	b.Link(self, other)
	b.Unlink(self, other, Acknowledged)
	b.TakeMonitor(ref(1), Watcher{friend, "joe", true})
	b.Watch(ref(2), Target{Node: "else@h", Name: "ann", Worker: 3})
	b.PutAlias(ref(2), WithMonitor)
	s := stateOf(&b, "")
	require.Equal(t, []states.Link{{Pid: friend, Active: true}}, stateOf(&b, "there@h").Links)
	copied.Restore(&s)
	heir.PutAlias(ref(3), Explicit)
	b.MoveTo(&heir)
	require.True(t, b.None())
	for _, of := range []*Bonds{&copied, &heir} {
		again := stateOf(of, "")
		require.ElementsMatch(t, s.Links, again.Links)
		require.Equal(t, s.Watchers, again.Watchers)
		require.Equal(t, s.Watching, again.Watching)
	}
	require.Equal(t, map[ei.Ref]Alias{ref(2): WithMonitor, ref(3): Explicit}, maps.Collect(heir.Aliases()))
	heir.Clear()
	require.True(t, heir.None())
	require.Len(t, maps.Collect(heir.Aliases()), 2, "they end with the process")
	heir.ClearAliases()
	require.Empty(t, maps.Collect(heir.Aliases()))
}
