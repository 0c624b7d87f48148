package discovery

import (
	"cmp"
	"context"
	"iter"
	"time"

	"github.com/cnode-go/cnode/nodes"
)

// A Source names the nodes that a Keeper connects to.
type Source interface {
	// Nodes yields the names, alive@host, of all nodes that are to be connected to, and again when
	// they may have changed; or an error that says why the names are unknown: then those before
	// stay. It goes on until ctx ends, which is no error, or, if the names do not change, ends
	// after them. A Keeper ends ctx with the node. If an error was the last that it has yielded, it
	// is called again later. The node's own name may be among the names. n is the node that asks.
	Nodes(ctx context.Context, n *nodes.Node) iter.Seq2[[]string, error]
}

// List is a Source with a fixed list of nodes. Opposite it is libcluster's
//
//	strategy: Cluster.Strategy.Epmd, config: [hosts: [:"a@10.0.0.1", :"b@10.0.0.2"]]
type List []string

// Nodes yields the list, once.
func (s List) Nodes(context.Context, *nodes.Node) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) { yield(s, nil) }
}

// noNode is what a BEAM is called that is not part of a cluster: libcluster announces it, too.
const noNode = "nonode@nohost"

// defaultInterval is how often a Source that has to ask does so: as often as libcluster.
const defaultInterval = 5 * time.Second

// lookLimit bounds one look of a Source that has to ask.
const lookLimit = 15 * time.Second

// poll yields what look finds, at intervals.
func poll(ctx context.Context, interval time.Duration, look func(context.Context) ([]string, error)) iter.Seq2[[]string, error] {
	if interval <= 0 {
		interval = defaultInterval
	}
	return func(yield func([]string, error) bool) {
		t := time.NewTimer(0)
		defer t.Stop()
		for {
			select {
			case <-t.C:
			case <-ctx.Done():
				return
			}
			limited, cancel := context.WithTimeout(ctx, lookLimit)
			names, err := look(limited)
			cancel()
			if ctx.Err() != nil || !yield(names, err) {
				return
			}
			t.Reset(interval)
		}
	}
}

// wrap says what was asked for in vain.
func wrap(op, what string, err error) error {
	if err == nil {
		return nil
	}
	return &nodes.Error{Op: op, Peer: what, Err: err}
}

func defaulted(d, otherwise time.Duration) time.Duration { return cmp.Or(max(d, 0), otherwise) }
