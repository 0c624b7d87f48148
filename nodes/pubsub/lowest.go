package pubsub

import (
	"container/heap"
	"iter"
	"slices"
)

// A lowest is clocks of which the lowest is found at once: so what a message says that they are
// counted takes the time for those that are, however many there are beyond.
type lowest struct{ all clockHeap }

func newLowest(clocks iter.Seq[uint64]) *lowest {
	l := &lowest{slices.Collect(clocks)}
	heap.Init(&l.all)
	return l
}

func (l *lowest) add(clock uint64) { heap.Push(&l.all, clock) }

// upTo takes out the lowest clock, if it is not beyond a limit.
func (l *lowest) upTo(limit uint64) (clock uint64, ok bool) {
	if l == nil || len(l.all) == 0 || l.all[0] > limit {
		return 0, false
	}
	return heap.Pop(&l.all).(uint64), true
}

// A clockHeap is one of package container/heap.
type clockHeap []uint64

func (h clockHeap) Len() int           { return len(h) }
func (h clockHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h clockHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *clockHeap) Push(c any)        { *h = append(*h, c.(uint64)) }

func (h *clockHeap) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	*h = (*h)[:last]
	return c
}
