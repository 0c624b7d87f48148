package nodes

import (
	"context"

	"github.com/cnode-go/cnode/nodes/internal/wait"
)

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
