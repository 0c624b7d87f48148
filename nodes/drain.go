package nodes

import (
	"context"
	"time"
)

const (
	// drainSlice is how long what drains goes on, and then halts, at first; both double, the former up to drainSliceMost.
	drainSlice     = 50 * time.Millisecond
	drainSliceMost = 400 * time.Millisecond
)

// drain lets running functions and handlers finish. What other nodes ask for does not begin any more; what a process of this node asks
// for does as long as others run, for these may wait for it.
func (p *processes) drain(ctx context.Context) error {
	p.mu.Lock()
	p.drains = true
	p.mu.Unlock()
	return wrap("drain", "", p.running.wait(ctx))
}

// busy counts a function or handler that is about to run; false once the node drains, unless a process of this node asks for it (here) and
// others run.
func (p *processes) busy(here bool) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.drains {
		return here && p.running.join()
	}
	p.running.enter()
	return true
}

// begin counts the server of a mailbox as running before it takes its next message. false: the server is to take no more.
//
//   - The node drains (busy is false): false, unless a function or handler runs and either a request of this node's is unread, or the
//     oldest unread message is from this node, which a later request may rely on.
//   - Servers do not rest: true.
//   - Servers begin to rest in the same moment: it looks again.
//   - Servers rest: true if a request of this node's is unread and a function or handler runs, which may wait for the answer.
//
// In the remaining case, servers rest and nothing of theirs has to be done first, it waits: for the end of the rest, a message, or the end
// of the mailbox (false).
func (p *processes) begin(b *Mailbox) bool {
	for !b.ended() {
		shut, change := p.resting.state()
		switch {
		case !shut && !p.busy(b.isAsked() || b.nextIsHere()):
			return false
		case !shut && !p.resting.isShut():
			return true
		case !shut:
			p.running.leave() // the one who waits for the tally may have looked before
			continue
		case b.isAsked() && p.running.join():
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

// isAsked tells whether a request of a process of this node is unread.
func (b *Mailbox) isAsked() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked != nil
}

// nextIsHere tells whether the oldest unread message is of a process of this node.
func (b *Mailbox) nextIsHere() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.first < len(b.queue) && b.queue[b.first].conn == nil
}

// admitCall waits before a call of a process of this node while that could not be dealt with. While the node drains, what runs may call,
// and at times who calls from outside has to wait.
func (p *processes) admitCall(ctx context.Context) error {
	if turnOf(ctx) == nil {
		if err := p.outside.pass(ctx); err != nil {
			return err
		}
	}
	for {
		shut, change := p.n.frozen.state()
		p.mu.RLock()
		held := p.held
		p.mu.RUnlock()
		if !shut || !held {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// byTurns waits, by idle, until nothing runs, and keeps the readers halted then. Neither halting them first nor last would do: a running
// function may wait for a message that they would bring (a deadlock), and what they read may start another function (it would never end).
// So by turns they go on for a while, and halt for a while. Each halt is longer than the one before, and the last takes a quarter of the
// time or more: what only takes long finishes there. The error is halt's, or ctx's.
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
