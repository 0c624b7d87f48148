package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// cellLimit bounds a measurement beyond the time that it is meant to take.
	cellLimit = 20 * time.Second
	// maxFailures is how often a peer may fail in a measurement before it is no longer measured
	// there.
	maxFailures = 2
	// pause lets the peer that was just measured, and the measuring node, finish their background
	// work.
	pause = 10 * time.Millisecond
)

// A stream is a measurement of messages: those of one size, in one direction or there and back.
type stream struct {
	name     string // round-trip, out, in
	function string // of the measuring node
	size     int
	busy     bool // beside programs that compute
	// messages in one measurement, by kind; a kind that is not there is not measured
	counts   map[string]int
	failures map[string]int // by kind
}

func (s *stream) String() string { return sized(s.name, s.size) }

func streams(o options) []*stream {
	var all []*stream
	for _, m := range measured {
		for _, size := range m.sizes() {
			s := &stream{name: m.name, function: m.function, size: size, busy: m.busy, failures: map[string]int{}}
			if matches(o.only, s.String()) {
				all = append(all, s)
			}
		}
	}
	return all
}

// measured are the measurements of messages.
var measured = []kindOfStream{
	{name: roundTrip, function: "round_trip", title: "round trip"},
	{name: out, function: "out", title: "out"},
	{name: in, function: "in", title: "in"},
	{name: busyRoundTrip, function: "round_trip", title: "round trip", busy: true},
	{name: busyOut, function: "out", title: "out", busy: true},
	{name: busyIn, function: "in", title: "in", busy: true},
}

// A kindOfStream is a measurement of messages, of all sizes; function is the measuring node's.
type kindOfStream struct {
	name, function, title string
	busy                  bool
}

func (k kindOfStream) sizes() []int {
	switch {
	case k.busy:
		return sizes[:3]
	case k.name == in || k.name == out:
		return append(sizes[:len(sizes):len(sizes)], ofAtoms, ofMap)
	}
	return sizes
}

// measure fills a.results.
func (a *arena) measure(ctx context.Context) error {
	all := streams(a.o)
	for _, s := range all {
		a.say("%v: how many messages take %v", s, a.o.cell)
		if err := a.beside(ctx, s, func() error { return a.calibrate(ctx, s) }); err != nil {
			return err
		}
	}
	for round := range a.o.rounds {
		if len(all) > 0 {
			a.say("messages, round %d of %d", round+1, a.o.rounds)
			if err := a.inTurn(ctx, round, func(p *peer) error { return a.renew(ctx, all, p) }); err != nil {
				return err
			}
		}
		for _, s := range all {
			if err := a.beside(ctx, s, func() error {
				return a.inTurn(ctx, round, func(p *peer) error { return a.measureStream(ctx, s, p) })
			}); err != nil {
				return err
			}
		}
	}
	if err := a.measureConnects(ctx); err != nil {
		return err
	}
	if err := a.measureCrowd(ctx); err != nil {
		return err
	}
	if err := a.measureIdle(ctx); err != nil {
		return err
	}
	if err := a.measureDispatch(ctx); err != nil {
		return err
	}
	if err := a.measureUpper(ctx); err != nil {
		return err
	}
	if err := a.measureGroups(ctx); err != nil {
		return err
	}
	if err := a.measureCarriers(ctx); err != nil {
		return err
	}
	if err := a.measureCodec(ctx); err != nil {
		return err
	}
	if err := a.measureUpgrades(ctx); err != nil {
		return err
	}
	if err := a.measureDoors(ctx); err != nil {
		return err
	}
	if err := a.measureMeshes(ctx); err != nil {
		return err
	}
	return a.measureLines(ctx)
}

// inTurn calls f for every peer, and begins with another peer in each round, so that no peer always
// comes after the same one.
func (a *arena) inTurn(ctx context.Context, round int, f func(p *peer) error) error {
	for i := range a.peers {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(a.peers[(round+i)%len(a.peers)]); err != nil {
			return err
		}
		time.Sleep(pause)
	}
	return nil
}

// calibrate finds how many messages a measurement has.
func (a *arena) calibrate(ctx context.Context, s *stream) error {
	rates := map[string]float64{}
	for i := range a.peers {
		for range maxFailures {
			p := a.peers[i]
			if p.kind.name == nameSealed && strings.TrimPrefix(s.name, busy) != out || p.pairing != nil && s.size < 0 {
				break
			}
			rate, err := a.rate(ctx, s, p)
			if err == nil {
				rates[p.kind.name] = rate
				break
			}
			if err := a.failed(ctx, s.String(), p, err); err != nil {
				return err
			}
		}
	}
	s.counts = a.counts(rates, 10)
	return nil
}

// counts is how many messages, or connections, a measurement has, by the rate of each kind of peer:
// as many as the median peer, ergo aside, handles in the wanted time, the same number for each
// peer, and least at the least. A peer that would need more than twice the time gets fewer.
func (a *arena) counts(rates map[string]float64, least int) map[string]int {
	var usual []float64
	for name, rate := range rates {
		if name != nameErgo || len(rates) == 1 {
			usual = append(usual, rate)
		}
	}
	counts := map[string]int{}
	for name, rate := range rates {
		counts[name] = max(int(min(median(usual), 2*rate)*a.o.cell.Seconds()), least)
	}
	return counts
}

// rate makes sure that the peer answers correctly, and estimates its messages per second with ever
// longer runs. After that the peer has done whatever it sets up only once.
func (a *arena) rate(ctx context.Context, s *stream, p *peer) (float64, error) {
	if err := a.check(ctx, s, p); err != nil {
		return 0, err
	}
	n := 10
	for {
		took, err := a.run(ctx, s, p, n)
		if err != nil {
			return 0, err
		}
		if took >= a.o.cell/4 {
			return float64(n) / took.Seconds(), nil
		}
		n = min(10*n, int(float64(n)*a.o.cell.Seconds()/2/took.Seconds())+n)
	}
}

// renew gives a peer another connection, and warms it up. One connection of an Erlang node may
// carry half as many messages as another one with the same peer, as long as it lasts, so each round
// has a connection of its own.
func (a *arena) renew(ctx context.Context, all []*stream, p *peer) error {
	var err error
	if p.pairing != nil {
		err = p.pairing.renew(ctx)
	} else {
		// this ends the existing connection; the next message connects again
		_, err = a.connect(ctx, p, 1)
	}
	for i := 0; err == nil && i < len(all); i++ {
		if n := all[i].counts[p.kind.name]; n > 0 {
			_, err = a.run(ctx, all[i], p, n/10+1)
		}
	}
	return a.failed(ctx, "connecting again", p, err)
}

// patience is cellLimit, but less for ergo, some of whose messages never come.
func (p *peer) patience() time.Duration {
	if p.kind.name == nameErgo {
		return 4 * time.Second
	}
	return cellLimit
}

func (a *arena) check(ctx context.Context, s *stream, p *peer) error {
	if p.pairing != nil {
		return p.pairing.check(ctx, s.size)
	}
	_, err := a.call(ctx, p.patience(), "check", fmt.Sprintf("'%s', %d", p.node, s.size))
	return err
}

func (a *arena) run(ctx context.Context, s *stream, p *peer, n int) (time.Duration, error) {
	if p.pairing != nil {
		return p.pairing.run(ctx, strings.TrimPrefix(s.name, busy), s.size, n)
	}
	function := s.function
	if p.kind.name == nameSealed { // its time counts from the first message on
		function = "burst"
	}
	ns, err := a.call(ctx, p.patience()+4*a.o.cell, function, fmt.Sprintf("'%s', %d, %d", p.node, s.size, n))
	return time.Duration(ns), err
}

// measureStream takes one measurement of one peer, with the processor time of its process and of
// the measuring node.
func (a *arena) measureStream(ctx context.Context, s *stream, p *peer) error {
	n, ok := s.counts[p.kind.name]
	if !ok {
		return nil
	}
	cpu, driverCPU := startClock(p.pid), startClock(a.measuring(p))
	took, err := a.run(ctx, s, p, n)
	if err != nil {
		if s.failures[p.kind.name]++; s.failures[p.kind.name] == maxFailures {
			delete(s.counts, p.kind.name)
		}
		return a.failed(ctx, s.String(), p, err)
	}
	value := float64(n) / took.Seconds()
	if strings.HasSuffix(s.name, roundTrip) {
		value = microseconds(took) / float64(n)
	}
	a.results.add(s.String(), p.kind.name, value)
	a.addTime(s.String()+"/cpu", p, cpu, n)
	a.addTime(s.String()+"/driver-cpu", p, driverCPU, n)
	return nil
}

// A processClock tells the processor time since it was started; nil where the system does not.
type processClock func() (time.Duration, error)

func startClock(pid int) processClock {
	before, err := processorTime(pid)
	if err != nil {
		return nil
	}
	return func() (time.Duration, error) {
		after, err := processorTime(pid)
		return after - before, err
	}
}

// addTime adds microseconds of processor time per message.
func (a *arena) addTime(row string, p *peer, clock processClock, n int) {
	if clock == nil {
		return
	}
	if took, err := clock(); err == nil {
		a.results.add(row, p.kind.name, microseconds(took)/float64(n))
	}
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// failed notes a *failure, and replaces the peer, whose connection may be in any state. It returns
// other errors.
func (a *arena) failed(ctx context.Context, what string, p *peer, err error) error {
	var f *failure
	if err == nil || !errors.As(err, &f) {
		return err
	}
	select {
	case <-p.done:
		a.note("%s failed in %s: %s, its process has ended%s", p.kind.name, what, f.reason, p.lastWords())
	default:
		a.note("%s failed in %s: %s", p.kind.name, what, f.reason)
	}
	p.close()
	fresh, err := a.start(ctx, p.kind)
	if err != nil {
		return fmt.Errorf("starting %s again: %w", p.kind.name, err)
	}
	a.peers[slices.Index(a.peers, p)] = fresh
	return nil
}
