package discovery

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/inside"
)

// The defaults of Options.
const (
	defaultMinDelay    = 500 * time.Millisecond
	defaultMaxDelay    = 30 * time.Second
	defaultConcurrency = 16
)

// Options say how a Keeper keeps connections. nil, and the zero value, are the defaults.
//
// OnConnected, OnLost and OnFailed are called one at a time; until one returns no other is called,
// and the peer that it is about is not connected to again. They must not call Keeper.Close.
type Options struct {
	// MinDelay is about how long the Keeper waits before it connects again to a node that it has
	// lost, or could not connect to. Each time it waits up to twice as long as before, but at least
	// half of that; MaxDelay bounds it. A connection that has lasted for MaxDelay begins again with
	// MinDelay. 0: half a second, and half a minute.
	MinDelay, MaxDelay time.Duration
	// Concurrency bounds the attempts to connect at once. 0: some.
	Concurrency int
	// Disconnect ends the connection to a node that the source names no more, whoever has made it,
	// as erlang:disconnect_node does; another Keeper that has the node on its list connects again.
	// Otherwise it stays, and is not made again when it is lost. libcluster disconnects.
	Disconnect bool
	// Only tells which of the source's names count; nil: all of them.
	Only func(node string) bool

	// OnConnected hears that a node is connected: by the Keeper, by a send, by the peer, or
	// already when the source has named it.
	OnConnected func(p Peer)
	// OnLost hears that a connection has ended: Peer.Why and Peer.Err say why, Peer.Next when it is
	// tried again. It is not called when the node itself is closed, or goes on in another process.
	OnLost func(p Peer)
	// OnFailed hears that an attempt has failed: Peer.Err says why, Peer.Next when the next one is
	// due. A name that no node can have (dist.ErrInvalidName) is reported once, and not tried
	// again: Peer.Next is zero.
	OnFailed func(p Peer)
	// Logger is told of lost nodes, and of the first attempt that fails; further ones, level Debug.
	// nil: the node's.
	Logger *slog.Logger
}

// A Peer is what a Keeper knows of a node that its source names.
type Peer struct {
	Node  string
	Up    bool      // it is connected
	Since time.Time // when it came up or, if it is not up, was lost or first named
	// Attempts counts those that have failed since it was last up.
	Attempts int
	// Err is why the last attempt has failed, or the last connection has ended, whichever was
	// later; nil: neither has happened.
	Err error
	// Why is why the last connection has ended; 0: there has been none.
	Why nodes.DownReason
	// Next is when the next attempt is due; zero: it is up, or an attempt is in progress, or none
	// is going to be made, because the node drains for example.
	Next time.Time
}

// A Keeper keeps a node connected to others. Its methods are safe for concurrent use.
type Keeper struct {
	n      *nodes.Node
	source Source
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{} // Options.Concurrency
	hears  sync.Mutex    // held by whoever calls one of the functions of Options
	all    sync.WaitGroup
	done   chan struct{}
	err    error // once done is closed

	mu     sync.Mutex
	peers  map[string]*peer
	srcErr error
}

// KeepConnected connects n to the nodes that source names, and keeps it connected, until Close is
// called, or the node stops (nodes.StateStopping), ends or goes on in another process. When the
// node drains (nodes.Node.Drain) it makes no new attempts: what is lost then stays lost. It returns
// at once. Connections stay when it ends.
func KeepConnected(n *nodes.Node, source Source, o *Options) *Keeper {
	k := &Keeper{n: n, source: source, peers: map[string]*peer{}, done: make(chan struct{})}
	if o != nil {
		k.o = *o
	}
	k.o.MinDelay = defaulted(k.o.MinDelay, defaultMinDelay)
	k.o.MaxDelay = max(defaulted(k.o.MaxDelay, defaultMaxDelay), k.o.MinDelay)
	k.o.Concurrency = cmp.Or(max(k.o.Concurrency, 0), defaultConcurrency)
	k.o.Logger = cmp.Or(k.o.Logger, n.Logger())
	k.slots = make(chan struct{}, k.o.Concurrency)
	k.ctx, k.cancel = context.WithCancel(context.Background())
	if err := n.Inside(inside.Key{}).CheckClustered(); err != nil {
		k.o.Logger.Error("discovery: nothing to connect to", "error", err)
		k.cancel()
		k.err = err
		close(k.done)
		return k
	}
	k.all.Go(k.watch)
	k.all.Go(func() {
		select {
		case <-n.Stopping(): // what the node parts from is not lost
			k.cancel()
		case <-k.ctx.Done():
		}
	})
	k.all.Go(k.follow)
	go func() {
		k.all.Wait()
		k.err = cmp.Or(n.Err(), nodes.ErrClosed)
		close(k.done)
	}()
	return k
}

// Close ends the Keeper, and waits for attempts in progress to be given up, for functions of
// Options that are running, and for the source. Connections stay. The error is nil.
func (k *Keeper) Close() error {
	k.cancel()
	<-k.done
	return nil
}

// Done is closed when the Keeper has ended.
func (k *Keeper) Done() <-chan struct{} { return k.done }

// Err is why the Keeper has ended: what nodes.Node.Err says, nodes.ErrMoved for example, or
// nodes.ErrClosed if the node lives, or nodes.ErrNoCluster; nil while the Keeper has not.
func (k *Keeper) Err() error {
	select {
	case <-k.done:
		return k.err
	default:
		return nil
	}
}

// Peers lists the nodes that the source names, by name. Those that it names no more are not among
// them, nor are nodes that are connected for other reasons: see nodes.Node.Peers.
func (k *Keeper) Peers() []Peer {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := make([]Peer, 0, len(k.peers))
	for _, name := range slices.Sorted(maps.Keys(k.peers)) {
		list = append(list, k.peers[name].Peer)
	}
	return list
}

// SourceErr is why the source does not know the names at present; nil if it does.
func (k *Keeper) SourceErr() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.srcErr
}

// watch wakes those that wait to connect to a node which is up, and ends the Keeper with the node.
func (k *Keeper) watch() {
	defer k.cancel()
	for e := range k.n.WatchNodes(k.ctx) {
		if !e.Up {
			continue
		}
		k.mu.Lock()
		if p := k.peers[e.Node]; p != nil {
			select {
			case p.isUp <- struct{}{}:
			default:
			}
		}
		k.mu.Unlock()
	}
}

// follow takes over what the source names.
func (k *Keeper) follow() {
	for delay := k.o.MinDelay; ; delay = k.longer(delay) {
		var last error
		for names, err := range k.source.Nodes(k.ctx, k.n) {
			if k.ctx.Err() != nil {
				return
			}
			if last = err; err != nil {
				k.lacks(err)
				continue
			}
			delay = k.o.MinDelay
			k.lacks(nil)
			k.take(names)
		}
		if last == nil || !k.wait(k.ctx, delay) {
			return
		}
	}
}

// lacks notes why the source knows no names; nil: it knows them.
func (k *Keeper) lacks(err error) {
	k.mu.Lock()
	was := k.srcErr
	k.srcErr = err
	k.mu.Unlock()
	switch {
	case err == nil:
	case was == nil || was.Error() != err.Error():
		k.o.Logger.Warn("discovery: the nodes to connect to cannot be found out; those known before stay", "error", err)
	default:
		k.o.Logger.Debug("discovery: the nodes to connect to cannot be found out; those known before stay", "error", err)
	}
}

// take begins to keep the nodes of these names, and ends to keep the others.
func (k *Keeper) take(names []string) {
	self := k.n.Name()
	named := map[string]bool{}
	for _, name := range names {
		if name != self && name != noNode && (k.o.Only == nil || k.o.Only(name)) {
			named[name] = true
		}
	}
	var gone []string
	k.mu.Lock()
	for name, p := range k.peers {
		if !named[name] {
			p.cancel()
			delete(k.peers, name)
			gone = append(gone, name)
		}
	}
	for name := range named {
		if k.peers[name] == nil {
			k.peers[name] = k.newPeer(name)
		}
	}
	k.mu.Unlock()
	for _, name := range gone {
		k.o.Logger.Info("discovery: the source names the node no more", "peer", name, "disconnect", k.o.Disconnect)
		if c := k.n.Conn(name); c != nil && k.o.Disconnect {
			if err := c.Close(); err != nil {
				k.o.Logger.Warn("discovery: disconnecting", "peer", name, "error", err)
			}
		}
	}
}

// longer is the delay after this one.
func (k *Keeper) longer(d time.Duration) time.Duration { return min(2*d, k.o.MaxDelay) }

// spread is a random time around three quarters of d, and d at the most.
func spread(d time.Duration) time.Duration { return d - rand.N(d/2+1) }

// wait waits for about d; false: ctx has ended.
func (k *Keeper) wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(spread(d))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// hear calls one of the functions of Options.
func (k *Keeper) hear(on func(Peer), p Peer) {
	if on == nil {
		return
	}
	k.hears.Lock()
	defer k.hears.Unlock()
	if k.ctx.Err() == nil {
		on(p)
	}
}
