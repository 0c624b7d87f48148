package meter

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/nodes/metrics"
)

// The bounds of histograms of calls.
var callBounds = [...]time.Duration{
	20 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second,
	10 * time.Second, 30 * time.Second,
}

var outcomes = [...]metrics.Outcome{
	metrics.OutcomeOK, metrics.OutcomeFailed, metrics.OutcomePanicked, metrics.OutcomeRefused, metrics.OutcomeAbandoned, metrics.OutcomeLost,
}

// mostFunctions is how many functions a Table tells apart, each way.
const mostFunctions = 256

// A Table counts calls by function. The zero Table is empty and ready.
type Table struct {
	mu    sync.RWMutex
	all   map[key]*entry
	count map[bool]int // by Out
}

type key struct {
	out              bool
	kind             metrics.Kind
	module, function string
}

type entry struct {
	outcomes [len(outcomes)]atomic.Int64
	took     [len(callBounds) + 1]atomic.Int64
	sum      atomic.Int64
}

// Add counts a call that is over.
func (t *Table) Add(c *metrics.CallInfo) {
	k := key{c.Out, c.Kind, c.Module, c.Function}
	t.mu.RLock()
	e := t.all[k]
	t.mu.RUnlock()
	if e == nil {
		e = t.enter(k)
	}
	e.outcomes[max(slices.Index(outcomes[:], c.Outcome), 0)].Add(1)
	i, _ := slices.BinarySearch(callBounds[:], c.Duration)
	e.took[i].Add(1)
	e.sum.Add(int64(c.Duration))
}

func (t *Table) enter(k key) *entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all, t.count = map[key]*entry{}, map[bool]int{}
	}
	if t.all[k] == nil && t.count[k.out] >= mostFunctions {
		k.module, k.function = metrics.Other, ""
	}
	e := t.all[k]
	if e == nil {
		e = new(entry)
		t.all[k] = e
		t.count[k.out]++
	}
	return e
}

// Stats is a snapshot, in the order of names.
func (t *Table) Stats() []metrics.CallStats {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all []metrics.CallStats
	for k, e := range t.all {
		s := metrics.CallStats{Out: k.out, Kind: k.kind, Module: k.module, Function: k.function, Outcomes: map[metrics.Outcome]int64{}}
		for i := range e.outcomes {
			if n := e.outcomes[i].Load(); n > 0 {
				s.Outcomes[outcomes[i]] = n
			}
		}
		s.Latency = metrics.Histogram{Bounds: slices.Clone(callBounds[:]), Sum: time.Duration(e.sum.Load())}
		for i := range e.took {
			s.Latency.Counts = append(s.Latency.Counts, e.took[i].Load())
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b metrics.CallStats) int {
		return strings.Compare(a.Module+"\x00"+a.Function+string(a.Kind), b.Module+"\x00"+b.Function+string(b.Kind))
	})
	return all
}
