package await

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A kind forms when a series of waits is short, and what is then polled for comes; it ends when
// polls are in vain.
func TestPollingHabitComesAndGoes(t *testing.T) {
	repeat := func(c byte, n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = c
		}
		return string(b)
	}
	formed := repeat('s', pollProbe) + "c"
	for _, tt := range []struct {
		name string
		// s, l: slept a short, a long time; c, v: polled and something came, polled in vain
		happy string
		due   bool
	}{
		{"nothing is known", "", false},
		{"a short wait", "s", false},
		{"not enough short waits", repeat('s', pollProbe-1), false},
		{"enough of them", repeat('s', pollProbe), true},
		{"more than enough", repeat('s', 10*pollProbe), true},
		{"a long one between them", repeat('s', pollProbe-1) + "l" + repeat('s', pollProbe-1), false},
		{"enough after a long one", "l" + repeat('s', pollProbe), true},
		{"the first poll is in vain", repeat('s', pollProbe) + "v", false},
		{"and all begins again", repeat('s', pollProbe) + "v" + repeat('s', pollProbe-1), false},
		{"to its end", repeat('s', pollProbe) + "v" + repeat('s', pollProbe), true},
		{"the first poll is not in vain", formed, true},
		{"a long wait does not end a kind", formed + "l", true},
		{"nor do a few polls in vain", formed + repeat('v', pollMisses-1), true},
		{"but more of them do", formed + repeat('v', pollMisses), false},
		{"only in a row", formed + repeat('v', pollMisses-1) + "c" + repeat('v', pollMisses-1), true},
		{"a lost habit forms again", formed + repeat('v', pollMisses) + repeat('s', pollProbe), true},
		{"no sooner", formed + repeat('v', pollMisses) + repeat('s', pollProbe-1), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p history
			for _, c := range tt.happy {
				switch c {
				case 's', 'l':
					p.slept(c == 's')
				case 'c', 'v':
					p.polled(c == 'c')
				}
			}
			require.Equal(t, tt.due, p.due())
		})
	}
}

// Which kind a wait belongs to, and how long it is polled for.
func TestPollingHabitOfEachWait(t *testing.T) {
	const limit = 50 * time.Microsecond
	for _, tt := range []struct {
		name     string
		before   func(s *traffic)
		kind     func(s *traffic) *history
		patience time.Duration
	}{
		{"at first", func(*traffic) {}, func(s *traffic) *history { return &s.flow }, limit},
		{"behind a write", func(s *traffic) { s.written(10) }, func(s *traffic) *history { return &s.answers }, limit + 10},
		{"behind writes", func(s *traffic) { s.written(10); s.written(20) }, func(s *traffic) *history { return &s.answers }, limit + 30},
		{"behind a large write", func(s *traffic) { s.written(1 << 30) }, func(s *traffic) *history { return &s.answers }, 4 * limit},
		{"behind an answer", func(s *traffic) { s.written(10); s.end(5, 0, limit) }, func(s *traffic) *history { return &s.flow }, limit},
		{"inside something large", func(s *traffic) { s.end(pollBulk, 0, limit) }, func(s *traffic) *history { return &s.bulk }, limit},
		{"at its end", func(s *traffic) { s.end(pollBulk, 0, limit); s.end(100, 0, limit) },
			func(s *traffic) *history { return &s.flow }, limit},
		{"inside a large answer", func(s *traffic) { s.written(10); s.end(pollBulk, 0, limit) },
			func(s *traffic) *history { return &s.bulk }, limit},
		{"inside an answer", func(s *traffic) { s.written(10); s.end(5, 0, limit); s.mid = true },
			func(s *traffic) *history { return &s.answers }, limit + 10},
		{"behind an answer in parts", func(s *traffic) {
			s.written(10)
			s.end(5, 0, limit)
			s.mid = true
			s.end(5, 0, limit)
			s.mid = false
		}, func(s *traffic) *history { return &s.flow }, limit},
		{"inside what is no answer", func(s *traffic) {
			s.written(10)
			s.end(5, 0, limit)
			s.end(5, 0, limit)
			s.mid = true
		}, func(s *traffic) *history { return &s.flow }, limit},
		{"a new question", func(s *traffic) { s.written(1000); s.end(100, 0, limit); s.written(10) },
			func(s *traffic) *history { return &s.answers }, limit + 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s traffic
			tt.before(&s)
			require.Same(t, tt.kind(&s), s.begin())
			require.Equal(t, tt.patience, s.patience(limit))
		})
	}
}

// Reads of something large that is no answer.
func TestStreamsWhatIsNoAnswer(t *testing.T) {
	asked := func(s *traffic) { s.written(10) }
	inside := func(s *traffic) { s.end(5, 0, time.Hour); s.mid = true }
	for _, tt := range []struct {
		name    string
		before  []func(s *traffic)
		n       int
		streams bool
	}{
		{"something small", nil, pollBulk - 1, false},
		{"something large", nil, pollBulk, true},
		{"inside something large", []func(s *traffic){inside}, pollBulk, true},
		{"an answer", []func(s *traffic){asked}, pollBulk, false},
		{"inside an answer", []func(s *traffic){asked, inside}, pollBulk, false},
		{"inside what was on its way when somebody asked", []func(s *traffic){inside, asked}, pollBulk, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s traffic
			for _, before := range tt.before {
				before(&s)
			}
			require.Equal(t, tt.streams, s.streams(tt.n))
		})
	}
}

// Traffic is no flow if something was written during the wait.
func TestPollingAnsweredFlowIsNone(t *testing.T) {
	var s traffic
	for range pollProbe - 1 {
		s.begin()
		s.end(10, 0, time.Hour)
	}
	require.False(t, s.flow.due())
	s.begin()
	s.written(10)
	s.end(10, 0, time.Hour)
	require.False(t, s.flow.due())
	for range pollProbe {
		s.begin()
		s.end(10, 0, time.Hour)
	}
	require.True(t, s.flow.due())
}

// A look before the wait itself that finds nothing does not make the reader forget that an answer
// is expected.
func TestPollingLookKeepsHabit(t *testing.T) {
	var s traffic
	s.end(pollBulk, 0, time.Hour)
	s.written(10)
	s.end(0, 0, time.Hour)
	require.Equal(t, pollBulk, s.last)
	require.Same(t, &s.answers, s.begin())
}

// However many readers want to poll, one processor is left to other goroutines.
func TestPollerLeavesOneProcessor(t *testing.T) {
	for _, n := range []int{1, 2, 4} {
		processors(t, n)
		var p Policy
		var inside, most atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 2000 {
					if !p.place() {
						runtime.Gosched()
						continue
					}
					if k := inside.Add(1); k > most.Load() {
						most.Store(k)
					}
					runtime.Gosched()
					inside.Add(-1)
					p.leave()
				}
			})
		}
		wg.Wait()
		require.Less(t, most.Load(), int32(n))
		require.Zero(t, p.busy.Load())
		for range n - 1 {
			require.True(t, p.place())
		}
		require.False(t, p.place())
	}
}
