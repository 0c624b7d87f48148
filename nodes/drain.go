package nodes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/wait"
)

const (
	// drainSlice is how long byTurns first lets the readers go on, and then halts them. Both times double with each turn; readers go on for
	// drainSliceMost at the longest.
	drainSlice     = 50 * time.Millisecond
	drainSliceMost = 400 * time.Millisecond
)

// drain lets running functions and handlers finish, and servers handle what they have received. Later requests of other nodes do not begin.
// Requests of processes of this node do, as long as another function or handler runs, since it may be waiting for the answer.
func (p *processes) drain(ctx context.Context) error {
	for _, b := range p.all() {
		b.keepBacklog() // before drains is set: from then on a server refuses what is no backlog
	}
	p.mu.Lock()
	p.drains = true
	p.mu.Unlock()
	p.turns.drain()
	err := p.running.Wait(ctx)
	if err != nil {
		err = fmt.Errorf("still running: %s: %w", p.whatRuns(), err)
	}
	return wrap("drain", p.n.Name(), err)
}

// mostNames is how many functions, Handlers and Servers an error names.
const mostNames = 10

// whatRuns names the functions, Handlers and Servers that run, for an error that says why waiting for them was given up.
func (p *processes) whatRuns() string {
	names := p.turns.names()
	for _, b := range p.all() {
		if b.runs.Load() == 0 {
			continue
		}
		who := p.namesOf(b)
		if len(who) == 0 {
			names = append(names, b.pid.String())
		}
		for _, name := range who {
			names = append(names, name.String())
		}
	}
	slices.Sort(names)
	if len(names) > mostNames {
		names = append(names[:mostNames], "…")
	}
	if len(names) == 0 { // it has ended just now, or waits for a place of Config.MaxCalls
		return fmt.Sprintf("%d functions", p.running.Count())
	}
	return strings.Join(names, ", ")
}

// busy counts a function or handler that is about to run. false: the node drains, and the function must not run; a request of a process of
// this node (here) still may, as long as another function or handler runs.
func (p *processes) busy(here bool) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.drains {
		return here && p.running.Join()
	}
	p.running.Enter()
	return true
}

// begin counts b's server as running, before the server takes the next message. false: the server is to take none, for b has ended, or
// the node drains and b has no backlog.
//
// Drain and freeze wait for the functions and handlers that run, and one of these may wait for an answer of this server. So as long as
// one runs, the server goes on with what processes of this node have sent:
//
//   - The node drains: if a request of such a process is unread, or the oldest unread message is from one, since a later request may rely
//     on it.
//   - Servers rest: if a request of such a process is unread. Otherwise the server waits here: for the end of the rest, a message, or the
//     end of b.
func (p *processes) begin(b *Mailbox) bool {
	for !b.ended() {
		shut, change := p.resting.State()
		switch {
		case !shut && b.hasBacklog():
			p.running.Enter()
			return true
		case !shut && !p.busy(b.isAsked() || b.nextIsHere()):
			return false
		case !shut && !p.resting.IsShut():
			return true
		case !shut:
			p.running.Leave() // a rest has begun, and the goroutine that waits for the tally may have looked before this server was counted
			continue
		case b.isAsked() && p.running.Join():
			return true
		}
		select {
		case <-change:
		case <-b.ready: // a message has come
		case <-b.over:
		}
	}
	return false
}

// isAsked tells whether a request from a process of this node is unread.
func (b *Mailbox) isAsked() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked != nil
}

// nextIsHere tells whether the oldest unread message is from a process of this node.
func (b *Mailbox) nextIsHere() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.first < len(b.queue) && b.queue[b.first].conn == nil
}

// admitCall makes a call by a process of this node wait as long as no process could deal with it: while the tables are held, and, unless a
// running function or handler makes the call, while outside is shut.
func (p *processes) admitCall(ctx context.Context) error {
	if turnOf(ctx) == nil {
		if err := p.outside.Pass(ctx); err != nil {
			return err
		}
	}
	for {
		shut, change := p.n.frozen.State()
		p.mu.RLock()
		held := p.held
		p.mu.RUnlock()
		if !shut || !held {
			return nil
		}
		if err := wait.For(ctx, change); err != nil {
			return err
		}
	}
}

// byTurns waits until nothing runs (idle) while the readers are halted, and leaves them halted until resume. The readers cannot be halted
// before the wait: a running function may wait for a message that a reader would bring (a deadlock). Nor can they be halted after it: what
// they read may start one function after the other (the wait would never end). So by turns the readers go on for a while, and halt for a
// while. Each halt is longer than the one before, and the last takes a quarter of the time or more, so that a function that merely takes
// long can finish then. The error is halt's, or ctx's.
func byTurns(ctx context.Context, idle func(context.Context) error, halt func(round int) (func(), error)) (resume func(), err error) {
	within := func(d time.Duration) error {
		slice, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		return idle(slice)
	}
	for round, d := 0, drainSlice; ctx.Err() == nil; round, d = round+1, 2*d {
		_ = within(min(d, drainSliceMost))
		resume, err = halt(round)
		if err != nil {
			return nil, err
		}
		if within(d) == nil {
			return resume, nil
		}
		resume()
	}
	return nil, ctx.Err()
}
