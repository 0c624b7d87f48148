package nodes

import (
	"errors"
	"slices"

	"github.com/cnode-go/cnode/ei"
)

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
	if !to.links.empty() || !to.watchers.empty() || !to.watching.empty() {
		return false, ErrBonds
	}
	delete(p.byID, key(to.pid))
	p.byID[key(from.pid)] = to
	for _, name := range from.names {
		p.names[name] = to
	}
	to.pid, to.succeeds = from.pid, true
	if _, ok := p.former[from]; ok {
		delete(p.former, from)
		p.former[to] = struct{}{}
	}
	to.names = append(to.names, from.names...)
	to.bondTables = from.bondTables
	for c, count := range from.downs {
		to.noteDown(c, count)
	}
	from.passNodesTo(to)
	from.restoreAll()
	to.queue, to.base, to.bytes = slices.Concat(from.queue, to.queue[to.first():]), to.taken, from.bytes+to.bytes
	for _, m := range from.ahead.messages { // to is new: it has no priority alias yet that anybody knows
		to.ahead.add(m)
	}
	for ref, how := range from.aliases {
		put(&to.aliases, ref, how)
		p.aliases.of[ref] = to
	}
	to.inherited = from.inherited
	if to.opts.Parent == (ei.Pid{}) {
		to.opts.Parent = from.opts.Parent
	}
	if to.label == nil {
		to.label = from.label
	}
	to.staged.Store(from.staged.Load())
	from.awaitsHeir, from.moved = false, true
	from.names, from.queue, from.bytes, from.ahead, from.aliases = nil, nil, 0, backlog{}, nil
	from.bondTables, from.downs = bondTables{}, nil
	close(from.over)
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

// heirless lists the restored mailboxes that have no successor.
func (p *processes) heirless() []*Mailbox {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var list []*Mailbox
	for _, b := range p.byID {
		if b.awaitsHeir {
			list = append(list, b)
		}
	}
	slices.SortFunc(list, func(a, b *Mailbox) int { return ei.Compare(a.pid, b.pid) })
	return list
}
