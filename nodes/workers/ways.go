package workers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

const (
	// answerLimit bounds the wait for an answer of the front, which takes a fraction of a millisecond.
	answerLimit = 5 * time.Second
	// numberLimit bounds the wait for news of a worker whose number is not known here.
	numberLimit = time.Second
	// relayLimit bounds how long the end of a connection takes to reach another worker: messages that
	// came before the end must arrive there first.
	relayLimit = time.Second
)

// The ways are those from a worker to the others, and what it knows of which others there are.
type ways struct {
	n    *node
	id   int // the worker's
	line *talk.Line

	answerLimit time.Duration // the constants, except in tests
	numberLimit time.Duration
	relayLimit  time.Duration

	mu sync.Mutex // guards what follows
	// until the links and monitors over them are broken
	workerLinks map[int]*nodes.Conn
	coming      map[int][]*talk.WorkerLink // the ways that are to replace these, in order
	// workers to which the front is about to be asked for another way
	seeking map[int]bool
	latest  int          // the number of the newest worker, as the front has it
	crew    map[int]bool // the workers that live, as the front says, and this one
	change  wait.Bell    // rings when worker links, latest or crew change
	// ways that other workers wait for, and how many such waits
	linkRequests map[linkRequest]int
	closed       bool
}

// A linkRequest is a way to a peer that another worker wants.
type linkRequest struct {
	peer string
	to   int
}

func (w *ways) init(n *node, id int, l *talk.Line) {
	w.n, w.id, w.line, w.latest = n, id, l, id
	w.answerLimit, w.numberLimit, w.relayLimit = answerLimit, numberLimit, relayLimit
	w.workerLinks, w.coming, w.seeking = map[int]*nodes.Conn{}, map[int][]*talk.WorkerLink{}, map[int]bool{}
	w.crew, w.linkRequests = map[int]bool{id: true}, map[linkRequest]int{}
}

// lives tells whether there is another worker of that number. It waits for news of a number that
// may be new: others may hear of a worker that has just been started before this one does.
func (w *ways) lives(ctx context.Context, id int) (yes bool, err error) {
	_, err = w.await(ctx, w.numberLimit, func() bool {
		yes = w.crew[id]
		return yes || !isNew(id, w.latest)
	})
	return yes, err
}

// has tells whether a worker of that number is known to live.
func (w *ways) has(id int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.crew[id]
}

// isNew tells whether a worker of that number may have been started after latest, the latest that
// is known of: numbers go up to states.MaxPart, and begin again. At most maxWorkers are started at
// once.
func isNew(id, latest int) bool {
	ahead := (id - latest + states.MaxPart) % states.MaxPart
	return ahead > 0 && ahead <= maxWorkers
}

// Reach is the way to another worker; nil if there is no such worker, or no more. If the two have
// lost the way to each other, and both live, reach waits for the one that the front gives them.
func (w *ways) Reach(ctx context.Context, id int) (c *nodes.Conn, err error) {
	yes, err := w.lives(ctx, id)
	if !yes || err != nil {
		return nil, err
	}
	there, err := w.await(ctx, w.answerLimit, func() bool {
		c = w.upWorkerLink(id)
		return c != nil || !w.crew[id]
	})
	if !there && err == nil {
		err = fmt.Errorf("to another worker of the node: %w", nodes.ErrNoConnection)
	}
	return c, err
}

// await waits until is, which is called with w.mu held, returns true, for limit at most.
func (w *ways) await(ctx context.Context, limit time.Duration, is func() bool) (so bool, err error) {
	var late <-chan time.Time
	for {
		w.mu.Lock()
		so = is()
		change := w.change.Next()
		w.mu.Unlock()
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
		case <-w.line.Over(): // all news come from the front
			return false, w.n.Gone()
		case <-w.n.Ctx.Done():
			return false, w.n.Gone()
		case <-wait.Cancelled(ctx):
			return false, wait.Err(ctx)
		}
	}
}

// WorkerLink is the way to another worker; nil if there is none: what the two had with each other
// is broken then, or about to be.
func (w *ways) WorkerLink(id int) *nodes.Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.upWorkerLink(id)
}

// upWorkerLink is the way to another worker, if it is up, and the other side is not known to have
// ended it; w.mu is held.
func (w *ways) upWorkerLink(id int) *nodes.Conn {
	if c := w.workerLinks[id]; c != nil && c.Err() == nil && len(w.coming[id]) == 0 {
		return c
	}
	return nil
}

// AllWorkerLinks are the ways to the other workers that are up.
func (w *ways) AllWorkerLinks() (all []*nodes.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.workerLinks {
		if c := w.upWorkerLink(id); c != nil {
			all = append(all, c)
		}
	}
	return all
}

// workerLinkPeer describes this node as the peer of its own workers: they use all default features,
// also those that nodes.Config.Flags withholds from other nodes.
func (w *ways) workerLinkPeer() dist.Peer {
	n := w.n
	flags := n.Setting().Flags | dist.FlagsDefault
	return dist.Peer{
		Name: n.Name(), Creation: n.Creation(), Flags: flags, Announced: flags, Version: dist.Version6, Status: protocol.StatusOK,
		SelfName: n.Name(), SelfCreation: n.Creation(),
	}
}

// local lists the ways to the other workers: the worker links, and the relay links of conns.
func (w *ways) local(conns []*nodes.Conn) []*nodes.Conn {
	w.mu.Lock()
	list := slices.Collect(maps.Values(w.workerLinks))
	w.mu.Unlock()
	for _, c := range conns {
		t := w.n.Ties(c)
		t.Relaying.Lock()
		list = slices.AppendSeq(list, maps.Values(t.RelayLinks))
		t.Relaying.Unlock()
	}
	return list
}

// close ends the ways to the other workers.
func (w *ways) Close() {
	w.mu.Lock()
	w.closed = true
	w.dropComing()
	workerLinks := slices.Collect(maps.Values(w.workerLinks))
	w.mu.Unlock()
	for _, c := range workerLinks {
		_ = c.Close()
	}
}

// dropComing gives up the ways that have not been taken; w.mu is held.
func (w *ways) dropComing() {
	for _, list := range w.coming {
		talk.DropAll(list)
	}
	clear(w.coming)
}
