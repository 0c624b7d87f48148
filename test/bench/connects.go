package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// trialConnects are made to see how many take as long as a measurement is meant to; it has as many
// of them at least.
const trialConnects = 40

// warmingConnects is how many connections a program that dials makes before they count, since its
// process has just begun: until the heap has its final size, each new page is made at the first
// touch, which on some virtual machines takes 20 us.
const warmingConnects = 300

// spareConnects are made after those that count: a BEAM comes back under the same name, and on a
// busy machine the measuring node may not have noticed that it was gone, so that one of its
// arrivals is none.
const spareConnects = 20

// connectLimit bounds a round of them.
const connectLimit = 60 * time.Second

// A meeting is a measurement of connections, set up one after the other.
type meeting struct {
	name string
	make func(ctx context.Context, p *peer, n int) (time.Duration, error)
	// connections in one measurement, by kind; a kind that is not there is not measured
	counts map[string]int
}

// measureConnects takes the set-up rates in both directions.
func (a *arena) measureConnects(ctx context.Context) error {
	for _, m := range []*meeting{{name: connectErlang, make: a.connect}, {name: connectPeer, make: a.dialled}} {
		if !matches(a.o.only, m.name) {
			continue
		}
		a.say("%s: how many take %v", m.name, a.o.cell)
		if err := a.calibrateConnects(ctx, m); err != nil {
			return err
		}
		for round := range a.o.rounds {
			a.say("%s, round %d of %d", m.name, round+1, a.o.rounds)
			if err := a.inTurn(ctx, round, func(p *peer) error { return a.measureMeeting(ctx, m, p) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// calibrateConnects finds how many connections a measurement has.
func (a *arena) calibrateConnects(ctx context.Context, m *meeting) error {
	rates := map[string]float64{}
	for i := range a.peers {
		p := a.peers[i]
		if m.name == connectPeer && p.dial == nil {
			continue
		}
		took, err := m.make(ctx, p, trialConnects)
		if err == nil {
			rates[p.kind.name] = trialConnects / took.Seconds()
		} else if err := a.failed(ctx, m.name, p, err); err != nil {
			return err
		}
	}
	m.counts = a.counts(rates, trialConnects)
	return nil
}

// measureMeeting takes one measurement of one peer; one that fails is the peer's last.
func (a *arena) measureMeeting(ctx context.Context, m *meeting, p *peer) error {
	n, ok := m.counts[p.kind.name]
	if !ok {
		return nil
	}
	cpu, driverCPU := startClock(p.pid), startClock(a.measuring(p))
	took, err := m.make(ctx, p, n)
	if err != nil {
		delete(m.counts, p.kind.name)
		return a.failed(ctx, m.name, p, err)
	}
	a.results.add(m.name, p.kind.name, float64(n)/took.Seconds())
	if m.name == connectErlang { // a program that dials is a process of its own
		a.addTime(m.name+"/cpu", p, cpu, n)
		a.addTime(m.name+"/driver-cpu", p, driverCPU, n)
	}
	return nil
}

// connect lets the measuring node connect and disconnect n times.
func (a *arena) connect(ctx context.Context, p *peer, n int) (time.Duration, error) {
	if p.pairing != nil {
		return p.pairing.connect(ctx, n)
	}
	ns, err := a.call(ctx, connectLimit, "connect", fmt.Sprintf("'%s', %d", p.node, n))
	return time.Duration(ns), err
}

// dialled lets the peer's kind dial the measuring node n times. The node takes the time from the
// first connection to the last, so that a program's start does not count; nor do the first ones.
func (a *arena) dialled(ctx context.Context, p *peer, n int) (time.Duration, error) {
	if _, err := a.driver.EvalContext(ctx, fmt.Sprintf("bench_driver:watch(%d, %d)", warmingConnects, n+1)); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	dialled := p.dial(ctx, warmingConnects+n+1+spareConnects)
	ns, err := evaluate(ctx, a.driver, cellLimit, fmt.Sprintf("bench_driver:watched(%d)", cellLimit.Milliseconds()))
	if err = errors.Join(dialled, err); err != nil {
		return 0, &failure{err.Error()}
	}
	return time.Duration(ns), nil
}
