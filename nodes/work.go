package nodes

import (
	"context"
	"errors"
	"time"
)

// longWait is how long a call waits for a place before later ones of the same peer are worth a word
// in the log.
const longWait = time.Second

// The reasons that the log gives where calls of a peer have to wait, or are refused.
var (
	errSlowCalls = errors.New("calls of the peer have waited for a second: functions take long, and it has its share of Config.MaxCalls")
	errFullCalls = errors.New("calls of the peer, those that wait and those that run, take its share of the memory (Config.OverflowLimit)")
)

// until returns a context that ends when ctx ends or over is closed.
func (n *Node) until(ctx context.Context, over <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	n.goroutines.Run(func() {
		select {
		case <-over:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// admitRun makes t the run of a request that takes so many bytes of memory until it is over;
// false: the peer has had its share, and the request is to be refused. dropTurn ends it, if work
// does not.
func (n *Node) admitRun(t *run, c *Conn, bytes int) bool {
	t.n, t.conn, t.held = n, c, bytes
	t.place.of = n.procs.places
	if c == nil {
		n.requests.Force("", bytes)
		return true
	}
	t.place.peer = c.peer.Name
	if n.requests.Take(t.place.peer, bytes) != nil {
		n.stats.callsRefused.Add(1)
		c.complain(fullCalls, "calls refused", errFullCalls)
		return false
	}
	return true
}

func (n *Node) dropTurn(t *run) { n.requests.Give(t.place.peer, t.held) }

// work does what a run is for on a goroutine of its own, in a place of Config.MaxCalls. work does
// not wait for a place: the run is queued until its peer gets one, and counts as running from now
// on. work is false when the node shuts down (see life.Begin); then, or when the node closes, the
// turn does not run.
func (n *Node) work(t *run) bool {
	c := t.conn
	if !n.life.Begin(c == nil) {
		n.dropTurn(t)
		return false
	}
	if c != nil {
		c.works.Enter()
	}
	n.procs.runs.add(t)
	job, waited := n.procs.places.Begin(t.place.peer, t)
	if waited > longWait && c != nil {
		c.complain(slowCalls, "calls wait", errSlowCalls)
	}
	t.place.waitsAs(job)
	return true
}

// Begin begins the run, which has its place; false: it needs none any more.
func (t *run) Begin() bool {
	if !t.n.inPool(t) {
		t.done()
		return false
	}
	return t.place.begin()
}

// Run is the run, on its goroutine.
func (t *run) Run() {
	defer t.done()
	defer t.place.change(func() { t.place.over = true })
	t.does.do(t)
}

// done is the end of a run that work has begun, or has queued.
func (t *run) done() {
	n := t.n
	t.end()
	n.procs.runs.remove(t)
	n.dropTurn(t)
	if t.conn != nil {
		t.conn.works.Leave()
	}
	n.life.Work.Leave()
}
