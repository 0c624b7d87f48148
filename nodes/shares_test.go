package nodes

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// However places are asked for and given back: there are never more than there are, nobody waits who may have one, a peer without one that
// comes while any is free gets it, and the jobs of one peer begin in their order.
func TestShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 9).Draw(t, "most")
		var s shares
		s.init(most)
		conns := map[string]*Conn{"": nil, "a": {}, "b": {}, "c": {}}
		held, begun, asked := map[string]int{}, map[string]int{}, map[string]int{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			peer := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "peer")
			if rapid.Bool().Draw(t, "takes") {
				number := asked[peer]
				asked[peer]++
				refuses := rapid.IntRange(0, 9).Draw(t, "refuses") == 0 // as when the node closes
				j := job{1, func() bool {
					if begun[peer] != number {
						t.Fatalf("%q: job %d begins as number %d", peer, number, begun[peer])
					}
					begun[peer]++
					if !refuses {
						held[peer]++
					}
					return !refuses
				}}
				if !s.take(peer, j, conns[peer], nil) {
					t.Fatal("refused")
				}
			} else if held[peer] > 0 {
				held[peer]--
				s.put(peer)
			}
			total := 0
			for _, n := range held {
				total += n
			}
			if total > most || s.free != most-total {
				t.Fatalf("%d held, %d free of %d", total, s.free, most)
			}
			for peer, n := range asked {
				if n > begun[peer] && held[peer] < s.free {
					t.Fatalf("%q waits and may have a place", peer)
				}
				if k := s.callers[peer]; (k != nil) != (n > begun[peer] || held[peer] > 0) {
					t.Fatalf("%q: %v", peer, k)
				}
			}
		}
	})
}

// What waits for one peer is bounded: then its reader waits, until there is room, or it is to halt, or the connection or the node ends.
// Callers of this node do not wait.
func TestSharesBound(t *testing.T) {
	var s shares
	s.init(1)
	begun := make(chan int, 10)
	jobOf := func(n, cost int) job { return job{cost, func() bool { begun <- n; return true }} }
	c := &Conn{done: make(chan struct{})}
	closed := make(chan struct{})
	take := func(n, cost int) <-chan result[bool] {
		return async(func() (bool, error) { return s.take("a", jobOf(n, cost), c, closed), nil })
	}
	waits := func(more int) {
		t.Helper()
		require.Eventually(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.callers["a"].room != nil && len(s.callers["a"].queue) == more
		}, tooLong, tick)
	}
	require.True(t, s.take("a", jobOf(0, maxWaiting), c, closed), "it runs")
	require.True(t, s.take("a", jobOf(1, 2*maxWaiting), c, closed), "it is alone")
	next := take(2, 1)
	waits(1)
	require.Empty(t, next)
	s.put("a")
	require.True(t, arrives(t, next, "room").v)
	require.True(t, s.take("a", jobOf(3, maxWaiting-1), c, closed))
	next = take(4, 1)
	waits(2)
	c.rd.halt.shut()
	require.True(t, arrives(t, next, "the halt").v)
	c.rd.halt.open()
	next = take(5, 1)
	waits(3)
	close(c.done)
	require.False(t, arrives(t, next, "the end").v)
	require.True(t, s.take("", jobOf(6, maxWaiting), nil, closed))
	require.True(t, s.take("", jobOf(7, maxWaiting), nil, closed))
	c.done = make(chan struct{})
	next = take(8, 1)
	close(closed)
	require.False(t, arrives(t, next, "the end of the node").v)
	for _, peer := range []string{"a", "a", ""} { // by turns
		s.put(peer)
	}
	require.Equal(t, []int{0, 1, 2, 6, 3}, []int{<-begun, <-begun, <-begun, <-begun, <-begun})
}
