package nodes

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A Frozen is a whole node that stands still: it neither reads nor writes, and nothing about it
// changes. It belongs to this process until Release; after Thaw it goes on as if nothing had
// happened. One of the two must be called.
type Frozen struct {
	n      *Node
	state  []byte
	table  descriptor.Table
	conns  []*Conn
	broken []*Conn // those that have ended since their readers stopped, and do not move
	// of conns, those that turned out to be broken when they were described, and do not move either
	dead      map[*Conn]bool
	listeners []*Listener
	name      handoff.Frozen // of the registration; nil: there is none that moves
	undo      []func()       // what Thaw does, last one first
	handed    bool           // Config.Handover has been called
	over      atomic.Bool
}

// State is what another process needs, beside the descriptors, to go on as this node. What plug-ins
// have put into it, session keys say, is cleared by Thaw and Release; clear copies yourself.
func (f *Frozen) State() []byte { return f.state }

// Descriptors are those of connections, listeners and the registration, in the order that the state
// relies on. They still belong to the node: pass them on before Thaw or Release.
func (f *Frozen) Descriptors() []int { return slices.Clone(f.table.FDs) }

// Thaw lets the node go on here.
func (f *Frozen) Thaw() {
	if !f.over.CompareAndSwap(false, true) {
		return
	}
	for _, undo := range slices.Backward(f.undo) {
		undo()
	}
	clearKeys(f.state)
	if thawed := f.n.cfg.Thawed; thawed != nil && f.handed {
		_ = f.n.faults.guarded("Config.Thawed", func() error { thawed(); return nil })
	}
}

// Release ends the node in this process without a byte on any connection: the other process has it.
// All calls that wait return ErrMoved, which is also the node's Err from then on. Release returns
// when the node's goroutines have ended, or after a second. Its error joins those of sockets and of
// the registration that could not be freed properly; the node is the other process's all the same.
// After Thaw, and when called again, Release does nothing.
func (f *Frozen) Release() error {
	if !f.over.CompareAndSwap(false, true) {
		return nil
	}
	n := f.n
	n.mu.Lock()
	n.publishing.published = nil
	n.endUnlock(ErrMoved)
	var mu sync.Mutex
	var errs []error
	_, _ = wait.Together(freezers, f.conns, func(c *Conn) error {
		if err := c.release(false); err != nil {
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		}
		return nil
	})
	for _, l := range f.listeners {
		errs = append(errs, l.release())
	}
	for _, l := range n.Listeners() { // those that had ended
		errs = append(errs, l.Close())
	}
	if f.name != nil {
		errs = append(errs, f.name.Release())
	}
	n.procs.moveOut()
	for _, c := range f.broken { // the end of a connection waits for its reader
		c.l.Fail(ErrMoved)
		c.l.ResumeReading()
	}
	n.life.Set(life.Open)
	n.life.EndMove()
	n.awaitGoroutines()
	clearKeys(f.state)
	return wrap("release", n.Name(), errors.Join(errs...))
}

// moveOut ends the mailbox in this process, since it goes on in another one. Only goroutines that
// use it here notice: no signal is sent.
func (b *Mailbox) moveOut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended() {
		return
	}
	b.moved = true
	b.staged.Store(false)
	b.inbox.Clear()
	b.inherited, b.label = nil, nil
	b.bonds.Clear()
	b.nodes = nodeBonds{}
	b.n.procs.end(b)
}

// moveOut ends every mailbox in this process, as Mailbox.moveOut does.
func (p *processes) moveOut() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.n.life.Refuse()
	for _, b := range p.all() {
		b.moveOut()
	}
}

// Offer returns a handoff.Offer that hands the node over to another process, with all that the
// other side has to be told before anything stops: use it as Offer().Give(ctx, channel). Offer
// itself does nothing and waits for nothing. Fields may be changed before it is used: Deadlines,
// say, or Freeze and Terms.Require if the program hands over more than its node. The other side is
// a handoff.Acceptance with Config.Terms, whose Stage calls Restore.
func (n *Node) Offer() *handoff.Offer {
	return &handoff.Offer{
		Terms:   handoff.Terms{What: n.Name(), Require: StateFeatures()},
		Count:   n.descriptors,
		Plugins: n.plugins,
		Static:  func(context.Context) ([]byte, error) { return n.size().Append(nil), nil },
		Freeze:  func(ctx context.Context) (handoff.Frozen, error) { return n.Freeze(ctx) },
	}
}

// Terms are those of a handoff.Acceptance whose Stage calls Restore, or workers.Restore, with cfg:
// the name (empty if cfg does not set one), the plug-ins, and StateFeatures.
func (cfg Config) Terms() handoff.Terms {
	return handoff.Terms{What: cfg.Name, Plugins: cfg.plugins(), Know: StateFeatures()}
}

// plugins are the names of the plug-ins that a node of this Config finds: see Node.carrier.
func (cfg Config) plugins() []string {
	all := append([]transport.Transport{transport.TCP(), transport.Unix(), cfg.Transport}, cfg.Transports...)
	for _, at := range cfg.Also {
		all = append(all, at.Transport)
	}
	return pluginNames(all)
}

// plugins are the names of the plug-ins that the connections and listeners need.
func (n *Node) plugins() []string {
	var all []transport.Transport
	for _, l := range n.Listeners() {
		all = append(all, l.tr)
	}
	for _, c := range n.connections() {
		all = append(all, c.tr)
	}
	return pluginNames(all)
}

// pluginNames are the names of transports, each once; nil ones are left out.
func pluginNames(all []transport.Transport) (names []string) {
	for _, tr := range all {
		if tr != nil && !slices.Contains(names, tr.Name()) {
			names = append(names, tr.Name())
		}
	}
	return names
}

// spareDescriptors are for what a node opens in another process beside its connections and
// listeners, and for those of them that are so busy that they wait with a descriptor of their own.
const spareDescriptors = 64

// descriptors counts the descriptors that the node takes in another process, at least.
func (n *Node) descriptors() int { return len(n.Peers()) + len(n.Listeners()) + spareDescriptors }
