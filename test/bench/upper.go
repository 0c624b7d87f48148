package main

import (
	"context"
	_ "embed"
	"fmt"
	"os/exec"
	"path"
	"time"

	"github.com/cnode-go/cnode/internal/test/otp"
)

//go:embed erlang/bench_upper.erl
var upperSource string

// upper is the measurement of what applications do: calls that a node serves, monitors that it
// answers, processes that it holds.
const upper = "upper"

// nameTyped is ours with handlers of Go types, nameTypedBefore that of --before.
const (
	nameTyped       = "typed"
	nameTypedBefore = "typed before"
)

const (
	upperWatchers  = 1000
	upperProcesses = 100_000
)

// upperCalls are the ways to call, with what the driver's module calls them: of terms, and of Go
// types.
var upperCalls = []struct{ name, title, terms, types string }{
	{"rex", "calls served, rpc", "{rex, quote}", "{rex, typed}"},
	{"erpc", "calls served, erpc", "{erpc, quote}", "{erpc, typed}"},
	{"gen_server", "calls served, gen_server", "{gen_server, quotes}", "{gen_server, typed}"},
}

func upperRows() []row {
	var all []row
	typed := target{of: nameTyped, against: nameOurs, bound: 0.9}
	for _, c := range upperCalls {
		all = append(all, row{name: upper + "/" + c.name, title: c.title, unit: "/s", targets: append(atLeast(1, nameBEAM), typed)})
	}
	for _, c := range upperCalls {
		all = append(all, row{name: upper + "/" + c.name + "/cpu", title: "processor, " + c.title, unit: "us"})
	}
	return append(all,
		row{name: upper + "/monitors", title: fmt.Sprintf("%d monitors of one process told", upperWatchers), unit: "ms"},
		row{name: upper + "/monitors/more", title: "of which more than a BEAM takes", unit: "ms", targets: []target{atMost(5, "")}},
		row{name: upper + "/memory", title: fmt.Sprintf("memory of each of %d processes", upperProcesses), unit: "KB",
			targets: []target{atMost(2, "")}},
	)
}

// upperKinds are a BEAM, and a node of package nodes that was started; with --before another one of
// the earlier state.
func (a *arena) upperKinds() []kind {
	all := []kind{{name: nameBEAM, start: startUpperBEAM}, {name: nameOurs, start: startUpper("", path.Base(oursPackage))}}
	if a.o.before != "" {
		all = append(all, kind{name: nameBefore, start: startUpper(a.o.before, nameBefore)})
	}
	return all
}

func startUpperBEAM(ctx context.Context, a *arena, node string) (*peer, error) {
	n, err := a.release.Launch(ctx, otp.Options{Name: node, Cookie: cookie, EpmdPort: a.epmdPort, Hidden: true})
	if err != nil {
		return nil, err
	}
	if err = n.LoadContext(ctx, upperSource); err == nil {
		_, err = n.EvalContext(ctx, "bench_upper:start()")
	}
	if err != nil {
		n.Close()
		return nil, err
	}
	return &peer{node: n.Name(), pid: n.Pid(), done: n.Done(), close: n.Close}, nil
}

func startUpper(dir, program string) func(ctx context.Context, a *arena, node string) (*peer, error) {
	return func(ctx context.Context, a *arena, node string) (*peer, error) {
		program, err := a.buildGoIn(ctx, dir, oursPackage, program)
		if err != nil {
			return nil, err
		}
		return a.launch(ctx, exec.Command(program, "-upper", node, cookie))
	}
}

// measureUpper takes turns between a BEAM, ours, and ours before.
func (a *arena) measureUpper(ctx context.Context) error {
	if a.o.tls || !matches(a.o.only, upper) {
		return nil
	}
	if err := a.driver.LoadContext(ctx, upperSource); err != nil {
		return err
	}
	var all []*peer
	defer func() {
		for _, p := range all {
			p.close()
		}
	}()
	for _, k := range a.upperKinds() {
		p, err := a.start(ctx, k)
		if err != nil {
			if ctx.Err() == nil {
				a.note("%s not measured: %v", upper, err)
			}
			return ctx.Err()
		}
		all = append(all, p)
		for _, c := range upperCalls { // to warm both sides up
			if _, err := a.served(ctx, p, c.terms); err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
		}
	}
	for round := range a.o.rounds {
		a.say("%s, round %d of %d", upper, round+1, a.o.rounds)
		for _, c := range upperCalls {
			for i := range all {
				p := all[(round+i)%len(all)]
				if err := a.measureServed(ctx, p, p.kind.name, upper+"/"+c.name, c.terms); err != nil {
					return err
				}
				typed := map[string]string{nameOurs: nameTyped, nameBefore: nameTypedBefore}[p.kind.name]
				if typed == "" {
					continue
				}
				if err := a.measureServed(ctx, p, typed, upper+"/"+c.name, c.types); err != nil {
					return err
				}
			}
		}
		if err := a.measureMonitors(ctx, round, all); err != nil {
			return err
		}
	}
	return a.measureProcesses(ctx)
}

// served lets the measuring node's callers call for a time, and returns how many calls a second
// were answered.
func (a *arena) served(ctx context.Context, p *peer, way string) (int64, error) {
	time.Sleep(pause)
	return evaluate(ctx, a.driver, cellLimit, fmt.Sprintf("bench_upper:calls(%s, '%s', %d, %d, %d)",
		way, p.node, a.o.callers, a.o.cell.Milliseconds(), cellLimit.Milliseconds()))
}

func (a *arena) measureServed(ctx context.Context, p *peer, column, row, way string) error {
	cpu := startClock(p.pid)
	begun := time.Now()
	rate, err := a.served(ctx, p, way)
	if err != nil {
		return fmt.Errorf("%s: %w", column, err)
	}
	a.results.add(row, column, float64(rate))
	calls := float64(rate) * (time.Since(begun) - pause).Seconds()
	if cpu != nil {
		if took, err := cpu(); err == nil {
			a.results.add(row+"/cpu", column, microseconds(took)/calls)
		}
	}
	return nil
}

// measureMonitors takes the time until all monitors of a process that has ended are told.
func (a *arena) measureMonitors(ctx context.Context, round int, all []*peer) error {
	took := map[string]float64{}
	for i := range all {
		p := all[(round+i)%len(all)]
		ns, err := evaluate(ctx, a.driver, cellLimit, fmt.Sprintf("bench_upper:monitors('%s', %d, %d)",
			p.node, upperWatchers, cellLimit.Milliseconds()))
		if err != nil {
			return fmt.Errorf("%s: %w", p.kind.name, err)
		}
		took[p.kind.name] = microseconds(time.Duration(ns)) / 1000
		a.results.add(upper+"/monitors", p.kind.name, took[p.kind.name])
		time.Sleep(pause)
	}
	a.results.add(upper+"/monitors/more", nameOurs, took[nameOurs]-took[nameBEAM])
	return nil
}

// measureProcesses lets fresh peers make many processes, and looks at their memory before and
// after.
func (a *arena) measureProcesses(ctx context.Context) error {
	for round := range min(a.o.rounds, 2) { // the values hardly differ
		a.say("processes, round %d", round+1)
		for _, k := range a.upperKinds() {
			if err := a.holdProcesses(ctx, k); err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
		}
	}
	return nil
}

func (a *arena) holdProcesses(ctx context.Context, k kind) error {
	p, err := a.start(ctx, k)
	if err != nil {
		return err
	}
	defer p.close()
	make := func(n int) error {
		ctx, cancel := context.WithTimeout(ctx, cellLimit)
		defer cancel()
		_, err := a.driver.EvalContext(ctx, fmt.Sprintf("erpc:call('%s', bench_upper, idle, [%d])", p.node, n))
		return err
	}
	if err := make(1000); err != nil { // what is set up once does not count
		return err
	}
	before, err := a.look(ctx, p)
	if err != nil {
		return err
	}
	if err := make(upperProcesses); err != nil {
		return err
	}
	after, err := a.look(ctx, p)
	if err != nil {
		return err
	}
	a.results.add(upper+"/memory", k.name, float64(after.resident-before.resident)/1024/upperProcesses)
	return nil
}
