package metrics

import (
	"iter"
	"strings"
	"sync"
	"time"
)

// temporary is the name of all peers that are there for an occasion only: see Conn.Temporary.
const temporary = "temporary"

// Peers keeps a record of type T for each peer, for a program that counts what happens with them.
// It is as large as the cluster is, not as the cluster has ever been: peers that are gone are
// forgotten, and those that are there for an occasion share one record. The fields must not change
// once it is in use. Its methods may be called at any time, by Hooks, too.
type Peers[T any] struct {
	// Most is how many peers have a record of their own: one that comes when there are so many has
	// that of the peer which has been gone for longest, whose record is dropped. If all of them are
	// there it shares the record of Other, until it is gone.
	Most int
	// Keep is for how long the record of a peer that is gone is kept.
	Keep time.Duration

	mu  sync.Mutex
	all map[string]*peerRecord[T] // by label
	up  map[string]*upPeer        // by name
	own int                       // records of one peer each
}

type peerRecord[T any] struct {
	T     *T
	conns int
	heard time.Time // when the peer was last heard of, if it has no connection
}

// An upPeer is one with connections, which are all counted under one label.
type upPeer struct {
	label string
	conns int
}

// Up is the record for a connection that is up: for Hooks.ConnUp.
func (p *Peers[T]) Up(c *Conn) *T {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := Clip(c.Peer)
	u := p.up[name]
	if u == nil {
		if p.up == nil {
			p.up = map[string]*upPeer{}
		}
		u = &upPeer{label: p.labelOf(c)}
		p.up[name] = u
	}
	r := p.record(u.label)
	u.conns++
	r.conns++
	return r.T
}

// Down is the record for a connection that has ended, and that Up was called for: for
// Hooks.ConnDown.
func (p *Peers[T]) Down(c *Conn) *T {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := Clip(c.Peer)
	u := p.up[name]
	if u == nil {
		return p.record(p.labelOf(c)).T
	}
	r := p.record(u.label)
	r.conns--
	if u.conns--; u.conns == 0 {
		delete(p.up, name)
	}
	return r.T
}

// OfConn is the record for a connection, which Up may not have been called for yet.
func (p *Peers[T]) OfConn(c *Conn) *T {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.record(p.labelOf(c)).T
}

// Of is the record for the peer of that name, and the name under which it is counted: its own,
// Other or "temporary". A name without "@", which no node has, has a record that stays.
func (p *Peers[T]) Of(name string) (label string, record *T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	label = p.label(Clip(name))
	return label, p.record(label).T
}

// All yields the records by label, without those of peers that have been gone for longer than Keep,
// which are dropped. Peers with connections that Up was not called for must be looked up by Of
// before.
func (p *Peers[T]) All() iter.Seq2[string, *T] {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]*T, len(p.all))
	for label, r := range p.all {
		if r.conns == 0 && isNode(label) && time.Since(r.heard) > p.Keep {
			p.drop(label)
			continue
		}
		all[label] = r.T
	}
	return func(yield func(string, *T) bool) {
		for label, record := range all {
			if !yield(label, record) {
				return
			}
		}
	}
}

// labelOf is what the peer of a connection is counted under; p.mu is held.
func (p *Peers[T]) labelOf(c *Conn) string {
	name := Clip(c.Peer)
	if c.Temporary && p.up[name] == nil {
		return temporary
	}
	return p.label(name)
}

// label is what a peer is counted under; p.mu is held.
func (p *Peers[T]) label(name string) string {
	switch u := p.up[name]; {
	case u != nil:
		return u.label
	case p.all[name] != nil, !isNode(name), p.own < p.Most, p.makeRoom():
		return name
	}
	return Other
}

// makeRoom drops the record of the peer that has been gone for longest; false: all are there. p.mu
// is held.
func (p *Peers[T]) makeRoom() bool {
	gone := ""
	for label, r := range p.all {
		if r.conns == 0 && isNode(label) && (gone == "" || r.heard.Before(p.all[gone].heard)) {
			gone = label
		}
	}
	if gone != "" {
		p.drop(gone)
	}
	return gone != ""
}

// record is what there is under a label, from now on if there was nothing; p.mu is held.
func (p *Peers[T]) record(label string) *peerRecord[T] {
	r := p.all[label]
	if r == nil {
		if p.all == nil {
			p.all = map[string]*peerRecord[T]{}
		}
		r = &peerRecord[T]{T: new(T)}
		p.all[label] = r
		if isNode(label) {
			p.own++
		}
	}
	r.heard = time.Now()
	return r
}

func (p *Peers[T]) drop(label string) {
	delete(p.all, label)
	p.own--
}

func isNode(label string) bool { return strings.Contains(label, "@") }
