package nodes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// drainSlice is how long byTurns first lets the readers go on, and then halts them. Both times
	// double with each turn; readers go on for drainSliceMost at the longest.
	drainSlice     = 50 * time.Millisecond
	drainSliceMost = 400 * time.Millisecond
)

// drain lets running functions and handlers finish, and servers handle what they have received.
// Later requests of other nodes do not begin. Requests of processes of this node do, as long as
// another function or handler runs, since it may be waiting for the answer.
func (p *processes) drain(ctx context.Context) error {
	for _, b := range p.all() {
		b.keepBacklog() // before drains is set: from then on a server refuses what is no backlog
	}
	p.mu.Lock()
	p.drains = true
	p.mu.Unlock()
	p.turns.drain()
	err := p.running.Wait(ctx)
	if err != nil {
		err = fmt.Errorf("still running: %s: %w", p.whatRuns(), err)
	}
	return wrap("drain", p.n.Name(), err)
}

// mostNames is how many functions, Handlers and Servers an error names.
const mostNames = 10

// whatRuns names the functions, Handlers and Servers that run, for an error that says why waiting
// for them was given up.
func (p *processes) whatRuns() string {
	names := p.turns.names()
	for _, b := range p.all() {
		if b.runs.Load() == 0 {
			continue
		}
		who := p.namesOf(b)
		if len(who) == 0 {
			names = append(names, b.pid.String())
		}
		for _, name := range who {
			names = append(names, name.String())
		}
	}
	slices.Sort(names)
	if len(names) > mostNames {
		names = append(names[:mostNames], "…")
	}
	if len(names) == 0 { // it has ended just now, or waits for a place of Config.MaxCalls
		return fmt.Sprintf("%d functions", p.running.Count())
	}
	return strings.Join(names, ", ")
}

// byTurns waits until nothing runs (idle) while the readers are halted, and leaves them halted
// until resume. The readers cannot be halted before the wait: a running function may wait for a
// message that a reader would bring (a deadlock). Nor can they be halted after it: what they read
// may start one function after the other (the wait would never end). So by turns the readers go on
// for a while, and halt for a while. Each halt is longer than the one before, and the last takes a
// quarter of the time or more, so that a function that merely takes long can finish then. The error
// is halt's, or ctx's.
func byTurns(ctx context.Context, idle func(context.Context) error, halt func(round int) (func(), error)) (resume func(), err error) {
	within := func(d time.Duration) error {
		slice, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		return idle(slice)
	}
	for round, d := 0, drainSlice; ctx.Err() == nil; round, d = round+1, 2*d {
		_ = within(min(d, drainSliceMost))
		resume, err = halt(round)
		if err != nil {
			return nil, err
		}
		if within(d) == nil {
			return resume, nil
		}
		resume()
	}
	return nil, ctx.Err()
}
