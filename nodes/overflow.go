package nodes

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"

	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/inbox"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/metrics"
)

// What a mailbox's inbox has no room for counts towards Config.OverflowLimit, each peer's share of
// it: see package inbox. Where that is used up, and a sender has waited in vain for a while, or a
// connection's reader for a part of the time that is too large, the mailbox with the most of its
// overflow ends, with reason mailbox_full.

// unlockTellingOfOverflow releases b.mu, and logs, from time to time, that the mailbox is over its
// limit, and what comes next: a message of that peer has just been put into it, which overflows.
func (b *Mailbox) unlockTellingOfOverflow(peer string, cost int) {
	tell, over := b.inbox.Tells(), b.inbox.BeyondLimit()
	b.mu.Unlock()
	if h := b.n.links.Meter.Load(); h != nil && h.Overflow != nil && over {
		h.Overflow(peer, cost)
	}
	if tell {
		next := fmt.Sprintf("messages of %s are kept until they take its share of Config.OverflowLimit; then it is not read until there is "+
			"room, and after %v without, or %v out of %v, the mailbox with the most of its share ends (mailbox_full); with FullWait only after "+
			"the first", peerOr(peer), inbox.Patience, inbox.HoldLimit, inbox.HoldWindow)
		b.n.faults.mishaps.Log(b.n.log, slog.LevelWarn, "mailbox over its limit", "error", b.unreceived(), "next", next)
	}
}

// unreceived tells which mailbox is full, for the log, and which options bound it.
func (b *Mailbox) unreceived() error {
	names, limit := fmt.Sprint(" ", b.n.procs.namesOf(b)), "MailboxOptions.Limit"
	if b.origin.spawned != nil {
		names, limit = ", a function that waits for its place,", "its limit (Mailbox.SetLimit)"
		if f := b.n.procs.runs.calledBy(b.origin.spawned); f != "" {
			names = fmt.Sprintf(", the process of function %s,", f)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	bytes, _ := b.inbox.Limit()
	return fmt.Errorf("nobody receives from %v%s or not fast enough: %d messages, %d bytes; %s is %d, Config.OverflowLimit %d", b.pid, names,
		b.inbox.Len(), b.inbox.Bytes(), limit, bytes, b.n.overflow.Size())
}

// peerOr names a peer in whose name messages take memory.
func peerOr(peer string) string { return cmp.Or(peer, "this node") }

// blocks tells whether senders wait at the limit.
func (b *Mailbox) blocks() bool { return b.full() != FullExit }

// full is what the mailbox does at its limit.
func (b *Mailbox) full() Full {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, full := b.inbox.Limit()
	return Full(full)
}

// exitFull ends the mailbox because it is full; why says what that has led to.
func (b *Mailbox) exitFull(why string) {
	err, name := b.unreceived(), b.n.nameOf(b)
	_ = b.lockBefore(context.Background(), life.Ending)
	if b.ended() {
		b.mu.Unlock()
		return
	}
	b.n.stats.mailboxesFull.Add(1)
	notices := b.endUnlock(mailboxFull)
	if m := b.n.links.Meter.Load(); m != nil && m.MailboxFull != nil {
		m.MailboxFull(metrics.Clip(name))
	}
	b.n.faults.mishaps.Log(b.n.log, slog.LevelError, "mailbox ended, since it is full", "error", err, "why", why)
	b.notifyEnd(notices, bonds.Scope{})
}

// fullest is the mailbox with the most overflow of a peer, or the one that is not FullWait; b if
// there is none.
func (p *processes) fullest(b *Mailbox, peer string, all bool) *Mailbox {
	most := 0
	for _, other := range p.all() {
		if bytes := other.overflowOf(peer); bytes > most && (all || other.full() != FullWait) {
			b, most = other, bytes
		}
	}
	return b
}

// overflowOf is how many bytes of the overflow are a peer's.
func (b *Mailbox) overflowOf(peer string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inbox.OverflowOf(peer)
}
