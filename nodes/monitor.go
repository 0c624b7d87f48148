package nodes

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/transport"
)

// Monitor watches a process anywhere: when it ends, is not there, or its node goes down, the
// mailbox receives an OpMonitorPExit message with the returned reference in Ref and the reason in
// Reason. A node that cannot be connected to is an error, ErrNoConnection, and no message comes.
// Monitor waits as Send does, for the connection and for room on it; if the connection ends during
// the wait the error is that of Conn.Err. After any error there is no monitor. From a peer without
// dist.FlagDistMonitor and dist.FlagDistMonitorName (a C node) the message comes only when the
// connection ends. It is erlang:monitor/2.
//
// With options the reference is an alias of the mailbox as well, which ends as they say:
// erlang:monitor/3 with {alias, explicit_unalias | demonitor | reply_demonitor} for AliasExplicit,
// AliasDemonitor and AliasReply. See Alias for the errors.
func (b *Mailbox) Monitor(ctx context.Context, pid ei.Pid, alias ...AliasOption) (ei.Ref, error) {
	return b.monitorNow(ctx, bonds.Target{Node: string(pid.Node), Pid: pid}, alias)
}

// MonitorName is Monitor for the process that has a registered name on a node at present: the
// message has the name in FromName. It waits as Monitor does, and has its errors.
func (b *Mailbox) MonitorName(ctx context.Context, node, name string, alias ...AliasOption) (ei.Ref, error) {
	return b.monitorNow(ctx, bonds.Target{Node: node, Name: ei.Atom(name)}, alias)
}

func (b *Mailbox) monitorNow(ctx context.Context, t bonds.Target, alias []AliasOption) (ei.Ref, error) {
	how, err := b.aliasOptions(alias)
	if err != nil {
		return ei.Ref{}, wrap("monitor", t.Node, err)
	}
	if how == AliasReply { // then the monitor ends, too
		how |= AliasDemonitor
	}
	ref, err := b.n.NewRef()
	if err != nil {
		return ref, err
	}
	return ref, b.monitor(ctx, ref, t, nil, how)
}

// monitor makes a monitor over the given connection or, if over is nil, over the one to the
// target's node; unless how is 0, the reference becomes an alias.
func (b *Mailbox) monitor(ctx context.Context, ref ei.Ref, t bonds.Target, over *Conn, how AliasOption) error {
	if _, err := ei.AppendAtom(nil, t.Name); err != nil {
		return wrap("monitor", t.Node, &dist.ControlError{Op: dist.OpMonitorP, Offset: -1, Field: "ToName", Err: err})
	}
	if over == nil {
		// The connection comes before the monitor is noted: while the end of an old connection is dealt
		// with, a monitor that is already noted would be broken.
		var err error
		if over, err = b.n.way(ctx, t.Node, t.Pid, t.Name); err != nil {
			return wrap("monitor", t.Node, err)
		}
		if over != nil && t.Node == b.n.Name() {
			t.Worker = over.ties.Worker
		}
	}
	return wrap("monitor", t.Node, b.changeAlive(ctx, over, func() *dist.Control {
		b.bonds.Watch(ref, t)
		b.putAlias(ref, how)
		return &dist.Control{Op: dist.OpMonitorP, From: b.pid, To: t.Pid, ToName: t.Name, Ref: ref}
	}))
}

// Demonitor ends a monitor. A DOWN that is already in the mailbox stays there. It waits while the
// node, or the connection to the other node, is frozen; if ctx ends meanwhile, the error is ctx's,
// and the monitor stays. It is erlang:demonitor/1.
func (b *Mailbox) Demonitor(ctx context.Context, ref ei.Ref) error {
	return wrap("demonitor", "", b.demonitor(ctx, ref))
}

func (b *Mailbox) demonitor(ctx context.Context, ref ei.Ref) error {
	if err := b.lockBefore(ctx, life.Frozen); err != nil {
		return err
	}
	t, ok := b.bonds.Target(ref)
	b.mu.Unlock()
	if !ok || t.IsPending() {
		return nil
	}
	c, here := b.n.wayTo(t.Scope())
	if c == nil && !here { // the end of the connection breaks the monitor, or already has
		if err := b.lockBefore(ctx, life.Frozen); err != nil {
			return err
		}
		defer b.mu.Unlock()
		b.unwatch(t, ref)
		return nil
	}
	return b.changeNow(ctx, c, func() (*dist.Control, error) {
		if _, ok := b.bonds.Target(ref); !ok { // its DOWN has come meanwhile
			return nil, nil
		}
		b.unwatch(t, ref)
		ctl := bonds.Demonitor(b.pid, t, ref)
		// a peer that reads nothing for a while must not lose the connection over any number of them
		if c != nil && c.l.Send(transport.NoWait(), link.Lazily, ctl, nil) != link.ErrNoRoom {
			return nil, nil
		}
		return ctl, nil
	})
}

// unwatch forgets a monitor, and the alias that ends with it; b.mu is held.
func (b *Mailbox) unwatch(t bonds.Target, ref ei.Ref) {
	if b.bonds.Unwatch(t, ref) {
		b.removeAlias(ref)
	}
}

// MonitorNode asks for a nodedown: when the connection to node ends the mailbox receives the
// message {nodedown, Node}. Each call is answered once. MonitorNode connects to the node if need
// be; if that fails it is an error, ErrNoConnection, and no nodedown comes. The mailbox's own node
// never goes down. It waits while the node, or the connection to the other node, is frozen. It is
// erlang:monitor_node/2 with true.
func (b *Mailbox) MonitorNode(ctx context.Context, node string) error {
	if err := b.Err(); err != nil {
		return wrap("monitor node", node, err)
	}
	if node == b.n.Name() {
		return nil
	}
	c, err := b.n.connection(ctx, node)
	if err == nil {
		err = b.lockWith(ctx, c)
	}
	if err != nil {
		return wrap("monitor node", node, err)
	}
	switch {
	case b.ended():
		err = b.Err()
	case c.Err() == ErrMoved: // the node has not gone down
		err = ErrMoved
	}
	if err != nil {
		b.mu.Unlock()
		return wrap("monitor node", node, err)
	}
	b.nodes.Owe(reported{c}, 1)
	b.mu.Unlock()
	if c.Err() != nil { // c ended in between, perhaps before the note
		<-c.l.Left()
		b.answerMonitorNodes(c)
	}
	return nil
}

// DemonitorNode cancels one call of MonitorNode that has not been answered yet, if there is one. A
// nodedown that is already in the mailbox stays there. It waits while the node, or the connection
// to the other node, is frozen. It is erlang:monitor_node/2 with false.
func (b *Mailbox) DemonitorNode(node string) {
	for {
		b.lock()
		c, ok := b.nodes.Awaited(node)
		b.mu.Unlock()
		if !ok || b.lockWith(context.Background(), c.Conn) != nil {
			return
		}
		waived := b.nodes.Waive(c)
		b.mu.Unlock()
		if waived { // else the connection has ended meanwhile
			return
		}
	}
}

// answerMonitorNodes answers the calls of MonitorNode that wait for the end of a connection.
func (b *Mailbox) answerMonitorNodes(c *Conn) {
	b.lock()
	b.sendNodedown(c.Name(), b.nodes.Settle(reported{c}))
}

// sendNodedown sends {nodedown, Node} to the mailbox, as often as times says. b.mu is held on
// entry, and released on return.
func (b *Mailbox) sendNodedown(node string, times int) {
	var all []*Message
	for range times {
		payload, err := ei.Append(nil, ei.Tuple{ei.Atom("nodedown"), ei.Atom(node)})
		if err == nil {
			all = append(all, &Message{Control: dist.Control{Op: dist.OpSend, To: b.pid}, Payload: payload})
		}
	}
	b.notifyUnlock(all)
}

// notifyUnlock puts the messages of signals into the mailbox, in one step with the change that
// caused them; one of the node's own processes gets them afterwards. b.mu is held on entry, and
// released on return.
func (b *Mailbox) notifyUnlock(all []*Message) {
	if b.own == nil && !b.ended() {
		for _, m := range all {
			b.push(m)
		}
		all = nil
	}
	b.mu.Unlock()
	for _, m := range all {
		b.notify(m)
	}
}

// breakWithNode breaks everything that the mailbox has with the node of a connection.
func (b *Mailbox) breakWithNode(c *Conn) {
	b.lock()
	x := b.cut(c.extent())
	b.notifyUnlock(x.downs)
	b.loseLinks(x.links)
	b.answerMonitorNodes(c)
	b.tellNodedown(c)
}

// A broken is what the end of a connection has broken, and the mailbox has yet to hear of: the
// links, and the DOWN messages of monitors.
type broken struct {
	links []ei.Pid
	downs []*Message
}

// cut removes from the mailbox the monitors with the processes of a node, or of another worker of
// this node, and lists the links with them; b.mu is held.
func (b *Mailbox) cut(with bonds.Scope) (x broken) {
	links, monitors := b.bonds.Cut(with)
	x.links = links
	for _, m := range monitors {
		x.downs = append(x.downs, b.lost(m.Ref, m.Of))
		b.unwatch(m.Of, m.Ref)
	}
	return x
}

// loseLinks ends those of the links that have not been ended meanwhile: the node at the other end,
// or the worker, is not connected any more.
func (b *Mailbox) loseLinks(links []ei.Pid) {
	reason := exitReason(noconnection)
	for _, pid := range links {
		b.linkBroke(pid, reason, nil)
	}
}

// watched handles a MONITOR_P from a process; false if this mailbox has ended.
func (b *Mailbox) watched(ref ei.Ref, w bonds.Watcher) bool {
	b.lock()
	defer b.mu.Unlock()
	if b.isGoneFor(w.Pid) {
		return false
	}
	b.bonds.TakeMonitor(ref, w)
	return true
}

// unwatched handles a DEMONITOR_P; false if this process has no such monitor on it.
func (b *Mailbox) unwatched(id bonds.MonitorID) bool {
	b.lock()
	defer b.mu.Unlock()
	_, ok := b.bonds.TakeDemonitor(id)
	return ok
}

// takeDown handles a MONITOR_P_EXIT.
func (b *Mailbox) takeDown(m *Message) {
	b.lock()
	from := ""
	if m.conn != nil {
		from = m.conn.Name()
	}
	t, ok := b.bonds.TakeDown(m.Ref, from)
	if !ok {
		b.mu.Unlock()
		return
	}
	b.unwatch(t, m.Ref)
	if m.From == (ei.Pid{}) {
		m.From = t.Pid
	}
	b.notifyUnlock([]*Message{m})
}

// An AliasOption says how an alias of a mailbox ends, or what it is good for.
type AliasOption int

// The options of Mailbox.Alias and Mailbox.Monitor.
const (
	// AliasExplicit: the alias stays until Unalias. It is what Alias makes without options.
	AliasExplicit = AliasOption(bonds.Explicit)
	// AliasReply: the alias ends with the first message that comes to it; so does its monitor.
	AliasReply = AliasOption(bonds.ForReply)
	// AliasDemonitor: the alias ends with its monitor.
	AliasDemonitor = AliasOption(bonds.WithMonitor)
	// AliasPriority: what is sent to the alias with priority (SendPriority, erlang:send/3 with
	// [priority]) is received before other messages, if the mailbox has MailboxOptions.Priority.
	// Whoever knows the alias may send so.
	AliasPriority = AliasOption(bonds.Priority)
)

// aliasEnds are the options of which an alias has one, and a reply alias of a monitor two.
const aliasEnds = AliasExplicit | AliasReply | AliasDemonitor

// Alias makes an alias of the mailbox: a reference to which messages can be sent as to its pid,
// here and from other nodes (Mailbox.SendAlias, Alias ! Message), until it is no more; then they
// are dropped, and Stats counts them as undeliverable. With AliasReply it ends with the first
// message, otherwise with Unalias; in any case with the mailbox. AliasPriority may be added. For an
// alias that is a monitor, too, see Monitor. Options that contradict each other are an error, and
// the mailboxes of the node's own processes are errors.ErrUnsupported. It waits while the node is
// frozen, until ctx ends. It is erlang:alias/1.
func (b *Mailbox) Alias(ctx context.Context, options ...AliasOption) (ei.Ref, error) {
	if !slices.ContainsFunc(options, func(o AliasOption) bool { return o&aliasEnds != 0 }) {
		options = append(options, AliasExplicit)
	}
	how, err := b.aliasOptions(options)
	if err == nil && how&AliasDemonitor != 0 {
		err = errors.New("AliasDemonitor is for aliases that Monitor makes")
	}
	if err != nil {
		return ei.Ref{}, wrap("alias", "", err)
	}
	ref, err := b.n.NewRef()
	if err != nil {
		return ref, err
	}
	if err := b.lockBefore(ctx, life.Frozen); err != nil {
		return ei.Ref{}, wrap("alias", "", err)
	}
	defer b.mu.Unlock()
	if b.ended() {
		return ei.Ref{}, wrap("alias", "", b.Err())
	}
	b.putAlias(ref, how)
	return ref, nil
}

// Unalias ends an alias of the mailbox; false if the reference is none, or no more. What has come
// to the alias before stays in the mailbox; a monitor of the same reference goes on. It waits while
// the node is frozen. It is erlang:unalias/1.
func (b *Mailbox) Unalias(alias ei.Ref) bool {
	b.lock()
	defer b.mu.Unlock()
	if b.bonds.Alias(alias) == 0 {
		return false
	}
	b.removeAlias(alias)
	return true
}

// aliasOptions puts options together; 0: there are none.
func (b *Mailbox) aliasOptions(options []AliasOption) (how AliasOption, err error) {
	for _, o := range options {
		how |= o
	}
	switch end := how & aliasEnds; {
	case how == 0:
		return 0, nil
	case b.own != nil:
		return 0, errors.ErrUnsupported
	case how&^(aliasEnds|AliasPriority) != 0 || end&(end-1) != 0 || end == 0:
		return 0, fmt.Errorf("alias options %v: want one of AliasExplicit, AliasReply and AliasDemonitor", options)
	}
	return how, nil
}

// putAlias makes an alias active, unless how is 0; b.mu is held.
func (b *Mailbox) putAlias(ref ei.Ref, how AliasOption) {
	if how == 0 {
		return
	}
	b.bonds.PutAlias(ref, bonds.Alias(how))
	p := &b.n.procs
	p.mu.Lock()
	defer p.mu.Unlock()
	p.aliases.Put(ref, b)
}

// removeAlias ends an alias; b.mu is held.
func (b *Mailbox) removeAlias(ref ei.Ref) {
	b.bonds.RemoveAlias(ref)
	p := &b.n.procs
	p.mu.Lock()
	defer p.mu.Unlock()
	p.aliases.Delete(ref)
}

// useAlias ends an alias that is for one message, and its monitor; b.mu is held.
func (b *Mailbox) useAlias(ref ei.Ref) {
	how := b.bonds.Alias(ref)
	if how&bonds.ForReply == 0 {
		return
	}
	b.removeAlias(ref)
	if t, ok := b.bonds.Target(ref); ok && how&bonds.WithMonitor != 0 {
		b.unwatch(t, ref)
		ctl := bonds.Demonitor(b.pid, t, ref)
		if c, here := b.n.wayTo(t.Scope()); here { // that process has a lock of its own
			b.n.background(func() { b.n.localSignal(ctl) })
		} else if c != nil {
			c.tell(ctl)
		}
	}
}
