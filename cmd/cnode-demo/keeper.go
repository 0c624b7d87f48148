package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/nodes"
)

// A keeper has a node always have a peer: when somebody has killed it there is a new one, as from a supervisor.
type keeper struct {
	log     *slog.Logger
	current atomic.Pointer[peer]
	leaving sync.WaitGroup // of peers that were killed: what they had begun
}

// keepPeer gives a node that is to be a peer, and what others call.
func keepPeer(cfg *nodes.Config) *keeper {
	k := &keeper{log: cfg.Logger}
	cfg.Setup = func(n *nodes.Node) error {
		expose(n)
		before, _ := n.Inherited()
		return k.start(n, before)
	}
	cfg.Handover = func(ctx context.Context) ([]byte, error) { return k.current.Load().handover(ctx) }
	return k
}

// start makes a peer. before is what the one of the process before has handed over: to the first peer only, for that one uses it up.
func (k *keeper) start(n *nodes.Node, before []byte) error {
	p, err := startPeer(n, k.log, before)
	if err == nil {
		k.current.Store(p)
	}
	return err
}

// supervise does so until ctx ends, the node is gone to another process, or cannot have a peer, or a listener does not accept any more: the
// latter two are errors.
func (k *keeper) supervise(ctx context.Context, n *nodes.Node, gone <-chan struct{}, broken <-chan *nodes.Listener) error {
	for ctx.Err() == nil {
		p := k.current.Load()
		select {
		case <-ctx.Done():
		case <-gone:
			return nil
		case l := <-broken: // some could not reach the node any more
			return l.Err()
		case <-p.box.Done():
			if errors.Is(n.Err(), nodes.ErrMoved) {
				<-gone
				return nil
			}
			if err := k.start(n, nil); err != nil {
				return err
			}
			k.leaving.Go(func() { // a client that does not read may keep it
				limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
				defer cancel()
				p.stop(limit)
			})
		}
	}
	return nil
}

// stop ends the peer. What it, and those before it, have begun goes on until it is done, or ctx or shutdownLimit ends.
func (k *keeper) stop(ctx context.Context) {
	k.current.Load().stop(ctx)
	k.leaving.Wait()
}

// end ends the peer, then its node: in good order within shutdownLimit, or at once after trouble. See cutOff for who.
func (k *keeper) end(ctx context.Context, n ending, trouble error, who string, errOut io.Writer) error {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
	defer cancel()
	k.stop(limit)
	if trouble != nil {
		return errors.Join(trouble, n.Close())
	}
	return cutOff(n.Shutdown(limit), who, shutdownLimit, errOut)
}

// An ending is a node, or a worker, which can end either way.
type ending interface {
	Shutdown(ctx context.Context) error
	Close() error
}
