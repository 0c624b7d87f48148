package nodes

import (
	"bytes"
	"context"
	"log/slog"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/life"
)

// Close ends the process with reason normal. Receive still returns what is unread; a Server drops
// it. Close waits as Exit does.
func (b *Mailbox) Close() error {
	b.Exit(ei.Atom("normal"))
	return nil
}

// Exit ends the process: its names become free, linked processes get an exit signal, monitors a
// DOWN, with reason (unencodable_reason if it cannot be encoded). Only the first call counts. Exit
// waits while the node is frozen, or about to be, while a connection to a node that has to be told
// is frozen, and while such a node, if it reads at all, has as many such signals still to read as
// its connection takes ("Limits on what peers can do").
func (b *Mailbox) Exit(reason ei.Term) {
	if !b.stays() && !b.ended() { // another one goes with what it was made for
		_ = b.n.life.Before(context.Background(), life.Ending)
	}
	b.exit(reason, scope{})()
}

// exit is Exit without the wait for room, which is left to wait. The signals for the processes of
// asker go out, in their turn, before exit returns.
func (b *Mailbox) exit(reason ei.Term, asker scope) (wait func()) {
	return b.notifyEnd(b.end(reason), asker)
}

// exitBy is Exit because of something that has come over a connection. It may run on the reader's
// goroutine, so it does not wait for other nodes.
func (b *Mailbox) exitBy(reason ei.Term) { b.exit(reason, scope{}) }

// end ends the process, and returns what others are to be told of that.
func (b *Mailbox) end(reason ei.Term) map[scope]*exitNotice {
	b.lock()
	if b.ended() {
		b.mu.Unlock()
		return nil
	}
	return b.endUnlock(reason)
}

// endUnlock is end for a process that has not ended. b.mu is held on entry, and released on return.
func (b *Mailbox) endUnlock(reason ei.Term) map[scope]*exitNotice {
	b.why = reason
	notices := b.exitNotices(reason, true)
	b.bondTables = bondTables{}
	b.nodeTypes, b.nodesUp, b.nodesAway = 0, nil, nil
	b.restoreAll()
	had, released := b.n.procs.end(b)
	if b.cancel != nil {
		b.cancel()
	}
	for _, a := range b.pendingCalls {
		a.giveUp()
	}
	b.mu.Unlock()
	if had != "" {
		b.n.complainOfEnd(had, reason)
	}
	if released != "" && len(notices) > 0 {
		b.n.router.struck(released)
	}
	return notices
}

// complainOfEnd logs that a registered process has ended for a reason that an OTP supervisor does
// not regard as regular: here nothing restarts it.
func (n *Node) complainOfEnd(name ei.Atom, reason ei.Term) {
	if isRegular(reason) || !n.log.Enabled(n.ctx, slog.LevelInfo) {
		return
	}
	n.log.Info("registered process ended", "name", string(name), "reason", ei.Brief(reason, 1000))
}

// isRegular tells whether an OTP supervisor regards an exit reason as regular.
func isRegular(reason ei.Term) bool {
	if t, ok := reason.(ei.Tuple); ok && len(t) == 2 {
		return t[0] == ei.Atom("shutdown")
	}
	return reason == ei.Atom("normal") || reason == ei.Atom("shutdown")
}

// exitSignal handles an exit signal of exit/2, whose reason kill cannot be trapped; linkBroke
// handles those of links. See Erlang Reference Manual, "Processes", "Receiving Exit Signals". It is
// false when the mailbox has already gone on in another process, or the connection has ended.
func (b *Mailbox) exitSignal(ctl *dist.Control, c *Conn) bool {
	from, reason := ctl.From, ctl.Reason
	switch {
	case isAtom(reason, "kill") && !b.opts.lasting:
		b.exitBy(ei.Atom("killed"))
	case b.traps.Load():
		b.checkReason(reason, c)
		reason = bytes.Clone(reason) // without the rest of its frame
		m := &Message{Control: dist.Control{Op: dist.OpExit, From: from, To: b.pid, Reason: reason}, conn: c}
		if ctl.Flags != 0 {
			b.mu.Lock()
			m.Flags = b.priority(b.aliases[ctl.Ref], ctl.Flags)
			b.mu.Unlock()
		}
		return b.notifyFrom(c, m)
	case isAtom(reason, "normal") && from != b.pid:
	default:
		b.exitBy(b.exitTerm(reason, c))
	}
	return !b.hasMoved()
}

// isAtom tells whether an encoded term is an atom.
func isAtom(raw ei.Raw, a ei.Atom) bool {
	c := ei.NewCursor(raw)
	return c.AtomIs(a) && c.Len() == 0
}

// checkReason complains if the reason of an exit signal is not a well-formed term. The reason is
// passed on as it is, to be decoded by its receiver.
func (b *Mailbox) checkReason(reason ei.Raw, c *Conn) {
	if err := wellFormed(reason); err != nil {
		b.n.undecodable(c, "exit reason", err)
	}
}

// exitTerm decodes the reason of an exit signal, or of a DOWN message.
func (b *Mailbox) exitTerm(reason ei.Raw, c *Conn) ei.Term {
	term, err := reason.Decode()
	if err != nil {
		b.n.undecodable(c, "exit reason", err)
		return ei.Atom("undecodable_reason")
	}
	return term
}

// SendExit sends an exit signal to a process; reason kill cannot be trapped. It waits as Send does,
// for the connection and for room on it; a mailbox of this node takes it whatever its limit.
// ErrNoConnection if the node cannot be connected to; a process that does not exist is no error. It
// is erlang:exit/2.
func (b *Mailbox) SendExit(ctx context.Context, to ei.Pid, reason any) error {
	if b.ended() {
		return wrap("exit", string(to.Node), b.Err())
	}
	raw, err := ei.Append(nil, reason)
	if err != nil {
		return wrap("exit", string(to.Node), err)
	}
	return wrap("exit", string(to.Node), b.n.exit2(ctx, &dist.Control{Op: dist.OpExit2, From: b.pid, To: to, Reason: raw}))
}

// linkExit is the signal to a linked process that the process from has ended.
func linkExit(from, to ei.Pid, reason ei.Raw) *dist.Control {
	return &dist.Control{Op: dist.OpExit, From: from, To: to, Reason: reason}
}

// exitReason encodes a reason.
func exitReason(reason ei.Term) ei.Raw {
	raw, err := ei.AppendTerm(nil, reason)
	if err != nil {
		raw, _ = ei.AppendAtom(nil, "unencodable_reason")
	}
	return raw
}

// exit2 delivers an EXIT2 signal to a process here or elsewhere, connecting if need be.
func (n *Node) exit2(ctx context.Context, ctl *dist.Control) error {
	c, err := n.way(ctx, string(ctl.To.Node), ctl.To, "")
	switch {
	case err != nil:
		return err
	case c != nil:
		return c.sendSignal(ctx, ctl)
	}
	if err := n.life.Before(ctx, life.Draining); err != nil {
		return err
	}
	b := n.procs.local(ctl.To)
	if b != nil && !b.exitSignal(ctl, nil) || n.hasMoved() && b == nil {
		return ErrMoved
	}
	return nil
}
