package nodes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"syscall"

	"github.com/cnode-go/cnode/transport"
)

// ErrStarted is returned by a second Start of a node or of something staged; also by Start after
// Discard.
var ErrStarted = errors.New("started already, or discarded")

// Start makes the node a member of the cluster that works by itself: it listens on Config.Listen
// and Config.Also, is published, accepts, answers net_adm:ping and remote calls, and gives messages
// to mailboxes and servers; sending to a node connects to it if need be. Conn.Receive must no
// longer be used. ctx bounds only the start; Close and Shutdown end the node. A Start that fails
// closes the node, whose name may be known already: to try again make another one with New. If a
// listener breaks, the node keeps its connections: Listener.Done tells. A dynamic node does not
// listen: connect it first, then start it. While a freeze is in progress Start waits until ctx
// ends; if another process goes on as the node the error is ErrMoved.
//
// Of Erlang's own processes there are net_kernel and rex, and of its functions those that a remote
// call or spawn needs; every other function is undef to a peer until it is exposed,
// erlang:whereis/1 as well: peers reach a process by {Name, Node}.
func (n *Node) Start(ctx context.Context) error {
	if err := n.life.Start(ctx); err != nil {
		return wrap("start", n.Name(), err)
	}
	defer n.life.EndStart()
	if err := n.Err(); err != nil {
		if failed := n.failedStart.Load(); failed != nil {
			err = fmt.Errorf("%w: an earlier Start has failed (%w), which closes the node; make another one with New", err, *failed)
		}
		return wrap("start", n.Name(), err)
	}
	if !n.started.CompareAndSwap(false, true) {
		return wrap("start", n.Name(), ErrStarted)
	}
	if err := n.join(ctx); err != nil {
		err = errors.Join(err, n.Close())
		n.failedStart.Store(&err)
		return err
	}
	return nil
}

func (n *Node) join(ctx context.Context) error {
	var listeners []*Listener
	if n.cfg.Name != "" {
		var err error
		if listeners, err = n.listen(ctx); err != nil {
			return err
		}
		if err := n.Publish(ctx, listeners[0]); err != nil {
			return err
		}
	}
	if n.Name() == "" {
		return wrap("start", "", ErrUnnamed)
	}
	if err := n.setup(); err != nil {
		return err
	}
	for _, l := range listeners {
		l.serve()
	}
	if n.ctx.Err() != nil {
		return ErrClosed
	}
	for _, c := range n.connections() {
		n.attach(c)
	}
	return nil
}

// listen opens the listeners of Config.Listen, which is the first, and Config.Also.
func (n *Node) listen(ctx context.Context) ([]*Listener, error) {
	l, err := n.Listen(ctx, n.listenAddr())
	if err != nil {
		if n.cfg.Listen == nil && errors.Is(err, syscall.EAFNOSUPPORT) {
			err = fmt.Errorf("Config.Listen is not set, and Config.Transport is for other addresses: %w", err)
		}
		return nil, err
	}
	listeners := []*Listener{l}
	for _, at := range n.cfg.Also {
		if l, err = n.ListenOn(ctx, at.Transport, at.Addr); err != nil {
			return nil, err
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// serve accepts until the listener ends. The upper level serves the connections.
func (l *Listener) serve() {
	l.mu.Lock()
	l.serves.Store(true)
	l.up = nil // the upper level has them
	l.mu.Unlock()
	l.begin()
}

// setup makes what peers may ask for as soon as they are connected.
func (n *Node) setup() error {
	if err := n.serveKernel(); err != nil || n.cfg.Setup == nil {
		return err
	}
	return wrap("Config.Setup of", n.Name(), n.cfg.Setup(n))
}

// listenAddr is Config.Listen, or a free port of the loopback interface.
func (n *Node) listenAddr() transport.Addr {
	if n.cfg.Listen != nil {
		return n.cfg.Listen
	}
	return transport.FromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0))
}

// Listeners lists the node's open listeners, in the order in which they were opened. One that has
// broken (Listener.Done) is among them until its Close.
func (n *Node) Listeners() []*Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.SortedFunc(maps.Keys(n.listeners), func(a, b *Listener) int { return cmp.Compare(a.number, b.number) })
}
