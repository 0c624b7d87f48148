package nodes

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/nametable"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

const (
	// answerLimit bounds the wait for an answer of the front, which takes a fraction of a millisecond.
	answerLimit = 5 * time.Second
	// numberLimit bounds the wait for news of a worker whose number is not known here.
	numberLimit = time.Second
)

// A part is what a node has in addition when it is one of several processes that share a name: a
// worker of a Front. Every worker that is started has a number of its own, also called its part,
// which is in each of its pids and references. docs/workers.md explains the words that are used
// here: line, claim, worker link, relay link, remote link, link request.
type part struct {
	n    *Node
	id   int
	line *talk.Line
	// of the names that are unique in the node; nil: the front has to be asked for each
	nameTable *nametable.Table

	remoteLinks linkQueue   // that other workers offer
	unpublished atomic.Bool // the front has said that the node is not published

	answerLimit time.Duration // the constants, except in tests
	numberLimit time.Duration

	mu sync.Mutex
	// the ways to the other workers, until the links and monitors over them are broken
	workerLinks map[int]*Conn
	coming      map[int][]*talk.WorkerLink // the ways that are to replace these, in order
	// workers to which the front is about to be asked for another way
	seeking map[int]bool
	latest  int          // the number of the newest worker, as the front has it
	crew    map[int]bool // the workers that live, as the front says, and this one
	change  wait.Bell    // rings when worker links, latest or crew change
	// Setup is done: names that are registered from now on are unique in the node
	setUp       bool
	fixed       map[ei.Atom]bool
	found       map[ei.Atom]finding     // where names were, when the front was last asked
	last        uint64                  // the ID of the last question
	asked       map[uint64]*question    // what the front has been asked, by ID
	claimed     map[ei.Atom]bool        // names that the front has entered as this worker's
	awaited     map[string][]chan error // callers that wait for another worker's way to a peer
	frontClaims map[*frontClaim]bool    // those that are not over
	// ways that other workers wait for, and how many such waits
	linkRequests map[linkRequest]int
	closed       bool
}

// A linkRequest is a way to a peer that another worker wants.
type linkRequest struct {
	peer string
	to   int
}

func newPart(n *Node, id int, l *talk.Line) *part {
	return &part{
		n: n, id: id, line: l, remoteLinks: linkQueue{some: make(chan struct{}, 1)}, latest: id,
		answerLimit: answerLimit, numberLimit: numberLimit,
		workerLinks: map[int]*Conn{}, coming: map[int][]*talk.WorkerLink{}, seeking: map[int]bool{}, crew: map[int]bool{id: true},
		fixed: map[ei.Atom]bool{},
		found: map[ei.Atom]finding{}, asked: map[uint64]*question{}, claimed: map[ei.Atom]bool{}, awaited: map[string][]chan error{},
		frontClaims: map[*frontClaim]bool{}, linkRequests: map[linkRequest]int{},
	}
}

// elsewhere tells in which other worker a process is, given its pid or else its name, which nobody
// here has; 0 if it is here, or nowhere. reader is as for ask.
func (p *part) elsewhere(ctx context.Context, to ei.Pid, name ei.Atom, reader *Conn) (at int, err error) {
	switch {
	case to != (ei.Pid{}):
		return p.n.home(to), nil
	case name == "" || p.isFixed(name):
		return 0, nil
	}
	if at, err = p.where(ctx, name, reader); at == p.id {
		return 0, nil
	}
	return at, err
}

// lives tells whether there is another worker of that number. It waits for news of a number that
// may be new: others may hear of a worker that has just been started before this one does.
func (p *part) lives(ctx context.Context, id int) (yes bool, err error) {
	_, err = p.await(ctx, p.numberLimit, func() bool {
		yes = p.crew[id]
		return yes || !isNew(id, p.latest)
	})
	return yes, err
}

// isNew tells whether a worker of that number may have been started after latest, the latest that
// is known of: numbers go up to maxPart, and begin again. At most maxWorkers are started at once.
func isNew(id, latest int) bool {
	ahead := (id - latest + maxPart) % maxPart
	return ahead > 0 && ahead <= maxWorkers
}

// reach is the way to another worker; nil if there is no such worker, or no more. If the two have
// lost the way to each other, and both live, reach waits for the one that the front gives them.
func (p *part) reach(ctx context.Context, id int) (c *Conn, err error) {
	yes, err := p.lives(ctx, id)
	if !yes || err != nil {
		return nil, err
	}
	there, err := p.await(ctx, p.answerLimit, func() bool {
		c = p.upWorkerLink(id)
		return c != nil || !p.crew[id]
	})
	if !there && err == nil {
		err = fmt.Errorf("to another worker of the node: %w", ErrNoConnection)
	}
	return c, err
}

// await waits until is, which is called with p.mu held, returns true, for limit at most.
func (p *part) await(ctx context.Context, limit time.Duration, is func() bool) (so bool, err error) {
	var late <-chan time.Time
	for {
		p.mu.Lock()
		so = is()
		change := p.change.Next()
		p.mu.Unlock()
		if so {
			return true, nil
		}
		if late == nil {
			t := time.NewTimer(limit)
			defer t.Stop()
			late = t.C
		}
		select {
		case <-change:
		case <-late:
			return false, nil
		case <-p.n.ctx.Done():
			return false, p.n.gone()
		case <-wait.Cancelled(ctx):
			return false, wait.Err(ctx)
		}
	}
}

// workerLink is the way to another worker; nil if there is none: what the two had with each other
// is broken then, or about to be.
func (p *part) workerLink(id int) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.upWorkerLink(id)
}

// upWorkerLink is the way to another worker, if it is up, and the other side is not known to have
// ended it; p.mu is held.
func (p *part) upWorkerLink(id int) *Conn {
	if c := p.workerLinks[id]; c != nil && c.Err() == nil && len(p.coming[id]) == 0 {
		return c
	}
	return nil
}

// allWorkerLinks are the ways to the other workers that are up.
func (p *part) allWorkerLinks() (all []*Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.workerLinks {
		if c := p.upWorkerLink(id); c != nil {
			all = append(all, c)
		}
	}
	return all
}

// across is the way to a process of this node: nil if the process is in this worker, or nowhere.
func (p *part) across(ctx context.Context, to ei.Pid, name ei.Atom) (*Conn, error) {
	at, err := p.elsewhere(ctx, to, name, nil)
	if err != nil || at == 0 {
		return nil, err
	}
	return p.reach(ctx, at)
}

// workerLinkPeer describes this node as the peer of its own workers: they use all default features,
// also those that Config.Flags withholds from other nodes.
func (p *part) workerLinkPeer() dist.Peer {
	n := p.n
	flags := n.cfg.Flags | dist.FlagsDefault
	return dist.Peer{
		Name: n.name, Creation: n.creation, Flags: flags, Announced: flags, Version: dist.Version6, Status: dist.StatusOK,
		SelfName: n.name, SelfCreation: n.creation,
	}
}

// A linkQueue has the remote links that are to be taken, one at a time and in order: to take one
// may have to wait.
type linkQueue struct {
	mu     sync.Mutex
	list   []*talk.RemoteLink
	some   chan struct{} // holds a token when next is to look again
	taking wait.Pausable
}

func (q *linkQueue) add(m *talk.RemoteLink) {
	q.mu.Lock()
	q.list = append(q.list, m)
	q.mu.Unlock()
	q.wake()
}

func (q *linkQueue) wake() {
	select {
	case q.some <- struct{}{}:
	default:
	}
}

// next waits for the next one, until over is closed: nil. The one before has been taken.
func (q *linkQueue) next(over <-chan struct{}) *talk.RemoteLink {
	for {
		q.mu.Lock()
		if q.taking.Runs() {
			q.taking.Done()
		}
		if len(q.list) > 0 && q.taking.Begin() {
			m := q.list[0]
			q.list = q.list[1:]
			q.mu.Unlock()
			return m
		}
		q.mu.Unlock()
		select {
		case <-q.some:
		case <-over:
			return nil
		}
	}
}

// drop gives up what has not been taken.
func (q *linkQueue) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	talk.DropAll(q.list)
	q.list = nil
}

// pauseWork stops the worker from taking remote links; resume ends that, and pauseLine. On nil, as
// of a node that is one process, or a front's, there is nothing to stop: here and in pauseLine and
// holdLine.
func (p *part) pauseWork(ctx context.Context) (resume func(), err error) {
	if p == nil {
		return func() {}, nil
	}
	q := &p.remoteLinks
	resume = func() {
		q.mu.Lock()
		q.taking.Resume()
		q.mu.Unlock()
		q.wake()
		p.line.Unpause()
	}
	if err := q.taking.Pause(ctx, &q.mu); err != nil {
		resume()
		return nil, err
	}
	return resume, nil
}

// pauseLine stops the reader of the line to the front. Before that it halts the readers of the
// connections to other workers, for one of them may be waiting for an answer of the front. The
// readers of conns have halted, so no new connection to another worker begins here; the front may
// still bring one.
func (p *part) pauseLine(ctx context.Context, conns []*Conn, halt func([]*Conn) error) error {
	if p == nil {
		return nil
	}
	known := map[*Conn]bool{}
	for deaf := false; ; deaf = true {
		fresh := slices.DeleteFunc(p.local(conns), func(c *Conn) bool { return known[c] })
		if deaf && len(fresh) == 0 {
			return nil
		}
		for _, c := range fresh {
			known[c] = true
		}
		p.line.Unpause()
		if err := halt(fresh); err != nil {
			return err
		}
		if err := p.line.Pause(ctx); err != nil {
			return err
		}
	}
}

// holdLine stops what is said to the front.
func (p *part) holdLine(ctx context.Context) (resume func(), err error) {
	if p == nil {
		return func() {}, nil
	}
	return p.line.Resume, p.line.Hold(ctx)
}

// local lists the ways to the other workers: the worker links, and the relay links of conns.
func (p *part) local(conns []*Conn) []*Conn {
	var list []*Conn
	p.mu.Lock()
	for _, c := range p.workerLinks {
		list = append(list, c)
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.relaying.Lock()
		for _, b := range c.relayLinks {
			list = append(list, b)
		}
		c.relaying.Unlock()
	}
	return list
}

// close ends the ways to the other workers.
func (p *part) close() error {
	p.mu.Lock()
	p.closed = true
	p.dropComing()
	var workerLinks []*Conn
	for _, c := range p.workerLinks {
		workerLinks = append(workerLinks, c)
	}
	p.mu.Unlock()
	for _, c := range workerLinks {
		_ = c.Close()
	}
	return nil
}

// dropComing gives up the ways that have not been taken; p.mu is held.
func (p *part) dropComing() {
	for _, list := range p.coming {
		talk.DropAll(list)
	}
	clear(p.coming)
}

// peerOf is the peer's name with which a parcel's data begins, and under which the session is
// counted; "" if the peer asks for a name.
func peerOf(data []byte) string {
	// the header's size; in a header of 4 bytes the first two are zero
	for _, size := range []int{2, 4} {
		if len(data) < size {
			break
		}
		n := uint64(binary.BigEndian.Uint16(data))
		if size == 4 {
			n = uint64(binary.BigEndian.Uint32(data))
		}
		if n == 0 || n > uint64(len(data)-size) {
			continue
		}
		who, err := dist.ParseName(data[size : size+int(n)])
		if err != nil || who.Dynamic() {
			break
		}
		return who.Name
	}
	return ""
}
