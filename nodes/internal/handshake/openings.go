package handshake

import (
	"container/list"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Openings are the handshakes in progress that peers have started, over all listeners.
type Openings struct {
	Most  int           // how many there may be
	Limit time.Duration // how long each may take …
	Late  error         // … and the cause with which it ends then

	mu    sync.Mutex
	list  list.List   // *Opening, oldest first
	timer *time.Timer // ends handshakes that take too long; nil: there has been none
	timed bool        // the timer is set, or is never to be set again
}

// An Opening is one of these handshakes. It ends with its Ctx, or by End.
type Opening struct {
	Ctx    context.Context
	cancel context.CancelCauseFunc
	in     *Openings
	at     *list.Element // its place in the list
	host   netip.Prefix  // where the peer is
	began  time.Time
	spoke  bool
}

// ErrCrowded is why a handshake is given up for a newer one.
var ErrCrowded = errors.New("too many handshakes at once (Config.MaxHandshakes)")

// Begin makes o a handshake with a peer at host, within ctx, which cancel ends. If there are too
// many it ends another one.
func (all *Openings) Begin(ctx context.Context, o *Opening, cancel context.CancelCauseFunc, host netip.Prefix) {
	*o = Opening{cancel: cancel, in: all, host: host, began: time.Now()}
	o.Ctx = &timed{ctx, o.began.Add(all.Limit), all.Late}
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.list.Len() >= all.Most {
		out := all.dispensable()
		out.cancel(ErrCrowded)
		all.list.Remove(out.at)
	}
	o.at = all.list.PushBack(o)
	all.time(all.Limit)
}

// End takes the opening off the list, and ends its context.
func (o *Opening) End() {
	o.in.mu.Lock()
	defer o.in.mu.Unlock()
	o.cancel(nil)
	o.in.list.Remove(o.at)
}

// Heard notes that the peer is not silent.
func (o *Opening) Heard() {
	o.in.mu.Lock()
	defer o.in.mu.Unlock()
	o.spoke = true
}

// Len is how many handshakes there are.
func (all *Openings) Len() int {
	all.mu.Lock()
	defer all.mu.Unlock()
	return all.list.Len()
}

// A timed context has a deadline, at which sweep ends it.
type timed struct {
	context.Context
	until time.Time
	late  error // the cause then
}

func (c *timed) Deadline() (time.Time, bool) { return c.until, true }

// Err is what it would be for a context that ends itself at the deadline.
func (c *timed) Err() error {
	err := c.Context.Err()
	if err != nil && context.Cause(c.Context) == c.late {
		return context.DeadlineExceeded
	}
	return err
}

// time sets the timer that ends handshakes which take too long. One timer, which mostly finds none,
// serves all of them: to set one wakes a thread. all.mu is held.
func (all *Openings) time(left time.Duration) {
	switch {
	case all.timed:
		return
	case all.timer == nil:
		all.timer = time.AfterFunc(left, all.sweep)
	default:
		all.timer.Reset(left)
	}
	all.timed = true
}

// sweep ends the handshakes that have taken too long.
func (all *Openings) sweep() {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.timed = false
	now := time.Now()
	for e := all.list.Front(); e != nil; e = e.Next() {
		o := e.Value.(*Opening)
		if left := all.Limit - now.Sub(o.began); left > 0 {
			all.time(left)
			return
		}
		o.cancel(all.Late)
	}
}

// NoMore stops the timer for good: the node has ended, and all handshakes with it.
func (all *Openings) NoMore() {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.timed = true
	if all.timer != nil {
		all.timer.Stop()
	}
}

// silentGrace is the age from which a handshake is given up rather than a younger one: over TLS a
// peer's first word takes some round trips.
const silentGrace = time.Second

// dispensable is the handshake to end for a new one; all.mu is held. It chooses among those that
// have taken longer than silentGrace, if there are any, and of these among those of the host that
// has the most, so that a host which opens many ends its own first: there it takes the oldest whose
// peer has said nothing, else the oldest.
func (all *Openings) dispensable() *Opening {
	var list, slow []*Opening
	late := time.Now().Add(-silentGrace)
	for e := all.list.Front(); e != nil; e = e.Next() {
		o := e.Value.(*Opening)
		list = append(list, o)
		if !o.began.After(late) {
			slow = append(slow, o)
		}
	}
	if len(slow) > 0 {
		list = slow
	}
	count, most := map[netip.Prefix]int{}, 0
	for _, o := range list {
		count[o.host]++
		most = max(most, count[o.host])
	}
	list = slices.DeleteFunc(list, func(o *Opening) bool { return count[o.host] < most })
	if i := slices.IndexFunc(list, func(o *Opening) bool { return !o.spoke }); i >= 0 {
		return list[i]
	}
	return list[0]
}
