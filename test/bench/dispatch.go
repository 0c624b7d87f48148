package main

import (
	"context"
	"fmt"
	"time"
)

// dispatch is the measurement of what the front of a node with workers adds to the set-up of a
// connection.
const dispatch = "dispatch"

// dispatchWorkers is how many processes serve the node that is compared with one of a single
// process.
const dispatchWorkers = 2

// dispatchRows are in the same table; its workers are a column of their own.
func dispatchRows() []row {
	most := atMost(150, "")
	most.of = nameWorkers
	return []row{
		{name: dispatch + "/connection", title: "a connection from Erlang, to its end", unit: "us"},
		{name: dispatch + "/added", title: "of which the front adds", unit: "us", targets: []target{most}},
	}
}

// measureDispatch lets the measuring node connect and disconnect, one after the other: with a serve
// of one process and with one that has workers, in turn.
func (a *arena) measureDispatch(ctx context.Context) error {
	if a.o.tls || !matches(a.o.only, dispatch) {
		return nil
	}
	n := 150
	if a.o.quick {
		n = trialConnects
	}
	var both []*peer
	defer func() {
		for _, p := range both {
			p.close()
		}
	}()
	for _, k := range []kind{{name: nameServe, start: startServe}, {name: nameWorkers, start: startWorkers}} {
		p, err := a.start(ctx, k)
		if err != nil {
			if ctx.Err() == nil {
				a.note("dispatch not measured: %v", err)
			}
			return ctx.Err()
		}
		both = append(both, p)
		if _, err := a.connections(ctx, p, n); err != nil { // to warm both sides up
			return fmt.Errorf("%s: %w", k.name, err)
		}
	}
	for round := range a.o.rounds {
		a.say("dispatch, round %d of %d", round+1, a.o.rounds)
		took := map[string]float64{}
		for i := range both {
			p := both[(round+i)%len(both)]
			each, err := a.connections(ctx, p, n)
			if err != nil {
				return fmt.Errorf("%s: %w", p.kind.name, err)
			}
			took[p.kind.name] = microseconds(each)
			a.results.add(dispatch+"/connection", p.kind.name, took[p.kind.name])
			time.Sleep(pause)
		}
		a.results.add(dispatch+"/added", nameWorkers, took[nameWorkers]-took[nameServe])
	}
	return nil
}

// connections makes the measuring node connect and disconnect n times, and returns the mean time of
// one.
func (a *arena) connections(ctx context.Context, p *peer, n int) (time.Duration, error) {
	ns, err := a.call(ctx, connectLimit, "connect", fmt.Sprintf("'%s', %d", p.node, n))
	return time.Duration(ns) / time.Duration(n), err
}
