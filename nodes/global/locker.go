package global

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cnode-go/cnode/ei"
)

const (
	// answerTime is how long another node may take to answer a call.
	answerTime = 10 * time.Second
	// maxBackOff bounds how long a node that did not go on is left alone.
	maxBackOff = 10 * time.Minute
)

// patience is how long the locker waits while it has the lock. In OTP all of it is infinite: there
// a node that does not go on keeps all others from registering names.
type patience struct {
	lock     time.Duration // for the other node to lock its partition
	exchange time.Duration // for the exchange of names, conflicts included
	backOff  time.Duration // how long a node that took longer is left alone the first time
}

var usualPatience = patience{lock: 10 * time.Second, exchange: 15 * time.Second, backOff: 30 * time.Second}

// A locker locks this node's partition, and makes the other node's locker do the same, one node
// after the other. It is a process of its own, as in OTP, where it is the locker that others know
// by its pid.
type locker struct {
	g *Global
	patience

	mu     sync.Mutex
	him    map[string]him
	failed map[string]failure
	inbox  []lockSet
	owed   *lockSet // has no answer yet
	doing  *locked  // what the locker waits with
	news   chan struct{}
}

// A failure is that of a node that did not go on.
type failure struct {
	times int
	until time.Time
}

// A lockSet says that the other node's partition is locked, or cannot be.
type lockSet struct {
	Node string
	Tag  int64
	Set  bool
	From ei.Pid
}

// A locked is the lock that the locker holds for a session.
type locked struct {
	Node  string
	Tag   int64
	ID    ei.Term
	Nodes []string
	Phase phase
	over  bool // the session is
}

// A phase is how far the locker is with a lock. It is noted in the step in which it changes, and
// with what is said, so that a process that goes on as this one neither says anything twice, which
// may end OTP's locker or server, nor leaves anything unsaid, for which that waits for ever.
type phase ei.Atom

const (
	setting phase = "setting" // this partition is being locked
	offered phase = "offered" // it is, and the other node was told so first
	both    phase = "both"    // both partitions are, and both nodes know it
	ending  phase = "ending"  // the lock is being released
)

func newLocker(g *Global) *locker {
	return &locker{g: g, patience: cmp.Or(g.o.patience, usualPatience), him: map[string]him{}, failed: map[string]failure{},
		news: make(chan struct{}, 1)}
}

func (l *locker) notify() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

func (l *locker) candidate(h him) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.him[h.Node] = h
	l.notify()
}

func (l *locker) heard(m lockSet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inbox = slices.DeleteFunc(l.inbox, func(old lockSet) bool { return old.Node == m.Node })
	l.inbox = append(l.inbox, m)
	l.notify()
}

// cancel ends what the locker does in a session.
func (l *locker) cancel(node string, tag int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h, ok := l.him[node]; ok && h.Tag == tag {
		delete(l.him, node)
	}
	if l.doing != nil && l.doing.Node == node && l.doing.Tag == tag {
		l.doing.over = true
	}
	l.inbox = slices.DeleteFunc(l.inbox, func(old lockSet) bool { return old.Node == node && old.Tag == tag })
	if l.owed != nil && l.owed.Node == node && l.owed.Tag == tag {
		l.owed = nil
	}
	l.notify()
}

// run works until ctx ends.
func (l *locker) run(ctx context.Context) {
	l.resume(ctx)
	soon := false
	for ctx.Err() == nil {
		if m, ok := l.next(); ok {
			soon = l.answer(ctx, m)
			continue
		}
		late := time.NewTimer(l.pause(soon))
		select {
		case <-ctx.Done():
		case <-l.news:
		case <-late.C:
			soon = false
			if !l.g.isLocked() {
				soon = l.begin(ctx)
			}
		}
		late.Stop()
	}
}

// pause is the time before the locker makes the first move.
func (l *locker) pause(soon bool) time.Duration {
	known := len(l.g.Known())
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.him) == 0:
		return time.Hour // a candidate is news
	case soon:
		return time.Millisecond
	case known == 0:
		return 200 * time.Millisecond
	}
	// in OTP, too: so that another node of the partition gets the lock when this one has failed
	return min(time.Second+time.Duration(known)*100*time.Millisecond, 3*time.Second)
}

func (l *locker) next() (lockSet, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.inbox) > 0 {
		m := l.inbox[0]
		l.inbox = l.inbox[1:]
		if h, ok := l.him[m.Node]; m.Set && ok && h.Tag == m.Tag {
			l.owed = &m
			return m, true
		}
	}
	return lockSet{}, false
}

// answer does this node's part when the other node has made the first move.
func (l *locker) answer(ctx context.Context, m lockSet) (synced bool) {
	l.mu.Lock()
	h, ok := l.him[m.Node]
	trusted := l.failed[m.Node].until.Before(time.Now())
	isOwed := l.owed != nil
	l.mu.Unlock()
	if !ok || !isOwed || h.Tag != m.Tag {
		return false
	}
	k := &locked{Node: m.Node, Tag: m.Tag, ID: l.lockID(m.From), Phase: setting}
	isSet := trusted && l.lock(ctx, k, nil)
	l.say(h, isSet, func() {
		l.owed = nil
		if isSet {
			k.Phase = both
		}
	})
	return isSet && l.exchange(ctx, k)
}

// begin makes the first move with one of the nodes.
func (l *locker) begin(ctx context.Context) (synced bool) {
	h, ok := l.choose()
	if !ok {
		return false
	}
	k := &locked{Node: h.Node, Tag: h.Tag, ID: l.lockID(h.Locker), Phase: setting}
	// the other node is locked, too: else two lockers could wait for each other
	begun := time.Now()
	if !l.lock(ctx, k, []string{h.Node}) {
		if time.Since(begun) >= l.patience.lock {
			l.fail(k)
		}
		return false
	}
	l.say(h, true, func() { k.Phase = offered })
	return l.complete(ctx, k)
}

// complete waits for the other node to do its part, and does the rest.
func (l *locker) complete(ctx context.Context, k *locked) (synced bool) {
	switch l.await(ctx, k) {
	case answerTrue:
		return l.exchange(ctx, k)
	case answerNone:
		l.fail(k)
	}
	l.unlock(k)
	return false
}

// lockID is {global, [Pid, Pid]}, which is the same on both sides.
func (l *locker) lockID(his ei.Pid) ei.Term {
	pids := ei.List{l.g.lockerPid(), his}
	slices.SortFunc(pids, ei.Compare)
	return ei.Tuple{ei.Atom("global"), pids}
}

// choose takes one of the nodes that are not known yet, by chance.
func (l *locker) choose() (him, bool) {
	known := l.g.Known()
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []him
	for node, h := range l.him {
		if slices.Contains(known, node) {
			delete(l.him, node)
		} else if l.failed[node].until.Before(now) {
			list = append(list, h)
		}
	}
	if len(list) == 0 {
		return him{}, false
	}
	return list[rand.IntN(len(list))], true
}

// say tells the other node whether this partition is locked, and notes in the same step that it was
// told.
func (l *locker) say(h him, isSet bool, note func()) {
	raw, err := ei.AppendTerm(nil, ei.Tuple{ei.Atom("$gen_cast"), ei.Tuple{
		ei.Atom("lock_set"), l.g.lockerPid(), atomOf(isSet), atoms(l.g.Known()), h.HisTag,
	}})
	l.mu.Lock()
	defer l.mu.Unlock()
	note()
	if err == nil {
		l.g.post(letter{Node: h.Node, Name: true, Payload: raw})
	}
}

// lock locks the partition, the greatest node first, so that of two lockers one fails early.
func (l *locker) lock(ctx context.Context, k *locked, extra []string) bool {
	g := l.g
	boss := greatest(g.n.Name(), g.Known())
	if boss != g.n.Name() && !g.canLock(k.ID) {
		return false
	}
	rest := slices.DeleteFunc(append([]string{g.n.Name()}, extra...), func(n string) bool { return n == boss })
	steps := [][]string{{boss}, rest, nil}
	limit, cancel := context.WithTimeout(ctx, l.patience.lock)
	defer cancel()
	l.mu.Lock()
	l.doing = k
	l.mu.Unlock()
	for i, step := range steps {
		if i == 2 {
			step = slices.DeleteFunc(g.Known(), func(n string) bool { return slices.Contains(k.Nodes, n) })
		}
		l.note(k, step)
		if !g.setLocks(limit, k.ID, step) || l.isOver(k) {
			l.unlock(k)
			return false
		}
	}
	return true
}

func (l *locker) note(k *locked, nodes []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.Nodes = slices.Concat(k.Nodes, nodes)
}

func (l *locker) isOver(k *locked) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return k.over
}

// unlock releases the lock of a session.
func (l *locker) unlock(k *locked) {
	l.mu.Lock()
	k.Phase = ending
	l.mu.Unlock()
	l.g.delLocks(k.ID, k.Nodes)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.doing == k {
		l.doing = nil
	}
}

type answer int

const (
	answerNone answer = iota
	answerTrue
	answerFalse // or the session is over
)

// await waits for the other node's part.
func (l *locker) await(ctx context.Context, k *locked) answer {
	late := time.NewTimer(l.patience.lock)
	defer late.Stop()
	for {
		if a, ok := l.answered(k); ok {
			return a
		}
		select {
		case <-ctx.Done():
			return answerFalse
		case <-late.C:
			return answerNone
		case <-l.news:
		}
	}
}

// answered tells whether the other node has done its part, and notes it.
func (l *locker) answered(k *locked) (answer, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.over {
		return answerFalse, true
	}
	for i, m := range l.inbox {
		if m.Node == k.Node && m.Tag == k.Tag {
			l.inbox = slices.Delete(l.inbox, i, i+1)
			if m.Set {
				k.Phase = both
				return answerTrue, true
			}
			k.Phase = ending
			return answerFalse, true
		}
	}
	return answerNone, false
}

// exchange holds the lock until the session is over.
func (l *locker) exchange(ctx context.Context, k *locked) (synced bool) {
	l.g.push(func() { l.g.server.bothLocked(k.Node, k.Tag, k.ID) })
	return l.hold(ctx, k)
}

func (l *locker) hold(ctx context.Context, k *locked) (synced bool) {
	late := time.NewTimer(l.patience.exchange)
	defer late.Stop()
	for !l.isOver(k) {
		select {
		case <-ctx.Done():
			return false // with the process, or the process that goes on has the lock
		case <-late.C:
			l.fail(k)
		case <-l.news:
		}
	}
	l.unlock(k)
	synced = slices.Contains(l.g.Known(), k.Node)
	l.mu.Lock()
	defer l.mu.Unlock()
	if synced {
		delete(l.failed, k.Node)
	}
	l.notify()
	return synced
}

// fail gives the session up, and leaves the node alone for a while.
func (l *locker) fail(k *locked) {
	l.mu.Lock()
	f := l.failed[k.Node]
	f.until = time.Now().Add(min(l.backOff<<f.times, maxBackOff))
	f.times = min(f.times+1, 10)
	l.failed[k.Node] = f
	if len(l.failed) > maxKnown {
		clear(l.failed)
	}
	l.mu.Unlock()
	l.g.push(func() { l.g.server.abandon(k.Node, k.Tag) })
}

// resume goes on with what another process has begun.
func (l *locker) resume(ctx context.Context) {
	l.mu.Lock()
	k := l.doing
	var h him
	if k != nil {
		h = l.him[k.Node]
	}
	l.mu.Unlock()
	switch {
	case k == nil:
	case k.Phase == both && h.Tag == k.Tag:
		l.exchange(ctx, k)
	case k.Phase == offered && h.Tag == k.Tag:
		l.complete(ctx, k)
	default:
		l.unlock(k)
	}
}

// drop forgets everything: the locker's process has ended, and its locks with it.
func (l *locker) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doing, l.inbox, l.owed = nil, nil, nil
	clear(l.him)
	l.notify()
}

// A savedLocker is what a locker hands over.
type savedLocker struct {
	Him   map[string]him
	Doing *locked
	Inbox []lockSet
}

// saved is the locker's state; l.mu is held.
func (l *locker) saved() savedLocker {
	inbox := l.inbox
	if l.owed != nil {
		inbox = append([]lockSet{*l.owed}, inbox...)
	}
	return savedLocker{l.him, l.doing, inbox}
}

// greatest is global's "boss".
func greatest(self string, known []string) string {
	return slices.Max(append([]string{self}, known...))
}
