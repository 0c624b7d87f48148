package nodes

import (
	"context"
	"errors"
	"time"

	"github.com/cnode-go/cnode/ei"
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

// admit makes k and t the task and the run of a request that takes so many bytes of memory until it
// is over; false: the peer has had its share, and the request is to be refused. settle gives it
// back, if start does not.
func (k *task) admit(n *Node, t *run, c *Conn, bytes int) bool {
	k.run, k.n, t.task, t.conn = t, n, k, c
	k.place.Of = n.procs.places
	if c != nil {
		k.place.Peer = c.Name()
	}
	if t.hold(n, bytes) != nil {
		return false
	}
	t.brought = bytes
	return true
}

// hold takes memory for a request, or for what the function gets of it, until the run is over; if
// the peer has had its share the error is errFullCalls.
func (t *run) hold(n *Node, bytes int) error {
	if t.take(n, bytes) {
		return nil
	}
	n.stats.callsRefused.Add(1)
	t.conn.l.Complain(fullCalls, "calls refused", errFullCalls)
	return errFullCalls
}

func (t *run) take(n *Node, bytes int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == 0 && t.brought > 0 && !t.settled { // the message of a Server, which no mailbox has any more
		n.requests.Force(t.payer(), t.brought)
		t.held = t.brought
	}
	switch {
	case t.settled: // the program goes on with the function's context
		return true
	case t.conn == nil:
		n.requests.Force("", bytes)
	case n.requests.Take(t.payer(), bytes) == nil:
	case t.held+bytes <= ofAnySize*t.brought && n.requests.HasOnly(t.payer(), t.held):
		n.requests.Force(t.payer(), bytes)
	default:
		return false
	}
	t.held += bytes
	return true
}

// ofAnySize is how many times its size a request may take, with what it becomes, of a peer that has
// no other one, whatever its share is: a large binary gets through, and is copied.
const ofAnySize = 3

// settle gives the memory back that the run holds.
func (t *run) settle(n *Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.settled = true; t.held > 0 {
		n.requests.Give(t.payer(), t.held)
		t.held = 0
	}
}

// payer is the peer in whose name the run takes memory; "": a process of this node.
func (t *run) payer() string {
	if t.conn == nil {
		return ""
	}
	return t.conn.Name()
}

// Decoding is how the terms are decoded that a function gets, of so many bytes in all: what they
// become counts as the request itself does. t may be nil: a program calls the function.
func (t *run) Decoding(o ei.DecodeOptions, size int) ei.DecodeOptions {
	n := t.node()
	if n == nil {
		return o.Shared(size, nil)
	}
	return o.Shared(size, func(bytes int) error { return t.hold(n, bytes) })
}

// node is the node that runs the function; nil: none does.
func (t *run) node() *Node {
	switch {
	case t == nil:
		return nil
	case t.task != nil:
		return t.task.n
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.self == nil {
		return nil
	}
	return t.self.n
}

// decode decodes the terms that are still encoded.
func (t *run) decode(terms []ei.Term) error {
	for i, term := range terms {
		if raw, ok := term.(ei.Raw); ok {
			decoded, err := t.decodeTerm(raw)
			if err != nil {
				return err
			}
			terms[i] = decoded
		}
	}
	return nil
}

// decodeTerm decodes a term for a function. What a short one becomes is part of what every function
// takes that runs (see package places).
func (t *run) decodeTerm(raw ei.Raw) (ei.Term, error) {
	if len(raw) <= shortTerm {
		return raw.Decode()
	}
	return t.Decoding(ei.DecodeOptions{}, len(raw)).Decode(raw)
}

// shortTerm is the size, in bytes, of terms that are not counted when they are decoded.
const shortTerm = 1 << 10

// start does what a task is for on a goroutine of its own, in a place of Config.MaxCalls. It does
// not wait for a place: the task is queued until its peer gets one, and counts as running from now
// on. It is false when the node shuts down (see life.Begin); then, or when the node closes, the
// task does not begin.
func (k *task) start() bool {
	n, c := k.n, k.run.conn
	if !n.life.Begin(c == nil) {
		k.run.settle(n)
		return false
	}
	if c != nil {
		c.works.Enter()
	}
	n.procs.runs.add(k)
	job, waited := n.procs.places.Begin(k.place.Peer, k)
	if waited > longWait && c != nil {
		c.l.Complain(slowCalls, "calls wait", errSlowCalls)
	}
	k.place.Await(job)
	return true
}

// Begin begins the task, which has its place; false: it needs none any more.
func (k *task) Begin() bool {
	if !k.n.inPool(k) {
		k.done()
		return false
	}
	return k.place.Begin()
}

// Run is the task, on its goroutine.
func (k *task) Run() {
	defer k.done()
	defer k.place.End()
	k.does.do()
}

// done is the end of a task that start has begun, or has queued.
func (k *task) done() {
	n := k.n
	k.end()
	n.procs.runs.remove(k)
	k.run.settle(n)
	if k.run.conn != nil {
		k.run.conn.works.Leave()
	}
	n.life.Work.Leave()
}
