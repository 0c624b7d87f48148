package metrics

import (
	"math/bits"
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
