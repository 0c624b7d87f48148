package nodes

import (
	"context"

	"github.com/cnode-go/cnode/ei"
)

// Names in a node with workers. Those of Setup are fixed: each worker has its own. All others are unique in the node, and the front has
// the list of them.

// maxFound bounds the names whose worker is remembered.
const maxFound = 1024

// where finds the worker that a name is in; 0 if nobody has it, which the roll tells. What the front has said once is remembered: who gets
// a message for a name that has moved on passes it on, and asks anew, lest it goes round.
func (p *part) where(name ei.Atom, anew bool) int {
	p.mu.Lock()
	if anew {
		delete(p.found, name)
	}
	at := p.found[name]
	_, there := p.siblings[at]
	p.mu.Unlock()
	if there {
		return at
	}
	if p.roll.lacks(string(name)) {
		return 0
	}
	a, err := p.ask(p.n.ctx, word{Topic: sayLookup, Name: string(name)})
	if err != nil || !a.OK {
		return 0
	}
	if a.Part != p.id {
		p.mu.Lock()
		if len(p.found) >= maxFound {
			clear(p.found) // names come and go
		}
		p.found[name] = a.Part
		p.mu.Unlock()
	}
	return a.Part
}

func (p *part) isFixed(name ei.Atom) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fixed[name]
}

// settle marks the end of Setup: names that are registered from now on are unique in the node.
func (p *part) settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settled = true
}

// claimName has the front enter a name that is about to be registered here. Names of Setup are each worker's own. release takes it back.
func (p *part) claimName(name ei.Atom, b *Mailbox) (release func(), err error) {
	p.mu.Lock()
	own := !p.settled || p.fixed[name]
	if own {
		p.fixed[name] = true
	}
	p.mu.Unlock()
	if own {
		return func() {}, nil
	}
	a, err := p.ask(p.n.ctx, word{Topic: sayRegister, Name: string(name), Number: key(b.pid)})
	switch {
	case err != nil:
		return nil, err
	case !a.OK:
		return nil, ErrNameTaken
	}
	return func() { p.releaseName(name) }, nil
}

// releaseName tells the front that nobody here has the name.
func (p *part) releaseName(name ei.Atom) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.fixed[name] {
		delete(p.claimed, name)
		p.line.say(word{Topic: sayRelease, Name: string(name)})
	}
}

// Lookup finds the process that has a registered name, in whichever worker of the node it is; ErrNoProc if nobody has it. It is
// erlang:whereis.
func (n *Node) Lookup(ctx context.Context, name string) (ei.Pid, error) {
	if b := n.Whereis(name); b != nil {
		return b.Pid(), nil
	}
	if n.part == nil || n.part.isFixed(ei.Atom(name)) {
		return ei.Pid{}, wrap("look up "+name, "", ErrNoProc)
	}
	a, err := n.part.ask(ctx, word{Topic: sayLookup, Name: name})
	if err == nil && !a.OK {
		err = ErrNoProc
	}
	if err != nil {
		return ei.Pid{}, wrap("look up "+name, "", err)
	}
	node, creation, err := n.identity()
	return ei.Pid{Node: node, ID: uint32(a.Number), Serial: uint32(a.Number >> 32), Creation: creation}, wrap("look up "+name, "", err)
}
