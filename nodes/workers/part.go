package workers

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/nametable"
	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// A part is what a node has in addition when it is one of several processes that share a name: a
// worker of a Front. Every worker that is started has a number of its own, also called its part,
// which is in each of its pids and references. docs/explanation/front-and-workers.md explains the
// terms that are used here: line, claim, worker link, relay link, remote link, link request.
type part struct {
	ways
	// of the names that are unique in the node; nil: the front has to be asked for each
	nameTable *nametable.Table

	remoteLinks *talk.Queue // that other workers offer
	unpublished atomic.Bool // the front has said that the node is not published

	mu sync.Mutex // guards what the front is asked, and its answers; that of ways is taken after it
	// Setup is done: names that are registered from now on are unique in the node
	setUp       bool
	fixed       map[ei.Atom]bool
	found       map[ei.Atom]finding     // where names were, when the front was last asked
	last        uint64                  // the ID of the last question
	asked       map[uint64]*question    // what the front has been asked, by ID
	claimed     map[ei.Atom]bool        // names that the front has entered as this worker's
	awaited     map[string][]chan error // callers that wait for another worker's way to a peer
	frontClaims map[*frontClaim]bool    // those that are not over
}

func newPart(n *node, id int, l *talk.Line) *part {
	p := &part{
		remoteLinks: talk.NewQueue(), fixed: map[ei.Atom]bool{}, found: map[ei.Atom]finding{},
		asked: map[uint64]*question{}, claimed: map[ei.Atom]bool{}, awaited: map[string][]chan error{}, frontClaims: map[*frontClaim]bool{},
	}
	p.ways.init(n, id, l)
	return p
}

// elsewhere tells in which other worker a process is, given its pid or else its name, which nobody
// here has; 0 if it is here, or nowhere. reader is as for ask.
func (p *part) elsewhere(ctx context.Context, to ei.Pid, name ei.Atom, reader *nodes.Conn) (at int, err error) {
	switch {
	case to != (ei.Pid{}):
		return p.n.Home(to), nil
	case name == "" || p.isFixed(name):
		return 0, nil
	}
	if at, err = p.where(ctx, name, reader); at == p.id {
		return 0, nil
	}
	return at, err
}

// Across is the way to a process of this node: nil if the process is in this worker, or nowhere.
func (p *part) Across(ctx context.Context, to ei.Pid, name ei.Atom) (*nodes.Conn, error) {
	at, err := p.elsewhere(ctx, to, name, nil)
	if err != nil || at == 0 {
		return nil, err
	}
	return p.Reach(ctx, at)
}

// PauseWork stops the worker from taking remote links; resume ends that, and PauseLine.
func (p *part) PauseWork(ctx context.Context) (resume func(), err error) {
	resume = func() {
		p.remoteLinks.Resume()
		p.line.Unpause()
	}
	if err := p.remoteLinks.Pause(ctx); err != nil {
		resume()
		return nil, err
	}
	return resume, nil
}

// PauseLine stops the reader of the line to the front. Before that it stops the readers of the
// connections to other workers, for one of them may be waiting for an answer of the front. The
// readers of conns have stopped, so no new connection to another worker begins here; the front may
// still bring one.
func (p *part) PauseLine(ctx context.Context, conns []*nodes.Conn, stop func([]*nodes.Conn) error) error {
	known := map[*nodes.Conn]bool{}
	for deaf := false; ; deaf = true {
		fresh := slices.DeleteFunc(p.local(conns), func(c *nodes.Conn) bool { return known[c] })
		if deaf && len(fresh) == 0 {
			return nil
		}
		for _, c := range fresh {
			known[c] = true
		}
		p.line.Unpause()
		if err := stop(fresh); err != nil {
			return err
		}
		if err := p.line.Pause(ctx); err != nil {
			return err
		}
	}
}

// HoldLine stops what is said to the front.
func (p *part) HoldLine(ctx context.Context) (resume func(), err error) {
	return p.line.Resume, p.line.Hold(ctx)
}

// IsPublished is what the front has said last.
func (p *part) IsPublished() bool { return !p.unpublished.Load() }

// PutWorkerLink takes the way to another worker that the process before has had.
func (w *ways) PutWorkerLink(c *nodes.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.workerLinks[w.n.Ties(c).Worker] = c
}
