package nodes

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/nodes/dist"
)

// However places are taken and given back: there are never more in use than there are, no job waits that could have a place, a peer without
// a place gets one as long as any is free, and the jobs of one peer begin in order.
func TestSharesAreNeverTooMany(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 9).Draw(t, "most")
		var s shares
		s.init(most)
		held, begun, asked := map[string]int{}, map[string]int{}, map[string]int{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			peer := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "peer")
			if rapid.Bool().Draw(t, "takes") {
				number := asked[peer]
				asked[peer]++
				refuses := rapid.IntRange(0, 9).Draw(t, "refuses") == 0 // as when the node closes
				j := job{cost: 1, begin: func() bool {
					if begun[peer] != number {
						t.Fatalf("%q: job %d begins as number %d", peer, number, begun[peer])
					}
					begun[peer]++
					if !refuses {
						held[peer]++
					}
					return !refuses
				}}
				s.take(peer, j)
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

// The requests that wait for one peer are bounded: beyond that the peer's reader waits until there is room, it is to halt, or the
// connection or the node ends. Callers of this node do not wait.
func TestSharesBound(t *testing.T) {
	var s shares
	s.init(1)
	begun := make(chan int, 10)
	c := &Conn{done: make(chan struct{}), peer: dist.Peer{Name: "a"}}
	closed := make(chan struct{})
	takes := func(n, cost int) { s.take("a", job{cost: cost, begin: func() bool { begun <- n; return true }}) }
	asks := func(n, cost int) <-chan result[bool] {
		return async(func() (bool, error) {
			ok := s.admits(c, cost, closed)
			if ok {
				takes(n, cost)
			}
			return ok, nil
		})
	}
	waits := func(more int) {
		t.Helper()
		require.Eventually(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.callers["a"].room.Awaited() && len(s.callers["a"].queue) == more
		}, tooLong, tick)
	}
	require.True(t, arrives(t, asks(0, maxWaiting), "it runs").v)
	require.True(t, arrives(t, asks(1, 2*maxWaiting), "it is alone").v)
	next := asks(2, 1)
	waits(1)
	require.Empty(t, next)
	s.put("a")
	require.True(t, arrives(t, next, "room").v)
	require.True(t, arrives(t, asks(3, maxWaiting-1), "room").v)
	next = asks(4, 1)
	waits(2)
	c.rd.halt.Shut()
	require.True(t, arrives(t, next, "the halt").v)
	c.rd.halt.Open()
	next = asks(5, 1)
	waits(3)
	close(c.done)
	require.False(t, arrives(t, next, "the end").v)
	s.take("", job{cost: maxWaiting, begin: func() bool { begun <- 6; return true }})
	c.done = make(chan struct{})
	next = asks(8, 1)
	close(closed)
	require.False(t, arrives(t, next, "the end of the node").v)
	for _, peer := range []string{"a", "a", ""} { // by turns
		s.put(peer)
	}
	require.Equal(t, []int{0, 1, 2, 6, 3}, []int{<-begun, <-begun, <-begun, <-begun, <-begun})
}

// A queue that nothing leaves holds up its connection for a limited time: then requests are refused, until something leaves the queue.
func TestSharesStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shares
		s.init(1)
		c := &Conn{done: make(chan struct{}), peer: dist.Peer{Name: "a"}}
		takes := func(cost int) { s.take("a", job{cost: cost, begin: func() bool { return true }}) }
		asks := func() (bool, time.Duration) {
			began := time.Now()
			ok := s.admits(c, 1, nil)
			return ok, time.Since(began)
		}
		takes(1)
		takes(maxWaiting)
		takes(maxWaiting)
		ok, after := asks()
		require.False(t, ok)
		require.Equal(t, stalledQueue, after)
		ok, after = asks()
		require.False(t, ok)
		require.Zero(t, after, "known by now")
		s.put("a")
		time.AfterFunc(stalledQueue/2, func() { s.put("a") })
		ok, after = asks()
		require.True(t, ok)
		require.Equal(t, stalledQueue/2, after)
	})
}

// A queue that something leaves now and then does not count as stalled, however long a request waits for enough room.
func TestSharesThatMoveAreNotStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shares
		s.init(1)
		c := &Conn{done: make(chan struct{}), peer: dist.Peer{Name: "a"}}
		takes := func(cost int) { s.take("a", job{cost: cost, begin: func() bool { return true }}) }
		takes(1)
		for range 10 {
			takes(maxWaiting / 10)
		}
		go func() {
			for range 10 {
				time.Sleep(stalledQueue - 1)
				s.put("a")
			}
		}()
		began := time.Now()
		require.True(t, s.admits(c, maxWaiting/2, nil))
		require.Equal(t, 5*(stalledQueue-1), time.Since(began))
		synctest.Wait()
		time.Sleep(time.Hour)
	})
}

// If something leaves the queue just when the time is up, the time begins anew: the wait is bounded even then.
func TestSharesMovesAtTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 50 { // either may be seen first
			var s shares
			s.init(1)
			c := &Conn{done: make(chan struct{}), peer: dist.Peer{Name: "a"}}
			takes := func(cost int) { s.take("a", job{cost: cost, begin: func() bool { return true }}) }
			takes(1)
			takes(1)
			takes(maxWaiting)
			time.AfterFunc(stalledQueue, func() { s.put("a") })
			refused := make(chan bool, 1)
			began := time.Now()
			go func() { refused <- !s.admits(c, maxWaiting, nil) }()
			select {
			case yes := <-refused:
				require.True(t, yes)
				require.LessOrEqual(t, time.Since(began), 2*stalledQueue)
			case <-time.After(time.Hour):
				close(c.done)
				require.Fail(t, "it waits for ever")
			}
		}
	})
}
