package nodes

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

const (
	// partBits is how many bits of a pid's serial say in which worker it was made: those that every peer takes for part of it.
	partBits = 13
	maxPart  = 1<<partBits - 1
	// partOfRef is where they are in the third word of a reference.
	partOfRef = 16
	// answerLimit bounds the wait for the front's word, which takes a fraction of a millisecond.
	answerLimit = 5 * time.Second
)

// A part is what a node has in addition when it is one of several processes that share a name: a worker of a Front. Every worker that has
// ever been started has a number of its own, which is in each of its pids and references.
type part struct {
	n    *Node
	id   int
	line *line

	mu       sync.Mutex
	siblings map[int]*Conn // the ways to the other workers
	latest   int           // the highest number of a worker that the front has named
	change   chan struct{} // closed when siblings or latest change
	settled  bool          // Setup is done: names that are registered from now on are unique in the node
	fixed    map[ei.Atom]bool
	found    map[ei.Atom]int // where names were, when the front was last asked
	last     uint64          // request
	asked    map[uint64]*question
	claimed  map[ei.Atom]bool        // names that the front has entered as this worker's
	awaited  map[string][]chan error // peers to whom a way is coming from another worker
	pending  map[*hold]bool          // of handshakes in progress
	meets    map[meeting]int         // ways that another worker waits for
	closed   bool
}

// A question is one that the front has not answered yet.
type question struct {
	w      word
	answer chan reply // nil: nobody waits for it any more, and what it brings is given back
}

// A reply is the front's answer; hold comes with the right to connect.
type reply struct {
	word
	hold *hold
}

// A meeting is a way to a peer that another worker wants.
type meeting struct {
	peer string
	to   int
}

func newPart(n *Node, id int, l *line) *part {
	return &part{
		n: n, id: id, line: l, latest: id, siblings: map[int]*Conn{}, change: make(chan struct{}), fixed: map[ei.Atom]bool{},
		found: map[ei.Atom]int{}, asked: map[uint64]*question{}, claimed: map[ei.Atom]bool{}, awaited: map[string][]chan error{},
		pending: map[*hold]bool{}, meets: map[meeting]int{},
	}
}

// pid makes the pid of a number.
func (p *part) pid(name ei.Atom, i uint64, creation uint32) ei.Pid {
	return ei.Pid{Node: name, ID: uint32(i & (1<<pidBits - 1)), Serial: uint32(i>>pidBits)<<partBits | uint32(p.id), Creation: creation}
}

// partOf tells in which worker a pid of the node was made.
func partOf(pid ei.Pid) int { return int(pid.Serial & maxPart) }

func partOfReference(r ei.Ref) int {
	if r.Len < 3 {
		return 0
	}
	return int(r.ID[2] >> partOfRef)
}

// ask says something to the front that it answers.
func (p *part) ask(ctx context.Context, w word) (reply, error) {
	answer := make(chan reply, 1)
	p.mu.Lock()
	p.last++
	w.ID = p.last
	p.asked[w.ID] = &question{w, answer}
	said := p.line.say(w)
	p.mu.Unlock()
	if !said {
		return reply{}, ErrClosed
	}
	t := time.NewTimer(answerLimit)
	defer t.Stop()
	var err error
	select {
	case a := <-answer:
		return a, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-p.line.over:
		return reply{}, ErrClosed
	case <-t.C:
		err = fmt.Errorf("the front does not answer: %w", context.DeadlineExceeded)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := p.asked[w.ID]; q != nil {
		q.answer = nil
		return reply{}, err
	}
	return <-answer, nil // just now
}

// answered gives an answer to who asked.
func (p *part) answered(w word) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.asked[w.ID]
	if q == nil {
		return
	}
	delete(p.asked, w.ID)
	r := reply{word: w}
	switch {
	case q.w.Topic == sayClaim && w.Part == p.id:
		if q.answer == nil {
			p.line.say(word{Topic: sayOver, Name: q.w.Name})
			return
		}
		r.hold = p.holdLocked(q.w.Name)
	case q.w.Topic == sayRegister && w.OK:
		if q.answer == nil {
			p.line.say(word{Topic: sayRelease, Name: q.w.Name})
			return
		}
		p.claimed[ei.Atom(q.w.Name)] = true
	}
	if q.answer != nil {
		q.answer <- r
	}
}

// where finds the worker that a name is in; 0 if nobody has it. What the front has said once is remembered: who gets a message for a name
// that has moved on passes it on.
func (p *part) where(name ei.Atom) int {
	p.mu.Lock()
	at := p.found[name]
	_, there := p.siblings[at]
	p.mu.Unlock()
	if there {
		return at
	}
	a, err := p.ask(p.n.ctx, word{Topic: sayLookup, Name: string(name)})
	if err != nil || !a.OK {
		return 0
	}
	if a.Part != p.id {
		p.mu.Lock()
		p.found[name] = a.Part
		p.mu.Unlock()
	}
	return a.Part
}

// elsewhere tells in which other worker a process is, by its pid or else its name; 0 if it is here, or nowhere.
func (p *part) elsewhere(to ei.Pid, name ei.Atom) int {
	at := 0
	switch {
	case to != (ei.Pid{}):
		at = partOf(to)
	case name != "" && p.n.procs.named(name) == nil && !p.isFixed(name):
		at = p.where(name)
	}
	if at == p.id {
		return 0
	}
	return at
}

func (p *part) isFixed(name ei.Atom) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fixed[name]
}

// sibling is the way to another worker; nil if there is no such worker any more.
func (p *part) sibling(id int) *Conn {
	var deadline <-chan time.Time
	for {
		p.mu.Lock()
		c, latest, change, closed := p.siblings[id], p.latest, p.change, p.closed
		p.mu.Unlock()
		if c != nil || id <= latest || closed {
			return c
		}
		if deadline == nil { // a new one, of which others have heard before the front could say so
			t := time.NewTimer(time.Second)
			defer t.Stop()
			deadline = t.C
		}
		select {
		case <-change:
		case <-deadline:
			return nil
		case <-p.n.ctx.Done():
			return nil
		}
	}
}

// across is the way to a process of this node: nil if it is in this worker, or nowhere.
func (n *Node) across(to ei.Pid, name ei.Atom) *Conn {
	if n.part == nil {
		return nil
	}
	if at := n.part.elsewhere(to, name); at != 0 {
		return n.part.sibling(at)
	}
	return nil
}

// names keeps the names of Setup apart from those that are registered later.
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

// A hold is what the front counts a session or an attempt of this worker by, until it is over. A nil one counts nothing.
type hold struct {
	p    *part
	name string // of the peer; "" while it has none
}

// newHold is the hold of a session, which the front has counted already.
func (p *part) newHold(peer string) *hold {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.holdLocked(peer)
}

func (p *part) holdLocked(peer string) *hold {
	h := &hold{p, peer}
	p.pending[h] = true
	return h
}

// up says that the connection is there, which the hold is that of from then on.
func (h *hold) up(peer string) {
	if h == nil {
		return
	}
	h.p.mu.Lock()
	defer h.p.mu.Unlock()
	delete(h.p.pending, h)
	h.p.line.say(word{Topic: sayUp, Key: h.name, Name: peer})
	h.name = peer
}

func (h *hold) over() {
	if h == nil {
		return
	}
	h.p.mu.Lock()
	defer h.p.mu.Unlock()
	delete(h.p.pending, h)
	h.p.line.say(word{Topic: sayOver, Name: h.name})
}

// errElsewhere: another worker of this node has the connection, or is about to.
var errElsewhere = errors.New("another worker has no connection any more")

// claim asks for the right to connect to a peer. ErrConnected, when another worker of the node has the connection and this one the way to
// it; ErrSuperseded, when things have changed meanwhile: look again.
func (p *part) claim(ctx context.Context, peer string) (*hold, error) {
	wait := make(chan error, 1)
	p.mu.Lock()
	p.awaited[peer] = append(p.awaited[peer], wait)
	p.mu.Unlock()
	defer p.forgo(peer, wait)
	a, err := p.ask(ctx, word{Topic: sayClaim, Name: peer})
	if err != nil {
		return nil, err
	}
	if a.Part == p.id {
		return a.hold, nil
	}
	select {
	case err := <-wait:
		if err == errElsewhere { // which the front will hear of in a moment
			t := time.NewTimer(10 * time.Millisecond)
			defer t.Stop()
			select {
			case <-t.C:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return nil, ErrSuperseded
		}
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *part) forgo(peer string, wait chan error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.awaited[peer]
	for i, w := range list {
		if w == wait {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(p.awaited, peer)
	} else {
		p.awaited[peer] = list
	}
}

// tellAwaited wakes those who wait for a way to a peer.
func (p *part) tellAwaited(peer string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.awaited[peer] {
		select {
		case w <- err:
		default:
		}
	}
}

// extent is what breaks when a connection ends: what processes have with those of a node, or of one worker of this node.
type extent struct {
	node string
	part int // 0: the whole node
}

func (c *Conn) extent() extent { return extent{c.peer.Name, c.part} }

func (e extent) has(pid ei.Pid) bool {
	return string(pid.Node) == e.node && (e.part == 0 || partOf(pid) == e.part)
}

func (e extent) hasTarget(t target) bool { return t.node == e.node && t.part == e.part }

// siblingPeer describes this node to itself.
func (p *part) siblingPeer() dist.Peer {
	n := p.n
	return dist.Peer{
		Name: n.name, Creation: n.creation, Flags: n.cfg.Flags, Announced: n.cfg.Flags, Version: dist.Version6, Status: dist.StatusOK,
		SelfName: n.name, SelfCreation: n.creation,
	}
}
