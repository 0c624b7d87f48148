package nodes

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/ids"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/places"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/nodes/metrics"
)

// processes is the table of a node's mailboxes, names and Go functions.
//
// Locks are taken in this order: bonding, Mailbox.mu (two of them only with succeeding), then
// Node.mu or mu, then that of the table of peers, then those of a connection's parts, of a part and
// of its line. With one of them
// held no function of the program is called, except Config.Logger's Handler.
type processes struct {
	n      *Node
	places *places.Places // of the functions that run for remote callers
	runs   remoteRuns     // the same functions, when the node shuts down

	// bonding is held while a link or monitor between two processes of this node is being changed,
	// so that a freeze finds it on both sides or on neither.
	bonding sync.Mutex

	mu    sync.RWMutex
	byID  map[uint64]*Mailbox
	names map[ei.Atom]*Mailbox
	// names of processes whose queues Stats tells: those that came first
	listed map[ei.Atom]struct{}
	// processes that have lost a name: monitors by it are still theirs
	former  map[*Mailbox]struct{}
	aliases lazymap.Map[ei.Ref, *Mailbox] // that are active, those of calls among them
	closed  bool
	settled bool // it is settled which mailboxes go on in the place of restored ones

	succeeding sync.Mutex // held while a mailbox goes on in another one's place

	told    atomic.Bool  // MonitorNodes was called, ever
	telling atomic.Int64 // processes of whose end others of this node are just being told

	exits   wait.Tally // processes that have ended, and have yet to tell others (exit.go)
	endings wait.Tally // connections that have ended, of which some mailbox has not been told
	orphans orphans    // processes of this node that are just being made
}

func (p *processes) init(n *Node) {
	p.n = n
	p.places = places.New(n.cfg.MaxCalls)
	p.byID = map[uint64]*Mailbox{}
	p.names = map[ei.Atom]*Mailbox{}
}

// lock locks the tables for a change, which waits while the node is frozen.
func (p *processes) lock() { _ = p.lockUntil(context.Background()) }

// lockUntil is lock, unless ctx ends before.
func (p *processes) lockUntil(ctx context.Context) error {
	return p.n.life.Lock(ctx, &p.mu, life.Frozen, nil)
}

func (p *processes) add(b *Mailbox) error {
	p.lock()
	defer p.mu.Unlock()
	if p.closed {
		return p.n.gone()
	}
	p.byID[ids.Key(b.pid)] = b
	if b.origin.ref.Len > 0 {
		p.aliases.Put(b.origin.ref, b)
	}
	return nil
}

// namesOf lists the names of a process.
func (p *processes) namesOf(b *Mailbox) (names []ei.Atom) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.namesLocked(b)
}

func (p *processes) namesLocked(b *Mailbox) (names []ei.Atom) {
	for _, name := range b.names {
		if p.names[name] == b {
			names = append(names, name)
		}
	}
	return names
}

// end takes a process off the table and then ends it: as soon as it is seen to have ended
// its names are free. had is one of its names, and released one of whose release the front has been
// told.
func (p *processes) end(b *Mailbox) (had, released ei.Atom) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byID, ids.Key(b.pid))
	delete(p.former, b)
	if b.origin.ref.Len > 0 {
		p.aliases.Delete(b.origin.ref)
	}
	for ref := range b.bonds.Aliases() {
		p.aliases.Delete(ref)
	}
	b.bonds.ClearAliases()
	for _, name := range b.names {
		if p.names[name] == b {
			p.removeName(name)
			had = name
			if p.n.router.ReleaseName(name) {
				released = name
			}
		}
	}
	b.over.Shut()
	return had, released
}

func (p *processes) count() int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.byID)
}

// local finds a process by its pid; nil for one that is gone, or of an earlier life of the node.
func (p *processes) local(pid ei.Pid) *Mailbox {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if b := p.byID[ids.Key(pid)]; b != nil && b.pid == pid {
		return b
	}
	return nil
}

// stays tells whether a process does not move with the node.
func (p *processes) stays(pid ei.Pid) bool {
	b := p.local(pid)
	return b != nil && b.stays()
}

func (p *processes) named(name ei.Atom) *Mailbox {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.names[name]
}

// recipient finds the process that a message is for; nil if there is none.
func (p *processes) recipient(m *Message) *Mailbox {
	return p.addressee(&m.Control)
}

// addressee finds the process that a signal is for; nil if there is none.
func (p *processes) addressee(ctl *dist.Control) *Mailbox {
	switch {
	case link.ToAlias(ctl):
		p.mu.RLock()
		defer p.mu.RUnlock()
		b, _ := p.aliases.Get(ctl.Ref)
		return b
	case ctl.ToName != "":
		return p.named(ctl.ToName)
	}
	return p.local(ctl.To)
}

// unwatchByFormerName handles a DEMONITOR_P by a name that has gone, or moved on: it is for one of
// the processes that had the name.
func (p *processes) unwatchByFormerName(id bonds.MonitorID) {
	p.mu.RLock()
	former := slices.Collect(maps.Keys(p.former))
	p.mu.RUnlock()
	for _, b := range former {
		if b.unwatched(id) {
			return
		}
	}
}

// noteFormer adds a process to former if it has no longer the name by which another one monitors
// it, "" if that does so otherwise; mu is held.
func (p *processes) noteFormer(b *Mailbox, name ei.Atom) {
	if name != "" && p.names[name] != b && p.byID[ids.Key(b.pid)] == b {
		lazymap.Put(&p.former, b, struct{}{})
	}
}

// all lists the processes.
func (p *processes) all() []*Mailbox {
	p.mu.RLock()
	defer p.mu.RUnlock()
	bs := make([]*Mailbox, 0, len(p.byID))
	for _, b := range p.byID {
		bs = append(bs, b)
	}
	return bs
}

// tellings are what tells others that processes have ended: each channel is closed when one node,
// or worker, has been told.
type tellings map[bonds.Scope]<-chan struct{}

// endAll ends every process with the node, and begins to tell whom they have to. When ctx ends,
// only what goes out without waiting is still told, which is soon done.
func (p *processes) endAll(ctx context.Context) tellings {
	p.lock()
	p.closed = true
	p.n.life.Refuse()
	p.mu.Unlock()
	all := map[bonds.Scope][]*exitNotice{}
	for _, b := range p.all() {
		notices := b.end(ei.Atom("shutdown"))
		for w := range notices.all() {
			all[w.to] = append(all[w.to], w)
		}
	}
	tells := tellings{}
	for to, notices := range all { // concurrently: a node that does not read holds up no other
		told := make(chan struct{})
		tells[to] = told
		p.n.goroutines.Run(func() {
			defer close(told)
			for _, w := range notices {
				w.tell(ctx, link.InTurn)
			}
		})
	}
	return tells
}

// awaitTold waits until those processes, and the ones that have ended before, have told others, or
// ctx ends.
func (p *processes) awaitTold(ctx context.Context, tells tellings) {
	_ = p.exits.Wait(ctx)
	for _, told := range tells {
		<-told
	}
}

// closeEmpty is endAll of a table without mailboxes; false if it has some.
func (p *processes) closeEmpty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.byID) > 0 {
		return false
	}
	p.closed = true
	p.n.life.Refuse()
	return true
}

// Register gives a mailbox a name, under which others reach it: erlang:register. A mailbox may have
// several names. Register waits while the node is frozen and, in a worker, for the answer of the
// front until ctx ends, for seconds at most: then context.DeadlineExceeded. In a node that is
// being restored (see Restore), until Staged.Start, the mailbox becomes the process that had the
// name before: it gets that process's pid, other names, unread messages, links and monitors; a
// mailbox that already has links or monitors is ErrBonds. A name that is in use is ErrNameTaken, a
// mailbox that has ended ErrClosed; a mailbox of another Node, or none, the empty name, and
// undefined are errors, too.
func (n *Node) Register(ctx context.Context, name string, b *Mailbox) error {
	p := &n.procs
	switch {
	case b == nil:
		return wrap("register "+name, "", errors.New("the mailbox is nil"))
	case b.n != n:
		return wrap("register "+name, "", errors.New("the mailbox is another Node's"))
	case name == "":
		return wrap("register", "", errors.New("the name is empty"))
	case name == "undefined":
		return wrap("register "+name, "", errors.New("no process can have that name, which is what whereis answers for nobody"))
	}
	if _, err := ei.AppendAtom(nil, ei.Atom(name)); err != nil { // nobody could send to it
		return wrap("register", "", err)
	}
	if done, err := p.succeed(ei.Atom(name), b); done || err != nil {
		return wrap("register "+name, "", err)
	}
	release, err := n.router.ClaimName(ctx, ei.Atom(name), ids.Key(b.pid))
	if err != nil {
		return wrap("register "+name, "", err)
	}
	if err = p.name(ei.Atom(name), b); err != nil {
		release()
	}
	return wrap("register "+name, "", err)
}

// name gives a mailbox a name.
func (p *processes) name(name ei.Atom, b *Mailbox) error {
	p.lock()
	defer p.mu.Unlock()
	holder := p.names[name]
	switch {
	case p.closed || b.ended():
		return p.n.gone()
	case holder == b && b.succeeds && !p.settled:
		return nil
	case holder != nil:
		return ErrNameTaken
	}
	p.addName(name, b)
	return nil
}

// mostListed is how many names' queues Stats tells: all that the nodes of most programs have, and
// as many as may be looked at often.
const mostListed = 256

// addName enters a new name, and removeName removes one; mu is held.
func (p *processes) addName(name ei.Atom, b *Mailbox) {
	p.names[name] = b
	b.names = append(b.names, name)
	if len(p.listed) < mostListed {
		lazymap.Put(&p.listed, name, struct{}{})
	}
}

func (p *processes) removeName(name ei.Atom) {
	delete(p.names, name)
	delete(p.listed, name)
}

// queues tells what the program's processes with listed names have not received. What it costs does
// not depend on how many processes there are.
func (p *processes) queues() []metrics.Queue {
	p.mu.RLock()
	named := make(map[ei.Atom]*Mailbox, len(p.listed))
	for name := range p.listed {
		named[name] = p.names[name]
	}
	p.mu.RUnlock()
	byName := make(map[string]metrics.Queue, len(named))
	for name, b := range named {
		if b.isNodes() {
			continue
		}
		q := byName[metrics.Clip(string(name))] // of several names, if they differ in what does not fit
		q.Name = metrics.Clip(string(name))
		b.mu.Lock()
		q.Messages += b.inbox.Len()
		q.Bytes += b.inbox.Bytes()
		b.mu.Unlock()
		byName[q.Name] = q
	}
	return slices.SortedFunc(maps.Values(byName), func(a, b metrics.Queue) int { return strings.Compare(a.Name, b.Name) })
}

// Unregister takes a name back; the error is ErrNoProc if no mailbox has the name. It waits while
// the node is frozen, until ctx ends.
func (n *Node) Unregister(ctx context.Context, name string) error {
	p := &n.procs
	if err := p.lockUntil(ctx); err != nil {
		return wrap("unregister "+name, "", err)
	}
	holder := p.names[ei.Atom(name)]
	if holder == nil {
		p.mu.Unlock()
		return wrap("unregister "+name, "", ErrNoProc)
	}
	p.removeName(ei.Atom(name))
	lazymap.Put(&p.former, holder, struct{}{})
	holder.names = slices.DeleteFunc(holder.names, func(of ei.Atom) bool { return of == ei.Atom(name) })
	released := n.router.ReleaseName(ei.Atom(name))
	p.mu.Unlock()
	if released {
		n.router.Struck(ei.Atom(name))
	}
	return nil
}

// Whereis is the mailbox that has the name; nil if none has.
func (n *Node) Whereis(name string) *Mailbox { return n.procs.named(ei.Atom(name)) }

// Lookup finds the process that has a registered name, in whichever worker of the node it is;
// ErrNoProc if nobody has it. It waits only in a worker, for the front's answer about a name that
// is not registered here, until ctx ends: if none comes within 5 s the error is
// context.DeadlineExceeded, if the front is gone ErrClosed. It is erlang:whereis/1.
func (n *Node) Lookup(ctx context.Context, name string) (ei.Pid, error) {
	if b := n.Whereis(name); b != nil {
		return b.Pid(), nil
	}
	pid, err := n.router.Lookup(ctx, ei.Atom(name))
	return pid, wrap("look up "+name, "", err)
}

// ErrBonds: a mailbox that already has links or monitors cannot become another process.
var ErrBonds = errors.New("the mailbox has links or monitors before it goes on as a restored process")

// succeed lets a mailbox go on in the place of the restored one that has a name, if there is one
// that has no successor yet.
func (p *processes) succeed(name ei.Atom, to *Mailbox) (bool, error) {
	from := p.bequest(name, to)
	if from == nil {
		return false, nil
	}
	// no other goroutine locks two mailboxes at once, perhaps in the opposite order
	p.succeeding.Lock()
	defer p.succeeding.Unlock()
	from.mu.Lock()
	defer from.mu.Unlock()
	to.mu.Lock()
	defer to.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.settled || p.names[name] != from || !from.awaitsHeir || to.succeeds || to.ended() {
		return false, nil
	}
	// they would be those of a pid that no process has any more
	if !to.bonds.None() {
		return false, ErrBonds
	}
	delete(p.byID, ids.Key(to.pid))
	p.byID[ids.Key(from.pid)] = to
	for _, name := range from.names {
		p.names[name] = to
	}
	to.pid, to.succeeds = from.pid, true
	if _, ok := p.former[from]; ok {
		delete(p.former, from)
		p.former[to] = struct{}{}
	}
	to.names = append(to.names, from.names...)
	from.nodes.MoveTo(&to.nodes)
	from.inbox.MoveTo(&to.inbox)
	for ref := range from.bonds.Aliases() {
		p.aliases.Put(ref, to)
	}
	from.bonds.MoveTo(&to.bonds)
	to.inherited = from.inherited
	if to.opts.Parent == (ei.Pid{}) {
		to.opts.Parent = from.opts.Parent
	}
	if to.label == nil {
		to.label = from.label
	}
	to.staged.Store(from.staged.Load())
	from.awaitsHeir, from.moved = false, true
	from.names = nil
	from.over.Shut()
	return true, nil
}

// bequest is the restored mailbox with a name in whose place another one may go on; nil: there is
// none, as in any node once it is started.
func (p *processes) bequest(name ei.Atom, to *Mailbox) *Mailbox {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if from := p.names[name]; !p.settled && from != nil && from != to && from.awaitsHeir {
		return from
	}
	return nil
}

// endSuccession puts an end to succeed: a restored mailbox that has no successor keeps its name.
func (p *processes) endSuccession() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settled = true
}

// heirless lists the restored mailboxes that have no successor, those for which is is true; nil:
// all.
func (p *processes) heirless(is func(b *Mailbox) bool) []*Mailbox {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var list []*Mailbox
	for _, b := range p.byID {
		if b.awaitsHeir && (is == nil || is(b)) {
			list = append(list, b)
		}
	}
	slices.SortFunc(list, func(a, b *Mailbox) int { return ei.Compare(a.pid, b.pid) })
	return list
}
