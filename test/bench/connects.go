package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// How many connections a round sets up, one after the other.
const (
	defaultConnects = 150
	quickConnects   = 40
)

// warmingConnects is how many connections a program that dials makes before they count, since its process has just begun: until the heap
// has its final size, each new page is made at the first touch, which on some virtual machines takes 20 us.
const warmingConnects = 300

// spareConnects are made after those that count: a BEAM comes back under the same name, and on a busy machine the measuring node may not
// have noticed that it was gone, so that one of its arrivals is none.
const spareConnects = 20

// connectLimit bounds a round of them.
const connectLimit = 60 * time.Second

// measureConnects takes the set-up rates in both directions.
func (a *arena) measureConnects(ctx context.Context) error {
	n := defaultConnects
	if a.o.quick {
		n = quickConnects
	}
	out := map[string]bool{} // measurement and kind that have failed
	for _, m := range []struct {
		name string
		take func(ctx context.Context, p *peer, n int) error
	}{{connectErlang, a.connectFromErlang}, {connectPeer, a.connectFromPeer}} {
		if !matches(a.o.only, m.name) {
			continue
		}
		for round := range a.o.rounds {
			a.say("%s, round %d of %d", m.name, round+1, a.o.rounds)
			err := a.inTurn(ctx, round, func(p *peer) error {
				key := m.name + p.kind.name
				if out[key] {
					return nil
				}
				err := m.take(ctx, p, n)
				if err == nil {
					return nil
				}
				out[key] = true
				return a.failed(ctx, m.name, p, err)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// connectFromErlang lets the measuring node connect and disconnect n times.
func (a *arena) connectFromErlang(ctx context.Context, p *peer, n int) error {
	if _, err := a.connect(ctx, p, 3); err != nil {
		return err
	}
	cpu, driverCPU := startClock(p.pid), startClock(a.measuring(p))
	took, err := a.connect(ctx, p, n)
	if err != nil {
		return err
	}
	a.results.add(connectErlang, p.kind.name, float64(n)/took.Seconds())
	a.addTime(connectErlang+"/cpu", p, cpu, n)
	a.addTime(connectErlang+"/driver-cpu", p, driverCPU, n)
	return nil
}

func (a *arena) connect(ctx context.Context, p *peer, n int) (time.Duration, error) {
	if p.pairing != nil {
		return p.pairing.connect(ctx, n)
	}
	ns, err := a.call(ctx, connectLimit, "connect", fmt.Sprintf("'%s', %d", p.node, n))
	return time.Duration(ns), err
}

// connectFromPeer lets the peer's kind dial the measuring node n times. The node takes the time from the first connection to the last, so
// that a program's start does not count; nor do the first ones.
func (a *arena) connectFromPeer(ctx context.Context, p *peer, n int) error {
	if p.dial == nil {
		return nil
	}
	if _, err := a.driver.EvalContext(ctx, fmt.Sprintf("bench_driver:watch(%d, %d)", warmingConnects, n)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	dialled := p.dial(ctx, warmingConnects+n+spareConnects)
	ns, err := evaluate(ctx, a.driver, cellLimit, fmt.Sprintf("bench_driver:watched(%d)", cellLimit.Milliseconds()))
	if err = errors.Join(dialled, err); err != nil {
		return &failure{err.Error()}
	}
	a.results.add(connectPeer, p.kind.name, float64(n-1)/time.Duration(ns).Seconds())
	return nil
}
