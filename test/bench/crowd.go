package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
)

// The crowds, in connections.
var crowds = []int{1, 10, 100, 1000}

// The ways in which a crowd talks: one connection after the other, with one message on its way at a
// time; or all at once, with a message of each connection on its way.
var crowdTalks = []struct {
	name, title string
	talk        func(context.Context, []member, time.Duration) (messages int, err error)
}{
	{"in-turn", "in turn", inTurn},
	{"at-once", "at once", atOnce},
}

func crowded(talk string, n int) string { return fmt.Sprintf("%s/%s/%d", crowd, talk, n) }

func crowdRatio(talk string) string { return fmt.Sprintf("%s/%s/ratio", crowd, talk) }

// A member is one of a crowd: a hidden node with its connection to the peer.
type member struct {
	node *nodes.Node
	conn *nodes.Conn
}

// member makes a hidden node of this program.
func (a *arena) member(name string) (*nodes.Node, error) {
	cfg := nodes.Config{
		Name: name, Cookie: cookie, HandshakeTimeout: cellLimit,
		Transport: a.carrier, Resolver: &nodes.PortMapper{Client: epmd.Client{Addr: fmt.Sprintf("127.0.0.1:%d", a.epmdPort)}},
	}
	return nodes.New(cfg)
}

// measureCrowd opens more and more connections to a fresh peer of each kind. At each number of
// connections messages go there and back, in each of the ways, so that only that number differs.
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
			if p.kind.name == nameErgo || p.pairing != nil || failed[p.kind.name] {
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
	costs := map[string][]float64{}
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
		for _, t := range crowdTalks {
			if _, err := t.talk(ctx, all, a.o.cell/2); err != nil { // to warm every connection up
				return err
			}
			clock := startClock(p.pid)
			messages, err := t.talk(ctx, all, 2*a.o.cell)
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
			cost := microseconds(took) / float64(messages)
			costs[t.name] = append(costs[t.name], cost)
			a.results.add(crowded(t.name, want), k.name, cost)
		}
	}
	for talk, c := range costs {
		if len(c) == len(crowds) {
			a.results.add(crowdRatio(talk), k.name, c[len(c)-1]/c[0])
		}
	}
	return nil
}

// inTurn lets messages of 16 bytes go there and back for a time, each over the next connection, and
// over every one at least once, and counts them.
func inTurn(ctx context.Context, all []member, d time.Duration) (n int, err error) {
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

// atOnce does the same over all connections at the same time.
func atOnce(ctx context.Context, all []member, d time.Duration) (n int, err error) {
	var (
		talks    sync.WaitGroup
		messages atomic.Int64
		errs     = make([]error, len(all))
	)
	for i := range all {
		talks.Go(func() {
			k, err := inTurn(ctx, all[i:i+1], d)
			messages.Add(int64(k))
			errs[i] = err
		})
	}
	talks.Wait()
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) > 0 {
		return 0, fmt.Errorf("%d of %d connections, the first of them: %w", len(errs), len(all), errs[0])
	}
	return int(messages.Load()), nil
}
