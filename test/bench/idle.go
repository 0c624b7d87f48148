package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// warmConnections come and go before the first look, so that what a peer sets up once does not
// count.
const warmConnections = 20

// A footprint is what a process holds.
type footprint struct {
	resident    int64 // bytes
	peak        int64 // the most that was resident
	descriptors int
	threads     int
	goroutines  int64 // 0: not told
}

// measureIdle opens many connections to a fresh peer of each kind, and looks at its process before
// and after.
func (a *arena) measureIdle(ctx context.Context) error {
	if !matches(a.o.only, idle) {
		return nil
	}
	rounds := min(a.o.rounds, 2) // the values hardly differ
	if a.o.quick {
		rounds = 1
	}
	failed := map[string]bool{}
	for round := range rounds {
		a.say("idle connections, round %d of %d", round+1, rounds)
		err := a.inTurn(ctx, round, func(p *peer) error {
			if p.kind.name == nameErgo || p.pairing != nil || failed[p.kind.name] {
				return nil
			}
			err := a.holdIdle(ctx, p.kind)
			if err != nil && ctx.Err() == nil {
				failed[p.kind.name] = true
				a.note("%s: idle connections not measured: %v", p.kind.name, err)
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

func (a *arena) holdIdle(ctx context.Context, k kind) error {
	p, err := a.start(ctx, k)
	if err != nil {
		return err
	}
	defer p.close()
	release, err := a.hold(ctx, p, warmConnections)
	release()
	if err != nil {
		return err
	}
	before, err := a.look(ctx, p)
	if err != nil {
		return err
	}
	release, err = a.hold(ctx, p, a.o.idle)
	defer release()
	if err != nil {
		return err
	}
	after, err := a.look(ctx, p)
	if err != nil {
		return err
	}
	each := func(row string, difference float64) {
		a.results.add(idle+"/"+row, k.name, difference/float64(a.o.idle))
	}
	each("memory", float64(after.resident-before.resident)/1024)
	// Rounded: one or two more descriptors may come from the process waiting for something else for
	// the first time.
	a.results.add(idle+"/descriptors", k.name, math.Round(100*float64(after.descriptors-before.descriptors)/float64(a.o.idle))/100)
	each("threads", float64(after.threads-before.threads))
	if p.goroutines {
		each("goroutines", float64(after.goroutines-before.goroutines))
	}
	clock := startClock(p.pid)
	begun := time.Now()
	if err := sleep(ctx, a.o.settle); err != nil {
		return err
	}
	if clock != nil {
		if took, err := clock(); err == nil {
			a.results.add(idle+"/cpu", k.name, 1000*took.Seconds()/time.Since(begun).Seconds())
		}
	}
	return nil
}

// hold connects to the peer n times, as n hidden nodes, each of which has one message echoed and
// then keeps still. release, which is never nil, ends the connections.
func (a *arena) hold(ctx context.Context, p *peer, n int) (release func(), err error) {
	var held []*nodes.Node
	release = func() {
		for _, n := range held {
			_ = n.Close()
		}
	}
	for i := range n {
		node, err := a.member(fmt.Sprintf("idle%d@127.0.0.1", i))
		if err != nil {
			return release, err
		}
		held = append(held, node)
		if err := greet(ctx, node, p.node); err != nil {
			return release, fmt.Errorf("connection %d: %w", i+1, err)
		}
	}
	return release, nil
}

// greet connects and waits for an echo: a connection that never carried a message would not yet
// have all that it needs.
func greet(ctx context.Context, node *nodes.Node, name string) error {
	ctx, cancel := context.WithTimeout(ctx, cellLimit)
	defer cancel()
	c, err := node.Connect(ctx, name)
	if err != nil {
		return err
	}
	if err := c.SendName(ctx, "peer", ei.Tuple{ei.Atom("echo"), c.Self(), ei.Binary("hello")}); err != nil {
		return err
	}
	_, err = c.Receive(ctx)
	return err
}

// look reads what the peer's process holds, once it has settled.
func (a *arena) look(ctx context.Context, p *peer) (footprint, error) {
	if err := sleep(ctx, a.o.settle); err != nil {
		return footprint{}, err
	}
	var goroutines int64
	// asked first: the question makes a connection of its own, which then counts both times
	if p.goroutines {
		var err error
		goroutines, err = evaluate(ctx, a.driver, cellLimit, fmt.Sprintf("bench_driver:goroutines('%s')", p.node))
		if err != nil {
			return footprint{}, err
		}
	}
	f, err := holds(p.pid)
	f.goroutines = goroutines
	return f, err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
