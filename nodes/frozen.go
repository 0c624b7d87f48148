package nodes

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/roster"
	"github.com/cnode-go/cnode/nodes/internal/wait"
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
	errs = append(errs, n.releaseListeners(f.listeners))
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

// releaseListeners leaves listeners to the other process, and closes those that are not among them:
// they have ended, or Setup has opened them.
func (n *Node) releaseListeners(all []*Listener) (err error) {
	for _, l := range all {
		err = errors.Join(err, l.release())
	}
	for _, l := range n.Listeners() {
		err = errors.Join(err, l.Close())
	}
	return err
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
	b.nodes = roster.Bonds[reported]{}
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
