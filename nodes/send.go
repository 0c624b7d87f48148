package nodes

import (
	"context"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/seqtrace"
)

// Send sends term (an ei.Term or a Go value, see ei.Append) to a process of the peer. It returns
// when the message is queued: it waits while Config.QueueLimit bytes already are, and while the
// connection is frozen; for a message of 128 KiB or more it waits until that has been written. A
// peer that takes fragments gets such a message in pieces, with others' messages between them. If
// ctx ends before its first byte is out nothing is sent; after that the rest goes out all the same,
// and before whatever the same process sends later. Under transport.NoWait a large message in
// pieces is copied, if less than DefaultMailboxLimit bytes of such messages are still to go out.
// If the connection has ended, even during the wait, the error is Err's. A term that
// cannot be encoded is ei.Append's error. It is ei_send.
func (c *Conn) Send(ctx context.Context, to ei.Pid, term any) error {
	return c.send(ctx, &dist.Control{Op: dist.OpSend, To: to}, term)
}

// SendName is Send to a registered name. The sender is Self; once the node has started, answers to
// it are lost: use a Mailbox. It waits as Send does, and has its errors; a name that cannot be an
// atom is a *dist.ControlError. It is ei_reg_send.
func (c *Conn) SendName(ctx context.Context, to string, term any) error {
	return c.send(ctx, &dist.Control{Op: dist.OpRegSend, From: c.l.Self(), ToName: ei.Atom(to)}, term)
}

// SendRaw is Send of an encoded term, without version byte. payload may be reused on return.
// Nothing is allocated for one of less than 128 KiB. It waits as Send does, and has its errors; a
// payload that is empty, or begins with a version byte, is dist.ErrFrame. The peer ends the
// connection over any other payload that is not a term, and the node's log has a warning. It is
// ei_send_encoded.
func (c *Conn) SendRaw(ctx context.Context, to ei.Pid, payload ei.Raw) error {
	ctl := dist.Control{Op: dist.OpSend, To: to}
	return c.SendControl(ctx, &ctl, payload)
}

// SendNameRaw is SendName of an encoded term, without version byte; otherwise it is like SendRaw.
// It is ei_send_reg_encoded.
func (c *Conn) SendNameRaw(ctx context.Context, to string, payload ei.Raw) error {
	ctl := dist.Control{Op: dist.OpRegSend, From: c.l.Self(), ToName: ei.Atom(to)}
	return c.SendControl(ctx, &ctl, payload)
}

// send sends a term, and waits as Send does.
func (c *Conn) send(ctx context.Context, ctl *dist.Control, term any) error {
	return wrap("send to", c.Name(), c.l.SendTerm(ctx, ctl, term))
}

// SendControl sends any control message; payload must be given exactly when the operation has one,
// as for SendRaw: else the error is dist.ErrFrame, and nothing is sent. A message that cannot be
// encoded is a *dist.ControlError. It waits as Send does, and has its other errors. Naming another
// process's pid or reference as the sender is the caller's responsibility.
func (c *Conn) SendControl(ctx context.Context, ctl *dist.Control, payload ei.Raw) error {
	return wrap("send to", c.Name(), c.l.SendControl(ctx, ctl, payload))
}

// sendRaw sends an encoded message of the node's own.
func (c *Conn) sendRaw(ctx context.Context, how link.How, ctl *dist.Control, payload ei.Raw) error {
	return wrap("send to", c.Name(), c.l.Send(ctx, how, ctl, payload))
}

// tell sends a signal for which nobody waits: Node.tell for one connection.
func (c *Conn) tell(ctl *dist.Control) { c.answer(ctl, nil) }

// answer sends a message with a payload as tell does: at once, for a reader, who must not wait.
func (c *Conn) answer(ctl *dist.Control, payload ei.Raw) {
	_ = c.l.Send(context.Background(), link.Now, ctl, payload) // the end of the connection tells of a fault
}

// sendMany sends a term to processes of the peer, and returns those to whom nothing was sent.
func (c *Conn) sendMany(ctx context.Context, from ei.Pid, to []ei.Pid, payload ei.Raw) (rest []ei.Pid, err error) {
	ctl := dist.Control{Op: dist.OpSend, From: from}
	if c.l.Peer().Flags.Has(dist.FlagSendSender) {
		ctl.Op = dist.OpSendSender
	}
	seqtrace.Of(ctx).Mark(&ctl)
	rest, err = c.l.SendMany(ctx, &ctl, to, payload)
	return rest, wrap("send to", c.Name(), err)
}

// acknowledge answers an UNLINK_ID, before any other signal goes to that process
// (erl_dist_protocol, "New link protocol").
func (c *Conn) acknowledge(ctl *dist.Control) {
	c.tell(&dist.Control{Op: dist.OpUnlinkIDAck, ID: ctl.ID, From: ctl.To, To: ctl.From})
}

// takesAliases tells whether the peer sends to aliases, and takes what is sent to its own.
func (c *Conn) takesAliases() bool { return c.l.Peer().Flags&(dist.FlagAlias|dist.FlagAltactSig) != 0 }

// addressAlias gives an ALIAS_SEND the form that the peer has agreed to: in the older one there is
// no priority. It is false if the peer knows no aliases.
func (c *Conn) addressAlias(ctl *dist.Control) bool {
	if c.l.Peer().Flags.Has(dist.FlagAltactSig) {
		ctl.Op, ctl.Flags = dist.OpAltactSigSend, ctl.Flags&dist.AltactPrio|dist.AltactAlias
	}
	return c.takesAliases()
}

// sendResult is the context for a result.
func (n *Node) sendResult(followed bool) context.Context {
	if followed {
		return n.followed
	}
	return n.alone
}

// Flush waits until everything sent so far has been given to the transport, or until ctx or the
// connection ends: then the error is ctx's, or Err's.
func (c *Conn) Flush(ctx context.Context) error { return wrap("flush", c.Name(), c.l.Flush(ctx)) }
