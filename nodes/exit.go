package nodes

import (
	"bytes"
	"context"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/life"
)

// exitSignal handles an exit signal of exit/2, whose reason kill cannot be trapped; linkBroke
// handles those of links. See Erlang Reference Manual, "Processes", "Receiving Exit Signals". It is
// false when the mailbox has already gone on in another process, or the connection has ended.
func (b *Mailbox) exitSignal(from ei.Pid, reason ei.Raw, c *Conn) bool {
	switch {
	case isAtom(reason, "kill") && !b.opts.lasting:
		b.exitBy(ei.Atom("killed"))
	case b.opts.TrapExit:
		b.checkReason(reason, c)
		reason = bytes.Clone(reason) // without the rest of its frame
		return b.notifyFrom(c, &Message{Control: dist.Control{Op: dist.OpExit, From: from, To: b.pid, Reason: reason}, conn: c})
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

// sendExit tells a linked process that the process from has ended.
func sendExit(tell signalFunc, from, to ei.Pid, reason ei.Raw) {
	tell(&dist.Control{Op: dist.OpExit, From: from, To: to, Reason: reason})
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
	if b != nil && !b.exitSignal(ctl.From, ctl.Reason, nil) || n.hasMoved() && b == nil {
		return ErrMoved
	}
	return nil
}
