package inbox

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/nodes/internal/places"
)

// payer is a peer's for the messages, which are numbers, below 1000.
func payer(m int) string {
	if m < 1000 {
		return "peer"
	}
	return "other"
}

func newInbox(limit int, full Full, paid bool) (*Inbox[int], *places.Memory) {
	m := places.NewMemory(1000, nil)
	q := new(Inbox[int])
	q.Init(m, payer, limit, full, paid)
	return q, m
}

func all(q *Inbox[int]) (got []int) {
	for {
		m, ok := q.Take()
		if !ok {
			return got
		}
		got = append(got, m)
	}
}

// The memory of a queue that was long is not kept, and one that is never empty does not grow.
func TestQueueMemory(t *testing.T) {
	for _, count := range []int{keepQueue / 2, 3 * keepQueue} {
		q, _ := newInbox(1<<30, Blocks, false)
		for i := range count {
			q.Push(Entry[int]{Message: i})
		}
		require.Len(t, all(q), count)
		require.LessOrEqual(t, cap(q.queue), keepQueue)
		require.Equal(t, count < keepQueue, cap(q.queue) > 0)
	}
	q, _ := newInbox(1<<30, Blocks, false)
	q.Push(Entry[int]{})
	for i := range 10_000 {
		q.Push(Entry[int]{Message: i + 1})
		m, ok := q.Take()
		require.True(t, ok)
		require.Equal(t, i, m)
	}
	require.Less(t, cap(q.queue), 1000)
}

// Whatever comes and goes, it is what was sent, in order, and the memory counts are
// those of what is there.
func TestCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, memory := newInbox(500, Blocks, rapid.Bool().Draw(t, "paid"))
		type sent struct{ message, cost int }
		var queue, ahead []sent
		next := 1
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				e := Entry[int]{
					Message: next + 1000*rapid.IntRange(0, 1).Draw(t, "payer"), Cost: rapid.IntRange(1, 300).Draw(t, "cost"),
					Ahead: rapid.IntRange(0, 3).Draw(t, "ahead") == 0, Waits: rapid.IntRange(0, 3).Draw(t, "waits") == 0,
				}
				var w Wait
				defer w.End()
				if v := q.Judge(&e); v != Fits && (v != Over || q.Overflow(&e, &w, Reader{}) != Fits) {
					return
				}
				q.Push(e)
				next++
				if e.Ahead {
					ahead = append(ahead, sent{e.Message, e.Cost})
				} else {
					queue = append(queue, sent{e.Message, e.Cost})
				}
			},
			"take": func(t *rapid.T) {
				m, ok := q.Take()
				require.Equal(t, len(ahead)+len(queue) > 0, ok)
				switch {
				case len(ahead) > 0:
					require.Equal(t, ahead[0].message, m)
					ahead = ahead[1:]
				case ok:
					require.Equal(t, queue[0].message, m)
					queue = queue[1:]
				}
			},
			"take one of some": func(t *rapid.T) {
				q.Only(func(m int) bool { return m%3 == 0 })
				m, ok := q.Take()
				q.Only(nil)
				for _, list := range []*[]sent{&ahead, &queue} {
					if i := slices.IndexFunc(*list, func(s sent) bool { return s.message%3 == 0 }); i >= 0 {
						require.True(t, ok)
						require.Equal(t, (*list)[i].message, m)
						*list = slices.Delete(*list, i, i+1)
						return
					}
				}
				require.False(t, ok)
			},
			"": func(t *rapid.T) {
				var messages []int
				bytes := 0
				for _, list := range [][]sent{ahead, queue} {
					for _, s := range list {
						messages, bytes = append(messages, s.message), bytes+s.cost
					}
				}
				require.Equal(t, messages, slices.Collect(q.Unread()))
				require.Equal(t, bytes, q.Bytes())
				require.Equal(t, len(queue)+len(ahead), q.Len())
				require.Equal(t, q.OverflowOf("peer")+q.OverflowOf("other"), memory.Held())
			},
		})
		q.Clear()
		require.Zero(t, memory.Held())
	})
}

// A connection is held for no longer than it may be in all of the window, however often its reader
// went on in between; what is past the window does not count, and neither does a wait for an inbox
// that may hold it.
func TestHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, memory := newInbox(100, Blocks, false)
		memory.Force("peer", 900)
		q.Push(Entry[int]{Cost: 100})
		var h Holds
		// waits waits for room that comes after d, and says how that went, and how long it took
		waits := func(d time.Duration) (Outcome, time.Duration) {
			e, w, room := Entry[int]{Cost: 10}, Wait{}, make(chan struct{})
			defer w.End()
			require.Equal(t, Over, q.Judge(&e))
			require.Equal(t, Over, q.Overflow(&e, &w, Reader{Change: room, Holds: &h}))
			timer := time.AfterFunc(d, func() { close(room) })
			defer timer.Stop()
			begun := time.Now()
			o := w.For(nil, nil)
			return o, time.Since(begun)
		}
		again := func(d time.Duration) {
			t.Helper()
			o, took := waits(d)
			require.Equal(t, Again, o)
			require.Equal(t, d, took)
		}
		held := func(after time.Duration) {
			t.Helper()
			o, took := waits(time.Minute)
			require.Equal(t, Held, o)
			require.Equal(t, after, took)
		}
		held(HoldLimit)
		again(HoldLimit - 1) // it begins anew
		held(1)
		for range 19 { // a tenth of the time, each time
			again(100 * time.Millisecond)
			time.Sleep(100 * time.Millisecond)
		}
		held(100 * time.Millisecond)
		for range 100 { // less than a fifth of the time
			again(90 * time.Millisecond)
			time.Sleep(410 * time.Millisecond)
		}
		again(100 * time.Millisecond)
		time.Sleep(HoldWindow)
		held(HoldLimit)

		q.SetLimit(100, Waits)
		for range 10 {
			again(HoldLimit - 1)
		}
		o, took := waits(time.Minute)
		require.Equal(t, Late, o)
		require.Equal(t, Patience, took)
		q.SetLimit(100, Blocks)
		held(HoldLimit)
	})
}

// While the reader waits, what it was held for before leaves the window.
func TestHoldsLeaveTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h Holds
		add := func(d time.Duration) {
			begun := time.Now()
			time.Sleep(d)
			h.add(begun, time.Now())
		}
		add(HoldLimit - 100*time.Millisecond)
		require.Equal(t, 100*time.Millisecond, h.left(time.Now()))
		time.Sleep(HoldWindow - HoldLimit - 500*time.Millisecond)
		require.Equal(t, 100*time.Millisecond, h.left(time.Now()))
		for left := time.Duration(0); left < HoldLimit; {
			time.Sleep(holdSlot)
			now := h.left(time.Now())
			require.LessOrEqual(t, now-left, holdSlot+100*time.Millisecond)
			left = now
		}
		require.Zero(t, h.left(time.Now())-HoldLimit)
		add(3 * HoldWindow)
		require.Zero(t, h.left(time.Now()))
	})
}
