package metrics

import (
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Other is the Module of what stands for all functions beyond the limit of a table, and the name of
// all peers beyond one.
const Other = "other"

// CallStats is a snapshot of what is known of the calls of one function.
type CallStats struct {
	Out              bool
	Kind             Kind
	Module, Function string // as in CallInfo; Other and "" for all that are beyond a limit
	Outcomes         map[Outcome]int64
	Latency          Histogram
}

// Count is how many calls there were.
func (s *CallStats) Count() (n int64) {
	for _, c := range s.Outcomes {
		n += c
	}
	return n
}

// Errors is how many of the calls did not end well.
func (s *CallStats) Errors() int64 { return s.Count() - s.Outcomes[OutcomeOK] }

// A Histogram tells how often something took how long.
type Histogram struct {
	Bounds []time.Duration // ascending
	Counts []int64         // of what took no longer than the bound and longer than the one before; the last one: any longer
	Sum    time.Duration
}

// The bounds of histograms of calls.
var callBounds = [...]time.Duration{
	20 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second,
	10 * time.Second, 30 * time.Second,
}

var outcomes = [...]Outcome{OutcomeOK, OutcomeFailed, OutcomePanicked, OutcomeRefused, OutcomeAbandoned, OutcomeLost}

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
	kind             Kind
	module, function string
}

type entry struct {
	outcomes [len(outcomes)]atomic.Int64
	took     [len(callBounds) + 1]atomic.Int64
	sum      atomic.Int64
}

// Add counts a call that is over.
func (t *Table) Add(c *CallInfo) {
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
		k.module, k.function = Other, ""
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
func (t *Table) Stats() []CallStats {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all []CallStats
	for k, e := range t.all {
		s := CallStats{Out: k.out, Kind: k.kind, Module: k.module, Function: k.function, Outcomes: map[Outcome]int64{}}
		for i := range e.outcomes {
			if n := e.outcomes[i].Load(); n > 0 {
				s.Outcomes[outcomes[i]] = n
			}
		}
		s.Latency = Histogram{Bounds: slices.Clone(callBounds[:]), Sum: time.Duration(e.sum.Load())}
		for i := range e.took {
			s.Latency.Counts = append(s.Latency.Counts, e.took[i].Load())
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b CallStats) int {
		return strings.Compare(a.Module+"\x00"+a.Function+string(a.Kind), b.Module+"\x00"+b.Function+string(b.Kind))
	})
	return all
}

// A Queue is what a process that is registered under a name has not received yet.
type Queue struct {
	Name            string
	Messages, Bytes int // Bytes: the memory that they take
}

// A Size is a class of sizes of messages.
type Size uint8

// Sizes is how many classes there are.
const Sizes = 6

// SizeOf is the class of a message of that many bytes.
func SizeOf(bytes int) Size {
	if bytes <= 64 {
		return 0
	}
	return Size(min((bits.Len(uint(bytes-1))-3)/4, Sizes-1))
}

// Limit is the size in bytes of the largest messages of the class; 0: there is no limit.
func (s Size) Limit() int {
	if s >= Sizes-1 {
		return 0
	}
	return 64 << (4 * s)
}

// String is the limit as people write it: 64B, 1KiB, …, more.
func (s Size) String() string {
	return [...]string{"64B", "1KiB", "16KiB", "256KiB", "4MiB", "more"}[min(s, Sizes-1)]
}
