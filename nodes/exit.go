package nodes

import (
	"bytes"
	"context"
	"iter"
	"log/slog"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/transport"
)

// Close ends the process with reason normal. Close waits as Exit does.
func (b *Mailbox) Close() error {
	b.Exit(ei.Atom("normal"))
	return nil
}

// Exit ends the process: its names become free, linked processes get an exit signal, monitors a
// DOWN, with reason (unencodable_reason if it cannot be encoded), and what is unread is dropped, as
// with a process of Erlang: receive it before. Only the first call counts. Exit
// waits while the node is frozen, or about to be, while a connection to a node that has to be told
// is frozen, and while such a node, if it reads at all, has as many such signals still to read as
// its connection takes ("Limits on what peers can do").
func (b *Mailbox) Exit(reason ei.Term) {
	if !b.stays() && !b.ended() { // another one goes with what it was made for
		_ = b.n.life.Before(context.Background(), life.Ending)
	}
	if told := b.exit(reason, bonds.Scope{}); told != nil {
		told.Wait()
	}
}

// exit is Exit without the wait for room, which is left to told; nil: there is room. The signals
// for the processes of asker go out, in their turn, before exit returns.
func (b *Mailbox) exit(reason ei.Term, asker bonds.Scope) (told *sync.WaitGroup) {
	return b.notifyEnd(b.end(reason), asker)
}

// exitBy is Exit because of something that has come over a connection. It may run on the reader's
// goroutine, so it does not wait for other nodes.
func (b *Mailbox) exitBy(reason ei.Term) { b.exit(reason, bonds.Scope{}) }

// end ends the process, and returns what others are to be told of that.
func (b *Mailbox) end(reason ei.Term) exitNotices {
	b.lock()
	if b.ended() {
		b.mu.Unlock()
		return exitNotices{}
	}
	return b.endUnlock(reason)
}

// endUnlock is end for a process that has not ended. b.mu is held on entry, and released on return.
func (b *Mailbox) endUnlock(reason ei.Term) exitNotices {
	b.why = reason
	notices := b.exitNotices(reason, true)
	b.leaveOrphans(reason)
	b.bonds.Clear()
	b.nodes.Forget()
	b.dropUnread()
	switch { // before others see the end: a Server's Terminate comes with a context that has ended
	case b.origin.spawned != nil:
		b.origin.spawned.processEnded()
	case b.served.cancel != nil:
		b.served.cancel()
	}
	had, released := b.n.procs.end(b)
	for _, a := range b.pendingCalls.All() {
		a.giveUp()
	}
	b.inherited, b.label = nil, nil
	b.mu.Unlock()
	if had != "" {
		b.n.complainOfEnd(had, reason)
	}
	if released != "" && notices.first != nil {
		b.n.router.Struck(released)
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
			m.Flags = b.priority(b.bonds.Alias(ctl.Ref), ctl.Flags)
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
		b.n.faults.undecodable(c, "exit reason", err)
	}
}

// exitTerm decodes the reason of an exit signal, or of a DOWN message.
func (b *Mailbox) exitTerm(reason ei.Raw, c *Conn) ei.Term {
	term, err := reason.Decode()
	if err != nil {
		b.n.faults.undecodable(c, "exit reason", err)
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

// exitReason encodes a reason.
func exitReason(reason ei.Term) ei.Raw {
	if raw, ok := reason.(ei.Raw); ok && len(raw) > 0 {
		return raw
	}
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
		return c.sendRaw(ctx, link.InTurn, ctl, nil)
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

// An exitNotice is the signals that a process which ends has for the processes of one node, or of
// one worker of this node, in their order. A node that does not read holds up its own signals only.
type exitNotice struct {
	n  *Node
	to bonds.Scope
	// counts them in its exits; nil: there is no connection, or they are for this node
	conn    *Conn
	signals []*dist.Control
	ofCall  bool // the process was a call's: whoever called does not wait for the peer

	// the first signal, and room for its place: most often there is no other
	one  dist.Control
	room [1]*dist.Control
}

// exitNotices are the notices of one process. Most often there is one at the most.
type exitNotices struct {
	first *exitNotice // nil: there is none
	more  map[bonds.Scope]*exitNotice
}

func (x *exitNotices) of(to bonds.Scope) *exitNotice {
	if x.first != nil && x.first.to == to {
		return x.first
	}
	return x.more[to]
}

func (x *exitNotices) all() iter.Seq[*exitNotice] {
	return func(yield func(*exitNotice) bool) {
		if x.first == nil || !yield(x.first) {
			return
		}
		for _, w := range x.more {
			if !yield(w) {
				return
			}
		}
	}
}

// add adds a signal of a process that has ended.
func (x *exitNotices) add(b *Mailbox, to bonds.Scope, ctl dist.Control) {
	w := x.of(to)
	switch {
	case w != nil:
		another := ctl
		w.signals = append(w.signals, &another)
		return
	case x.first == nil:
		w = new(exitNotice)
		x.first = w
	default:
		w = new(exitNotice)
		lazymap.Put(&x.more, to, w)
	}
	w.n, w.to, w.ofCall, w.one = b.n, to, b.origin.private, ctl
	w.signals = append(w.room[:0], &w.one)
	b.n.procs.exits.Enter()
	if w.conn = b.n.Conn(to.Node); w.conn != nil {
		w.conn.exits.Enter()
	}
}

// Up to this many signals of a process that ends are written by whoever ends it, if nothing waits
// before them.
const exitSignals = 64

// exitNotices lists the signals that tell of the end of the mailbox, those to processes here if
// here says so; b.mu is held. Without a connection the other side knows already.
func (b *Mailbox) exitNotices(reason ei.Term, here bool) (x exitNotices) {
	if b.bonds.None() {
		return x
	}
	raw := exitReason(reason)
	wanted := func(to bonds.Scope) bool { return here || !b.n.isHere(to) }
	for pid := range b.bonds.Linked() {
		if to := b.n.scopeOf(pid); wanted(to) {
			x.add(b, to, *bonds.LinkExit(b.pid, pid, raw))
		}
	}
	for id, w := range b.bonds.Watchers() {
		to := b.n.scopeOf(w.Pid)
		if !wanted(to) {
			continue
		}
		ctl := bonds.Down(b.pid, w, id.Ref, raw)
		if to.Node != b.n.Name() {
			ctl.From = b.pid // a frame has the name only, but it is to follow what b has sent
		}
		x.add(b, to, *ctl)
	}
	for ref, t := range b.bonds.Watching() {
		if !here || t.IsPending() { // it goes on to watch; or the answer will find nobody
			continue
		}
		x.add(b, t.Scope(), *bonds.Demonitor(b.pid, t, ref)) // whoever has the name by now
	}
	return x
}

// leave undoes the Enter of add: the signals are on the connection, which takes them along
// when it moves. From then on a freeze does not wait for them.
func (w *exitNotice) leave() {
	if w.conn != nil {
		w.conn.exits.Leave()
	}
	w.n.procs.exits.Leave()
}

// notifyEnd tells others of the end of the process: nodes first, which does not wait. If a
// connection has no room for its signals a goroutine sends them; told waits for these goroutines.
// The processes of asker are told at last, in their turn.
func (b *Mailbox) notifyEnd(notices exitNotices, asker bonds.Scope) (told *sync.WaitGroup) {
	if notices.first == nil {
		return nil
	}
	var here *exitNotice
	for w := range notices.all() {
		switch {
		case w.to == asker:
		case w.isHere():
			here = w
		default:
			if later := w.tell(transport.NoWait(), link.Lazily); later != nil {
				if told == nil {
					told = new(sync.WaitGroup)
				}
				told.Add(1)
				done := told.Done
				b.n.goroutines.Run(func() { defer done(); later() })
			}
		}
	}
	if here != nil {
		here.tellHere()
	}
	if w := notices.of(asker); w != nil {
		w.tell(b.n.sendResult(w.conn != nil && w.conn.works.Count() > 1), link.InTurn)
	}
	return told
}

// tell sends the signals. Those in turn wait until ctx ends, and go out without waiting from then
// on. Those Lazily go as far as there is room until ctx ends; later, if it is not nil, sends the
// others when there is.
func (w *exitNotice) tell(ctx context.Context, how link.How) (later func()) {
	if w.isHere() {
		w.tellHere()
		return nil
	}
	if how == link.Lazily {
		w.agree()
		if len(w.signals) > exitSignals {
			how |= link.More
		}
	}
	c := w.way()
	for i := 0; c != nil && i < len(w.signals); i++ {
		err := c.l.Send(ctx, how, w.signals[i], nil)
		switch {
		case how == link.InTurn && (err == nil || ctx.Err() == nil): // a failure is the connection's end
		case how != link.InTurn && err != link.ErrNoRoom:
		case how == link.InTurn || w.ofCall:
			c.tell(w.signals[i])
		default:
			return func() { defer w.leave(); c.tellAsItReads(w.signals[i:]) }
		}
	}
	w.leave()
	return nil
}

// tellAsItReads sends signals when the connection has room for them. A peer that leaves none, and
// reads nothing for a Config.TickInterval, loses the connection: this ends every wait for room. The
// time in which the connection stands still does not count.
func (c *Conn) tellAsItReads(signals []*dist.Control) {
	for {
		before := c.l.Progress()
		phase, change := c.l.Life().State()
		frozen := phase.IsStill()
		ctx, cancel := context.WithTimeout(context.Background(), c.n.cfg.TickInterval)
		for len(signals) > 0 && c.l.Send(ctx, link.Lazily, signals[0], nil) != link.ErrNoRoom {
			signals = signals[1:]
		}
		cancel()
		if len(signals) == 0 {
			return
		}
		select {
		case <-change:
			frozen = true
		default:
		}
		if !frozen && c.l.Progress() == before {
			c.l.Fail(ErrEndsUnread)
			return
		}
	}
}

// tellHere tells processes of this node. A process that ends because of this tells others within
// the same call, and so on: since a chain of links may be longer than a stack is deep, the call
// goes on on another goroutine now and then.
func (w *exitNotice) tellHere() {
	tell := func() {
		defer w.leave()
		for _, ctl := range w.signals {
			w.n.localSignal(ctl)
		}
	}
	deep := &w.n.procs.telling
	defer deep.Add(-1)
	if deep.Add(1)%maxDeep != 0 {
		tell()
		return
	}
	told := make(chan struct{})
	go func() { defer close(told); tell() }()
	<-told
}

// maxDeep is how many ends of processes, each caused by the one before, are told on one goroutine.
// Each takes some 2 KB of the stack, which has 1 GB, and 250 MB where an int has 32 bits.
const maxDeep = 20_000

// agree replaces a reason that the other node might refuse: it may have come from a third one.
func (w *exitNotice) agree() {
	if w.conn == nil || w.to.Worker != 0 {
		return
	}
	var agreed ei.Raw // all signals have the same reason, or none
	for _, ctl := range w.signals {
		if len(ctl.Reason) == 0 {
			continue
		}
		if agreed == nil {
			agreed = w.conn.acceptable(ctl.Reason)
		}
		ctl.Reason = agreed
	}
}

// acceptable is an exit reason in place of one that the peer might refuse.
func (c *Conn) acceptable(reason ei.Raw) ei.Raw {
	if len(reason) > 0 && ei.Tag(reason[0]).IsAtom() {
		return reason
	}
	agreed, err := otp.Acceptable(reason, ei.Atom(c.Name()), c.l.Peer().Flags.Has(dist.FlagNativeRecords))
	if err != nil {
		c.n.log.Debug("an exit reason that another node might refuse", "peer", c.Name(), "error", err)
		return exitReason(ei.Atom("undecodable_reason"))
	}
	return agreed
}

func (w *exitNotice) isHere() bool { return w.n.isHere(w.to) }

// isHere tells whether a scope is that of the processes of this process.
func (n *Node) isHere(s bonds.Scope) bool { return s == bonds.Scope{Node: n.Name()} }

// way is the connection to the other node or worker; nil if there is none, and the other side
// knows, or if the signals are for processes here.
func (w *exitNotice) way() *Conn {
	if w.to.Worker != 0 {
		return w.n.router.WorkerLink(w.to.Worker)
	}
	return w.conn
}

// dropUnread drops what nobody has received, none of which will be answered: the process has ended.
// A call's, which only the call has, keeps it: an answer may have come just before. b.mu is held.
func (b *Mailbox) dropUnread() {
	if b.origin.private {
		b.inbox.RestoreAll()
		return
	}
	for e := range b.inbox.Entries() {
		if e.Message.owed {
			e.Message.conn.works.Leave()
		}
	}
	b.inbox.Clear()
	b.served.asked = nil
}
