package nodes

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// snapshot writes the state of the frozen node, until ctx ends. The descriptors are in the table in
// the order of the state.
func (f *Frozen) snapshot(ctx context.Context, s *states.Node) (err error) {
	defer func() {
		for i := range s.Conns {
			clear(s.Conns[i].Export)
		}
	}()
	f.n.snapshotSelf(s)
	if err := f.snapshotConns(ctx, s); err != nil {
		return err
	}
	if err := f.snapshotListeners(s); err != nil {
		return err
	}
	s.Mailboxes.All = f.n.mailboxStates(&s.Orphans)
	f.snapshotPublication(s)
	f.state, err = form.Write(ctx.Err, states.KindNode, s)
	return err
}

// snapshotSelf puts the node's identity and counters into the state.
func (n *Node) snapshotSelf(s *states.Node) {
	n.mu.Lock()
	s.Name, s.Creation, s.Published = n.name, n.creation, n.publishing.published != nil
	n.mu.Unlock()
	s.Pids, s.Refs, s.Started = n.ids.Pids.Load(), n.ids.Refs.Load(), n.started.Load()
	for i, c := range n.stats.all() {
		s.Stats[i] = c.Load()
	}
}

// snapshotConns puts the connections into the state, and those that have just broken into f.dead.
func (f *Frozen) snapshotConns(ctx context.Context, s *states.Node) error {
	f.sortConns()
	places := map[*Conn]states.Place{}
	f.dead = map[*Conn]bool{}
	for _, c := range f.conns {
		if err := ctx.Err(); err != nil {
			return err
		}
		if c.ties.PeerLink != nil && places[c.ties.PeerLink] == 0 { // the peer link has just broken
			continue
		}
		cs, err := c.snapshot()
		// the new process finds it missing; here its end goes on after Thaw
		if link.IsBroken(err) && c.ties.Worker == 0 {
			f.n.log.Info("a broken connection does not move", "peer", c.Name(), "error", err)
			f.dead[c] = true
			continue
		}
		if err == nil {
			places[c] = states.At(len(s.Conns))
			cs.Trunk = places[c.ties.PeerLink]
			cs.Unaccepted = f.unaccepted(c)
			cs.Descriptor, err = f.table.AddOf(c.l.Stream().Descriptor)
		}
		if err != nil {
			return wrap("connection to", c.Name(), err)
		}
		s.Conns = append(s.Conns, *cs)
	}
	return nil
}

// sortConns sorts connections before the relay links that lead to them, and those that Accept is to
// return in that order.
func (f *Frozen) sortConns() {
	turns := map[*Conn]int{}
	for _, l := range f.listeners {
		l.mu.Lock()
		for i, c := range l.up {
			turns[c] = i - len(l.up) // less than the 0 of those that are about to be there
		}
		l.mu.Unlock()
	}
	slices.SortStableFunc(f.conns, func(a, b *Conn) int {
		return cmp.Or(cmp.Compare(a.order(), b.order()), cmp.Compare(turns[a], turns[b]))
	})
}

// unaccepted is the place of the listener whose Accept is to return a connection, among those that
// move.
func (f *Frozen) unaccepted(c *Conn) states.Place {
	from := c.from.Load()
	if from == nil || from.serves.Load() {
		return 0
	}
	return states.At(slices.Index(f.listeners, from))
}

func (f *Frozen) snapshotListeners(s *states.Node) error {
	for _, l := range f.listeners {
		at, err := f.table.AddOf(l.l.Descriptor)
		if err != nil {
			return wrap("listener on", addrText(l.Addr()), err)
		}
		carried, _ := f.n.carriers.ID(l.tr)
		s.Listeners = append(s.Listeners, states.Listener{
			TransportID: carried, Descriptor: at, Serves: l.serves.Load(), Begun: l.begins(), KeepsPath: l.l.KeepsPath(),
		})
	}
	return nil
}

// mailboxStates describes the mailboxes, one at a time; of one that does not move it puts only the
// bonds that others have with it into orphans.
func (n *Node) mailboxStates(orphans *[]states.Bonds) iter.Seq2[*states.Mailbox, error] {
	return func(yield func(*states.Mailbox, error) bool) {
		s := new(states.Mailbox) // one for all, and so are its lists
		for _, b := range n.procs.all() {
			if b.stays() {
				b.mu.Lock()
				all := b.bondState("")
				b.mu.Unlock()
				if !all.Empty() {
					*orphans = append(*orphans, all)
				}
				continue
			}
			if err := b.handOver(s); err != nil {
				yield(nil, err)
				return
			}
			if !b.yieldState(s, yield) {
				return
			}
		}
	}
}

// snapshotPublication puts the registration at the port mapper into the state, if the registration
// moves.
func (f *Frozen) snapshotPublication(s *states.Node) {
	if f.name != nil {
		fds := f.name.Descriptors()
		s.Publication = &states.Publication{State: f.name.State(), Descriptors: len(fds), First: f.table.Add(fds...)}
	}
}

// order sorts connections before the relay links that lead to them.
func (c *Conn) order() int {
	if c.kind() == inside.RelayLink {
		return 1
	}
	return 0
}

// yieldState describes a frozen mailbox in s, and yields that.
func (b *Mailbox) yieldState(s *states.Mailbox, yield func(*states.Mailbox, error) bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.describeBonds("", &s.Bonds)
	s.Bonds.Watchers = slices.DeleteFunc(s.Bonds.Watchers, func(w states.Watcher) bool { return b.n.procs.stays(w.Pid) })
	limit, full := b.inbox.Limit()
	s.Limit, s.Full, s.TrapExit, s.Label = limit, int(full), b.traps.Load(), b.label
	s.Priority, s.Parent = b.opts.Priority, b.opts.Parent
	s.Aliases, s.Names, s.NodesUp = s.Aliases[:0], s.Names[:0], s.NodesUp[:0]
	for ref, how := range b.bonds.Aliases() {
		s.Aliases = append(s.Aliases, states.Alias{Ref: ref, Options: int(how)})
	}
	for _, name := range b.n.procs.namesOf(b) {
		s.Names = append(s.Names, states.Name{Name: name})
	}
	s.Served = b.served.is || b.own != nil || b.served.before
	s.NodeTypes = int(b.nodes.Types)
	for c := range b.nodes.Up {
		s.NodesUp = append(s.NodesUp, states.Up{Node: c.Name(), Visible: c.nodeType() == VisibleNodes})
	}
	s.Messages.All = nil
	if b.inbox.Len() > 0 {
		s.Messages.All = b.messageStates
	}
	return yield(s, nil)
}

// messageStates describes the unread messages, one at a time; b.mu is held.
func (b *Mailbox) messageStates(yield func(*states.Message, error) bool) {
	var s states.Message
	for m := range b.inbox.Unread() {
		if s = m.state(); !yield(&s, nil) {
			return
		}
	}
}

// handOver puts the mailbox's own state into the node's: of MailboxOptions.Handover, or one that
// nobody has taken over.
func (b *Mailbox) handOver(s *states.Mailbox) error {
	if s.Handover, s.HandsOver = b.Inherited(); b.opts.Handover == nil {
		return nil
	}
	s.HandsOver = true
	err := b.n.faults.guarded("MailboxOptions.Handover", func() (err error) { s.Handover, err = b.opts.Handover(); return err })
	if err != nil {
		return fmt.Errorf("MailboxOptions.Handover of %v: %w", b.pid, err)
	}
	return nil
}

// state describes a message.
func (m *Message) state() states.Message {
	s := states.Message{Control: m.Control, Payload: m.Payload}
	if c := m.asker(); c != nil {
		s.Peer = c.Name()
	}
	return s
}
