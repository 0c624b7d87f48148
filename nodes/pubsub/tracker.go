package pubsub

import (
	"maps"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/kept"
)

// The protocol of Phoenix.Tracker.Shard, for one shard, without time, locks or sending: which
// replicas are there, and whom to ask for what was missed.

// samplePeriods is after how many periods a shard asks for what the clocks of others say it has
// missed: their deltas may still be on their way (:clock_sample_periods).
const samplePeriods = 2

// A tracker is what a shard knows of the others.
type tracker struct {
	*crdt
	replicas map[ei.Atom]*peer // by node: a node has one incarnation of the shard
	pending  map[replica]contextOf
	samples  int
	spoke    time.Time // zero: this replica is to say at once that it is there
}

// A peer is a node's shard.
type peer struct {
	vsn    int64
	heard  time.Time
	isDown bool
}

func newTracker(limit *kept.Limit[replica]) *tracker {
	return &tracker{crdt: newCRDT(limit), replicas: map[ei.Atom]*peer{}, pending: map[replica]contextOf{}}
}

// hear takes what a replica says, at a time. changed are the ids that may be others now; ask tells
// whether the replica, which was not there until now, is to be asked for more at once.
func (t *tracker) hear(s *saying, now time.Time) (changed []id, ask bool) {
	if s.from == t.me {
		return nil, false
	}
	if s.delta != nil {
		s.delta.without(t.me)
	}
	p := t.replicas[s.from.Node]
	isNew := p == nil || p.vsn != s.from.Vsn || p.isDown
	if isNew {
		t.spoke = time.Time{}
	}
	switch {
	case s.kind == heartbeat:
		changed = t.alive(s.from, now)
		t.pending[s.from] = s.clocks
	// it was asked, and says who it is; an answer of one that has ended may come late
	case s.kind == transferAck && (p == nil || p.vsn <= s.from.Vsn):
		changed = t.alive(s.from, now)
		ask = isNew
	case s.kind == gracefulPermdown && p != nil && p.vsn == s.from.Vsn:
		changed = t.permdown(s.from)
	}
	if s.delta != nil {
		changed = append(changed, t.merge(s.delta)...)
	}
	// the answer to the last request has all that there is: nothing is missing before it, or after
	if s.kind == transferAck && t.limit.Asked(s.from) && t.context[s.from] > 0 && t.clouds[s.from] == nil {
		t.limit.Whole(s.from)
	}
	if s.kind == heartbeat {
		ask = isNew && s.clocks[s.from] > t.context[s.from]
	}
	return changed, ask
}

// alive notes that a replica is there. Another one of its node is not there any more.
func (t *tracker) alive(r replica, now time.Time) (changed []id) {
	p := t.replicas[r.Node]
	if p != nil && p.vsn != r.Vsn {
		changed = t.permdown(replica{Node: r.Node, Vsn: p.vsn})
		p = nil
	}
	if p == nil || p.isDown {
		changed = append(changed, t.up(r)...)
	}
	t.replicas[r.Node] = &peer{vsn: r.Vsn, heard: now}
	return changed
}

// permdown forgets a replica, and what it has tracked.
func (t *tracker) permdown(r replica) (changed []id) {
	delete(t.replicas, r.Node)
	delete(t.pending, r)
	return t.forget(r)
}

// speak is called every broadcast period: it gives what is to be said to all others, which is that
// something has changed or, once in a while, that this replica is there; nil: nothing.
func (t *tracker) speak(now time.Time, silence time.Duration) *saying {
	if t.clock() == 0 { // it has tracked nothing yet
		return nil
	}
	d := t.news()
	if d == nil && now.Sub(t.spoke) < silence {
		return nil
	}
	t.spoke = now
	clocks := t.clocks()
	maps.DeleteFunc(clocks, func(r replica, _ uint64) bool { return t.limit.Lacks(r) }) // nobody is given these
	return &saying{kind: heartbeat, from: t.me, delta: d, clocks: clocks}
}

// tick is called every broadcast period: it finds out who has been silent for too long, and whom to
// ask for what was missed.
func (t *tracker) tick(now time.Time, down, permdown time.Duration) (changed []id, ask []replica) {
	for node, p := range t.replicas {
		r := replica{Node: node, Vsn: p.vsn}
		switch silent := now.Sub(p.heard); {
		case silent > permdown:
			changed = append(changed, t.permdown(r)...)
		case silent > down && !p.isDown:
			p.isDown = true
			changed = append(changed, t.hide(r)...)
		case !p.isDown && t.limit.Fits(r, t.room(r)) && t.limit.Due(r, now):
			t.unlearn(r)
			ask = append(ask, r)
		}
	}
	if t.samples++; t.samples >= samplePeriods {
		for _, r := range t.behind() {
			if !slices.Contains(ask, r) {
				ask = append(ask, r)
			}
		}
		t.samples = 0
		clear(t.pending)
	}
	return changed, ask
}

// behind are the replicas that know more than is known here: of themselves, or of another one that
// has said nothing of late.
func (t *tracker) behind() (ask []replica) {
	ours := t.clocks()
	for teller, theirs := range t.pending {
		for r, clock := range theirs {
			at, known := ours[r]
			if known && clock > at && r != t.me && (r == teller || t.pending[r] == nil) {
				ask = append(ask, teller)
				break
			}
		}
	}
	return ask
}

// clocks is what is known, without the replicas that are down: their entries are hidden, and nobody
// gives them.
func (t *tracker) clocks() contextOf {
	c := maps.Clone(t.context)
	for r := range t.down {
		delete(c, r)
	}
	return c
}
