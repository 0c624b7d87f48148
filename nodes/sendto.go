package nodes

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/behalf"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/internal/seqtrace"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport"
)

// Sending to a process anywhere, here or over the connection to its node.

// send sends to this node or another one.
func (n *Node) send(ctx context.Context, ctl *dist.Control, node string, term any) error {
	by, _ := behalf.Of(ctx).(*Conn)
	return n.sendFor(ctx, by, ctl, node, term)
}

// sendFor is send on behalf of the peer of by, who has asked this node to pass a message on. If the
// message is for a process of this node, that process gets it as from the peer, also in another
// worker. by may be nil: then it is this node's own.
func (n *Node) sendFor(ctx context.Context, by *Conn, ctl *dist.Control, node string, term any) error {
	c, err := n.wayOf(ctx, node, ctl)
	if err == nil && c != nil && by != nil && node == n.Name() {
		c, err = n.router.ReachFor(by, c.ties.Worker)
	}
	if len(ctl.Token) == 0 {
		seqtrace.Of(ctx).Mark(ctl)
	}
	switch {
	case err != nil:
		return wrap("send to", node, err)
	case c == nil:
		return wrap("send to", node, n.sendHere(ctx, by, ctl, term))
	case ctl.Op == dist.OpAliasSend && !c.addressAlias(ctl):
		return wrap("send to", node, fmt.Errorf("the node knows no aliases: %w", errors.ErrUnsupported))
	case ctl.Op == dist.OpSend && node != n.Name() && c.l.Peer().Flags.Has(dist.FlagSendSender):
		ctl.Op = dist.OpSendSender
	}
	return c.send(ctx, ctl, term)
}

// errFullMailbox: there was no room for a message that a peer has caused to be sent here.
var errFullMailbox = errors.New("the mailbox is full")

// sendHereNow is sendHere for what a peer has asked this node to send. It does not wait for room:
// the process that the peer names may never make any, and may be the very one that answers the
// peer.
func (n *Node) sendHereNow(ctl *dist.Control, term any) error {
	m, err := n.hereMessage(nil, ctl, term)
	if err == nil {
		over, end := context.WithCancel(n.ctx)
		end()
		err = n.deliverHere(over, m)
	}
	if errors.Is(err, context.Canceled) {
		err = errFullMailbox
	}
	return wrap("send to", n.Name(), err)
}

// sendHere is send to a process of this node that is in no other worker. by is the connection of
// the peer that has asked for it; nil: none.
func (n *Node) sendHere(ctx context.Context, by *Conn, ctl *dist.Control, term any) error {
	m, err := n.hereMessage(by, ctl, term)
	if err != nil {
		return err
	}
	m.byFunction = runOf(ctx) != nil
	return n.deliverHere(ctx, m)
}

// hereMessage makes a message to a process of this node.
func (n *Node) hereMessage(by *Conn, ctl *dist.Control, term any) (*Message, error) {
	payload, err := n.encode().Append(nil, term)
	if err != nil {
		return nil, err
	}
	return &Message{Control: *ctl, Payload: payload, by: by}, nil
}

// deliverHere gives a message to the process of this node that it is for.
func (n *Node) deliverHere(ctx context.Context, m *Message) error {
	b := n.procs.recipient(m)
	switch {
	// only the caller makes room there
	case b != nil && b.runsWith(ctx) && b.blocks():
		if !b.takeMailboxReply(m, nil) && !b.notify(m) {
			return ErrMoved
		}
	case b != nil && b.deliver(m, wait.Cancelled(ctx)):
	case n.hasMoved() || b != nil && b.hasMoved():
		return ErrMoved
	case b == nil:
		// no process can have that name
		if _, err := protocol.AppendControl(nil, &m.Control); err != nil {
			return err
		}
		n.stats.undeliverable.Add(1)
	case transport.IsNoWait(ctx) && !b.ended():
		return os.ErrDeadlineExceeded
	default:
		return ctx.Err()
	}
	return nil
}

// Send sends term (an ei.Term or a Go value, see ei.Append) to a process anywhere, connecting to
// its node if need be. It waits while the mailbox of a local process, or the queue of the
// connection to a remote one, is full. A message to a process that does not exist is dropped, as in
// Erlang. A mailbox that has ended sends nothing: the error is Err's. What is sent just as the
// mailbox ends may arrive after its exit signals.
func (b *Mailbox) Send(ctx context.Context, to ei.Pid, term any) error {
	if b.ended() {
		return wrap("send to", string(to.Node), b.Err())
	}
	return b.n.send(ctx, &dist.Control{Op: dist.OpSend, From: b.pid, To: to}, string(to.Node), term)
}

// SendAll is Send to several processes, and encodes the term once: what one node gets it gets with
// few writes. Those whose nodes read, and whose mailboxes have room, get it at once; for the
// others SendAll waits at the same time, so that no one of them holds up the rest, until ctx ends.
// Processes of one node get it in the order of to. The error joins those of all for whom it has
// waited in vain, or to whom there is no connection.
func (b *Mailbox) SendAll(ctx context.Context, to iter.Seq[ei.Pid], term any) error {
	if b.ended() {
		return wrap("send to", "many", b.Err())
	}
	payload, err := b.n.encode().Append(nil, term)
	if err != nil {
		return wrap("send to", "many", err)
	}
	if err := link.RawFault(term, payload); err != nil {
		b.n.faults.each.Log(b.n.log, slog.LevelWarn, link.BadRaw, link.BadRaw, "peer", "many", "error", err)
	}
	type place struct{ node, process ei.Pid } // where there may be no room: a connection, or a mailbox here
	var places []place
	at := map[place][]ei.Pid{}
	for pid := range to {
		p := place{node: ei.Pid{Node: pid.Node}}
		if pid.Node == b.pid.Node {
			p.process = pid
		}
		if at[p] == nil {
			places = append(places, p)
		}
		at[p] = append(at[p], pid)
	}
	var mu sync.Mutex
	var failed []error
	var waits sync.WaitGroup
	for _, p := range places {
		rest, err := b.sendMany(NoConnect(transport.NoWait()), at[p], payload)
		late := errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ErrNoConnection) && ctx.Value(noConnectKey{}) == nil
		switch {
		case err == nil:
		case !late || transport.IsNoWait(ctx):
			mu.Lock()
			failed = append(failed, err)
			mu.Unlock()
		default:
			waits.Go(func() {
				if _, err := b.sendMany(ctx, rest, payload); err != nil {
					mu.Lock()
					defer mu.Unlock()
					failed = append(failed, err)
				}
			})
		}
	}
	waits.Wait()
	return errors.Join(failed...)
}

// sendMany sends to processes of one node, and returns those to whom nothing was sent.
func (b *Mailbox) sendMany(ctx context.Context, to []ei.Pid, payload ei.Raw) (rest []ei.Pid, err error) {
	if node := to[0].Node; node != b.pid.Node {
		c, err := b.n.connection(ctx, string(node))
		if err != nil {
			return to, wrap("send to", string(node), err)
		}
		return c.sendMany(ctx, b.pid, to, payload)
	}
	for i, pid := range to {
		if err := b.Send(ctx, pid, payload); err != nil {
			return to[i:], err
		}
	}
	return nil, nil
}

// SendName is Send to a registered name of a node: it waits as Send does, and has its errors. A
// message to a name that nobody has is dropped.
func (b *Mailbox) SendName(ctx context.Context, node, name string, term any) error {
	if b.ended() {
		return wrap("send to", node, b.Err())
	}
	return b.n.send(ctx, &dist.Control{Op: dist.OpRegSend, From: b.pid, ToName: ei.Atom(name)}, node, term)
}

// SendWorkers sends term to the processes that have the name in the other workers of the node:
// those that Config.Setup has registered there, which SendName does not reach. It waits as Send
// does, for one worker after the other; a worker to which there is no way at present gets nothing,
// and one where nobody has the name drops it. The error is that of the last one that failed. In a
// node that is one process there are no others.
func (b *Mailbox) SendWorkers(ctx context.Context, name string, term any) (err error) {
	if b.ended() {
		return wrap("send to workers", "", b.Err())
	}
	payload, err := b.n.encode().Append(nil, term)
	if err != nil {
		return wrap("send to workers", "", err)
	}
	for _, c := range b.n.router.AllWorkerLinks() {
		ctl := &dist.Control{Op: dist.OpRegSend, From: b.pid, ToName: ei.Atom(name)}
		if failed := c.sendRaw(ctx, link.InTurn, ctl, payload); failed != nil {
			err = failed
		}
	}
	return err
}

// SendAlias is Send to an alias that a process anywhere has made (Mailbox.Alias, erlang:alias/1 of
// OTP 24). The message is dropped once the alias is no more. It waits as Send does, and has its
// errors. A node that knows no aliases is errors.ErrUnsupported.
func (b *Mailbox) SendAlias(ctx context.Context, alias ei.Ref, term any) error {
	return b.sendAlias(ctx, alias, 0, term)
}

// maxPriority is how many bytes a term may have that leaves for another node with priority: more
// makes an OTP 28 or 29 before erts 16.4.0.6 or 17.0.6 crash.
const maxPriority = 32 << 10

// SendPriority is SendAlias with priority: if the process has made the alias for that
// (AliasPriority, erlang:alias([priority]) of OTP 28), it receives the message before all that have
// come without priority. Otherwise the message is one like any other, as it is if the node is an
// OTP 27 or older, or if the message goes to another node and its encoded term is larger than 32
// KiB, over which some nodes of OTP 28 and 29 would crash. It waits as Send does, and has its
// errors; a node that knows no aliases is errors.ErrUnsupported. It is erlang:send(Alias, Term,
// [priority]).
func (b *Mailbox) SendPriority(ctx context.Context, alias ei.Ref, term any) error {
	raw, err := b.n.encode().Append(nil, term)
	if err != nil {
		return wrap("send to an alias of", string(alias.Node), err)
	}
	flags := uint64(dist.AltactPrio)
	if len(raw) > maxPriority && string(alias.Node) != b.n.Name() {
		flags = 0
	}
	return b.sendAlias(ctx, alias, flags, ei.Raw(raw))
}

func (b *Mailbox) sendAlias(ctx context.Context, alias ei.Ref, flags uint64, term any) error {
	node := string(alias.Node)
	if b.ended() {
		return wrap("send to an alias of", node, b.Err())
	}
	return b.n.send(ctx, &dist.Control{Op: dist.OpAliasSend, From: b.pid, Ref: alias, Flags: flags}, node, term)
}

// Answers to a third node: a peer has passed on a request of a process there, or says so. What such
// a process gets must not make its node end the connection with this one, and no wait for its node
// may hold up this one, whatever the peer made up.

// How many answers wait at once for connections to nodes that are not connected: in all, for one
// peer, and in bytes. Further answers are dropped.
const (
	maxStrangers     = 64
	maxStrangersEach = 16
	maxStrangerBytes = 16 << 20
)

// strangers counts the answers that wait for a connection, which may take Config.HandshakeTimeout
// for each name that a peer makes up, or for the way to another worker. (In OTP, too, only the
// message waits, and not the process that sends it.)
type strangers struct {
	n            *Node
	count, bytes atomic.Int64
}

// enter counts an answer that a peer has asked for (nil: a process of this node); false: there is
// no room.
func (s *strangers) enter(by *Conn, bytes int) bool {
	ok := s.count.Add(1) <= maxStrangers
	ok = s.bytes.Add(int64(bytes)) <= maxStrangerBytes && ok
	if by != nil {
		ok = by.strangers.Add(1) <= maxStrangersEach && ok
	}
	if !ok {
		s.leave(by, bytes)
	}
	return ok
}

func (s *strangers) leave(by *Conn, bytes int) {
	s.count.Add(-1)
	s.bytes.Add(int64(-bytes))
	if by != nil {
		by.strangers.Add(-1)
	}
}

// answerThird sends an answer that a peer has asked for to a process of a third node: now, or,
// unless prompt, once there is a connection. A prompt answer does not wait for room either. With
// rules, no peer makes this node connect: who can relay a handshake could take its place elsewhere.
func (s *strangers) answerThird(ctx context.Context, by *Conn, to otp.Addressee, prompt bool, answer ei.Term) error {
	payload, err := ei.AppendTerm(nil, answer)
	if err != nil {
		return err
	}
	conn := s.n.Conn(string(to.Pid.Node))
	switch {
	case conn == nil && !prompt && (s.n.rights.rules == nil || by.toOthers() == nil):
		return s.answerStranger(by, to, payload)
	case conn == nil:
		return ErrNoConnection
	case prompt:
		ctx = transport.NoWait()
	}
	return conn.answerThird(ctx, to, payload)
}

func (s *strangers) answerStranger(by *Conn, to otp.Addressee, payload ei.Raw) error {
	node := to.Pid.Node
	payload, err := otp.Acceptable(payload, node, true)
	if err != nil {
		return err
	}
	return s.answerLater(by, to.Pid, len(payload), func() error {
		conn, err := s.n.connection(s.n.ctx, string(node))
		if err == nil {
			err = conn.answerThird(s.n.ctx, to, payload)
		}
		return err
	})
}

// answerLater sends an answer of that many bytes on a goroutine of its own, if not too many do so
// already.
func (s *strangers) answerLater(by *Conn, to ei.Pid, bytes int, send func() error) error {
	if !s.n.strangers.enter(by, bytes) {
		return ErrNoConnection
	}
	s.n.goroutines.Run(func() {
		defer s.n.strangers.leave(by, bytes)
		if err := send(); err != nil {
			s.n.log.Debug("answer lost", "to", to, "error", err)
		}
	})
	return nil
}

func (c *Conn) answerThird(ctx context.Context, to otp.Addressee, payload ei.Raw) error {
	node := ei.Atom(c.Name())
	if !otp.Possible(to.Pid, node) || !otp.Possible(to.Alias, node) {
		return otp.ErrImpossible
	}
	payload, err := otp.Acceptable(payload, node, c.l.Peer().Flags.Has(dist.FlagNativeRecords))
	if err != nil {
		return err
	}
	ctl, err := c.answerTo(to)
	if err != nil {
		return err
	}
	return c.send(ctx, &ctl, payload)
}

// answerWorker sends an answer that a peer has asked for to a process of another worker of this
// node: now, or, unless prompt, once there is a way to it, and room. The peer may have made up the
// worker's number, and news of a number may take a while.
func (s *strangers) answerWorker(ctx context.Context, by *Conn, at int, ctl *dist.Control, prompt bool, answer ei.Term) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := ErrNoConnection
	if c := s.n.router.WorkerLink(at); c != nil {
		if ctl.Op == dist.OpAliasSend {
			c.addressAlias(ctl) // workers know aliases
		}
		err = c.send(transport.NoWait(), ctl, answer)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	if prompt {
		return err
	}
	payload, err := ei.AppendTerm(nil, answer)
	if err != nil {
		return err
	}
	return s.answerLater(by, ctl.To, len(payload), func() error {
		c, err := s.n.router.Reach(s.n.ctx, at)
		switch {
		case err != nil:
			return err
		case c == nil: // there is no such worker
			s.n.stats.undeliverable.Add(1)
			return nil
		}
		if ctl.Op == dist.OpAliasSend {
			c.addressAlias(ctl)
		}
		return c.sendRaw(s.n.ctx, link.InTurn, ctl, payload)
	})
}
