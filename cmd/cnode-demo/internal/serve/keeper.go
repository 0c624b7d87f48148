package serve

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pg"
	"github.com/cnode-go/cnode/nodes/pubsub"
)

// A keeper makes sure that a node always has a peer: it replaces a peer that was killed, as a
// supervisor does.
type keeper struct {
	log     *slog.Logger
	group   string    // of which the peer is a member; "": of none
	scope   *pg.Scope // nil: there is no group
	pubsub  *pubsub.PubSub
	current atomic.Pointer[peer]
	leaving sync.WaitGroup // for what peers that were killed had begun
}

// keepPeer configures a node to have a peer, which is a member of a process group if that has a
// name, and the functions that other nodes can call. What is broadcast goes to out.
func keepPeer(ctx context.Context, cfg *nodes.Config, o *server, out io.Writer) *keeper {
	k := &keeper{log: cfg.Logger, group: o.group}
	cfg.Setup = func(n *nodes.Node) (err error) {
		expose(n)
		if k.group != "" {
			if k.scope, err = pg.Start(ctx, n, "", nil); err != nil {
				return err
			}
		}
		if k.pubsub, err = o.publishing.start(ctx, n, out); err != nil {
			return err
		}
		if err := o.operated.answer(n); err != nil {
			return err
		}
		before, _ := n.Inherited()
		return k.start(n, before)
	}
	cfg.Handover = func(ctx context.Context) ([]byte, error) { return k.current.Load().handover(ctx) }
	return k
}

// start makes a peer. before is what the peer of the previous process has handed over; only the
// first peer gets it.
func (k *keeper) start(n *nodes.Node, before []byte) error {
	p, err := startPeer(n, k.log, before, k.pubsub)
	if err != nil {
		return err
	}
	k.current.Store(p)
	if k.scope == nil {
		return nil
	}
	err = k.scope.Join(context.Background(), ei.Atom(k.group), p.box)
	if p.box.Err() != nil { // it has ended already, and is about to be replaced
		return nil
	}
	return err
}

// supervise replaces peers that end until ctx ends, the node has moved to another process, a new
// peer cannot be started, or a listener stops accepting: the latter two are errors.
func (k *keeper) supervise(ctx context.Context, n *nodes.Node, gone <-chan struct{}, silent <-chan *nodes.Listener) error {
	for ctx.Err() == nil {
		p := k.current.Load()
		select {
		case <-ctx.Done():
		case <-gone:
			return nil
		case l := <-silent: // the node cannot be reached at that address any more
			return broken(l)
		case <-p.box.Done():
			if errors.Is(n.Err(), nodes.ErrMoved) {
				<-gone
				return nil
			}
			if err := k.start(n, nil); err != nil {
				return err
			}
			k.leaving.Go(func() { // a client that does not read may hold up the old peer
				limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
				defer cancel()
				p.stop(limit)
			})
		}
	}
	return nil
}

// stop ends the peer. What it and earlier peers have begun goes on until it is done, or until ctx
// or shutdownLimit ends.
func (k *keeper) stop(ctx context.Context) {
	k.current.Load().stop(ctx)
	k.leaving.Wait()
}

// drainGrace is for how long the peer answers once its group and PubSub are left: others hear late.
const drainGrace = 500 * time.Millisecond

// endThen ends the peer in good order, and then its node, or worker, by shutdown. ctx bounds all of
// it.
func (k *keeper) endThen(ctx context.Context, shutdown func(context.Context) error) error {
	_ = k.current.Load().node.Drain(ctx) // if it fails, Shutdown tries again, and says so
	if k.scope != nil || k.pubsub != nil {
		select {
		case <-time.After(drainGrace):
		case <-ctx.Done():
		}
	}
	k.stop(ctx)
	return shutdown(ctx)
}

// broken is why a listener does not accept any more, if that is not because the node is another
// process's.
func broken(l *nodes.Listener) error {
	if errors.Is(l.Err(), nodes.ErrMoved) {
		return nil
	}
	return l.Err()
}

// firstDone gives the first listener that does not accept any more.
func firstDone(listeners []*nodes.Listener) <-chan *nodes.Listener {
	first := make(chan *nodes.Listener, len(listeners))
	for _, l := range listeners {
		go func() {
			<-l.Done()
			first <- l
		}()
	}
	return first
}
