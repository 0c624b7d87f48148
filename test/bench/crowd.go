package main

import (
	"context"
	"fmt"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/tlstransport"
)

// The crowds, in connections.
var crowds = []int{1, 10, 100, 1000}

func crowded(n int) string { return fmt.Sprintf("%s/%d", crowd, n) }

// A member is one of a crowd: a hidden node with its connection to the peer.
type member struct {
	node *nodes.Node
	conn *nodes.Conn
}

// member makes a hidden node of this program.
func (a *arena) member(name string) (*nodes.Node, error) {
	cfg := nodes.Config{
		Name: name, Cookie: cookie,
		Resolver: &nodes.PortMapper{Client: epmd.Client{Addr: fmt.Sprintf("127.0.0.1:%d", a.epmdPort)}},
	}
	if a.tlsFile != "" {
		var err error
		if cfg.Transport, err = tlstransport.FromOptFile(a.tlsFile, tlstransport.Options{}); err != nil {
			return nil, err
		}
	}
	return nodes.New(cfg)
}

// measureCrowd has more and more connections to a fresh peer of each kind. Each time as many messages go there and back, one after the other, each over the
// next connection, so that nothing but the number of connections differs.
func (a *arena) measureCrowd(ctx context.Context) error {
	if !matches(a.o.only, crowd) {
		return nil
	}
	rounds := min(a.o.rounds, 3)
	if a.o.quick {
		rounds = 1
	}
	failed := map[string]bool{}
	for round := range rounds {
		a.say("crowds, round %d of %d", round+1, rounds)
		err := a.inTurn(ctx, round, func(p *peer) error {
			if p.kind.name == nameErgo || failed[p.kind.name] {
				return nil
			}
			err := a.gather(ctx, p.kind)
			if err != nil && ctx.Err() == nil {
				failed[p.kind.name] = true
				a.note("%s: crowds not measured: %v", p.kind.name, err)
				err = nil
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *arena) gather(ctx context.Context, k kind) error {
	p, err := a.start(ctx, k)
	if err != nil {
		return err
	}
	defer p.close()
	var all []member
	defer func() {
		for _, m := range all {
			_ = m.node.Close()
		}
	}()
	var costs []float64
	for _, want := range crowds {
		n := min(want, a.o.idle)
		for len(all) < n {
			node, err := a.member(fmt.Sprintf("crowd%d@127.0.0.1", len(all)))
			if err != nil {
				return err
			}
			all = append(all, member{node: node})
			limit, cancel := context.WithTimeout(ctx, cellLimit)
			all[len(all)-1].conn, err = node.Connect(limit, p.node)
			cancel()
			if err != nil {
				return fmt.Errorf("connection %d: %w", len(all), err)
			}
		}
		if _, err := roundTrips(ctx, all, a.o.cell/2); err != nil { // until every connection has what it needs
			return err
		}
		clock := startClock(p.pid)
		messages, err := roundTrips(ctx, all, 2*a.o.cell)
		if err != nil {
			return err
		}
		if clock == nil {
			continue
		}
		took, err := clock()
		if err != nil {
			continue
		}
		costs = append(costs, microseconds(took)/float64(messages))
		a.results.add(crowded(want), k.name, costs[len(costs)-1])
	}
	if len(costs) == len(crowds) {
		a.results.add(crowd+"/ratio", k.name, costs[len(costs)-1]/costs[0])
	}
	return nil
}

// roundTrips lets messages of 16 bytes go there and back for a time, and over every connection at least once, and counts them.
func roundTrips(ctx context.Context, all []member, d time.Duration) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, d+cellLimit)
	defer cancel()
	question := make([]byte, 16)
	for begun := time.Now(); time.Since(begun) < d || n < len(all); n++ {
		c := all[n%len(all)].conn
		if err := c.SendName(ctx, "peer", ei.Tuple{ei.Atom("echo"), c.Self(), ei.Binary(question)}); err != nil {
			return n, err
		}
		if _, err := c.Receive(ctx); err != nil {
			return n, err
		}
	}
	return n, nil
}
