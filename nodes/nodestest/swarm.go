package nodestest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// A Swarm is many nodes in one program, for Erlang nodes to meet: among themselves the nodes use
// memory, and to all others TCP on the loopback interface.
type Swarm struct {
	all []*nodes.Node
}

// StartSwarm starts the visible nodes n1@127.0.0.1, n2@127.0.0.1, … with Cookie, until Close. Each
// edit may change a node's Config: give it a Setup that starts global, and an Erlang node that
// connects to one of them gets to know all.
//
//	s, err := nodestest.StartSwarm(ctx, 300, func(cfg *nodes.Config) {
//		cfg.Setup = func(n *nodes.Node) error { _, err := global.Start(ctx, n, nil); return err }
//	})
//	…
//	err = s.Connect(ctx)
//
//	$ erl -name b@127.0.0.1 -setcookie nodestest
//	1> net_adm:ping('n1@127.0.0.1').
//
// The Resolver, a *nodes.PortMapper that runs one in this program if there is none, publishes the
// nodes and finds the others. StartSwarm needs no testing.TB, so that a program can use it. It
// waits until the nodes have started or ctx ends; if one fails, its error is returned and none is
// left.
func StartSwarm(ctx context.Context, size int, edit ...func(cfg *nodes.Config)) (*Swarm, error) {
	s := &Swarm{}
	memory, mapper := transport.NewMemory(), &nodes.PortMapper{Embed: true}
	members := map[string]nodes.Endpoint{}
	for i := range size {
		name := fmt.Sprintf("n%d@127.0.0.1", i+1)
		members[name] = nodes.Endpoint{Addr: transport.MemoryAddr(name), Transport: memory}
	}
	for i := range size {
		name := fmt.Sprintf("n%d@127.0.0.1", i+1)
		cfg := nodes.Config{Name: name, Cookie: Cookie, Visible: true, Resolver: mapper}
		for _, f := range edit {
			f(&cfg)
		}
		cfg.Also = append(cfg.Also, members[name])
		cfg.Resolver = swarmBook(members, cfg.Resolver)
		node, err := nodes.New(cfg)
		if err == nil {
			s.all = append(s.all, node)
			err = node.Start(ctx)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("nodestest: node %s: %w", name, err), s.Close())
		}
	}
	return s, nil
}

// Nodes are the nodes of the Swarm, by number.
func (s *Swarm) Nodes() []*nodes.Node { return s.all }

// connecting is how many nodes of a Swarm connect at the same time: more would wait for each other
// until their handshakes time out.
const connecting = 8

// Connect connects each node to each, and returns when both ends of each connection are up, or ctx
// ends, or one has failed.
func (s *Swarm) Connect(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	turn := make(chan struct{}, connecting)
	for i, n := range s.all {
		turn <- struct{}{}
		work.Go(func() {
			defer func() { <-turn }()
			for _, other := range s.all[:i] {
				c, err := n.Connect(ctx, other.Name())
				if err == nil {
					err = accepted(ctx, other, c)
				}
				if err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	work.Wait()
	return context.Cause(ctx)
}

// accepted waits until the node at the other end has a connection, too.
func accepted(ctx context.Context, n *nodes.Node, c *nodes.Conn) error {
	for n.Conn(c.Node().Name()) == nil {
		select {
		case <-c.Done():
			return fmt.Errorf("nodestest: connection of %s to %s: %w", c.Node().Name(), n.Name(), c.Err())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// Close ends all nodes.
func (s *Swarm) Close() error {
	errs := make([]error, len(s.all))
	var work sync.WaitGroup
	for i, n := range s.all { // all at once, or those that are left would tell each other of each that ends
		work.Go(func() {
			// memory comes back from each call, if late where ten thousands of them end
			if err := n.Close(); !errors.Is(err, transport.ErrUnresponsive) {
				errs[i] = err
			}
		})
	}
	work.Wait()
	return errors.Join(errs...)
}

// A swarmFinder finds the members of a Swarm in memory, and the others by the Resolver.
type swarmFinder struct {
	members map[string]nodes.Endpoint
	nodes.Resolver
}

func (f swarmFinder) Resolve(ctx context.Context, node string) (nodes.Endpoint, error) {
	if at, ok := f.members[node]; ok {
		return at, nil
	}
	return f.Resolver.Resolve(ctx, node)
}

// swarmBook also publishes, if r does.
func swarmBook(members map[string]nodes.Endpoint, r nodes.Resolver) nodes.Resolver {
	f := swarmFinder{members, r}
	if p, ok := r.(nodes.Publisher); ok {
		return struct {
			swarmFinder
			nodes.Publisher
		}{f, p}
	}
	return f
}
