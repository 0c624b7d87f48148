package await

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A habit forms when many waits in a row speak for it, and ends when a few in a row speak against
// it.
func TestHabitComesAndGoes(t *testing.T) {
	formed := strings.Repeat("+", habitForms)
	for _, tt := range []struct {
		name   string
		waits  string // + speaks for it, - against it
		formed bool
	}{
		{"nothing is known", "", false},
		{"one wait", "+", false},
		{"not enough", strings.Repeat("+", habitForms-1), false},
		{"enough", formed, true},
		{"more than enough", strings.Repeat(formed, 10), true},
		{"not in a row", strings.Repeat("+", habitForms-1) + "-" + strings.Repeat("+", habitForms-1), false},
		{"enough in the end", "-" + formed, true},
		{"a few against it", formed + strings.Repeat("-", habitEnds-1), true},
		{"more against it", formed + strings.Repeat("-", habitEnds), false},
		{"not in a row, either", formed + strings.Repeat("-", habitEnds-1) + "+" + strings.Repeat("-", habitEnds-1), true},
		{"again", formed + strings.Repeat("-", habitEnds) + formed, true},
		{"no sooner", formed + strings.Repeat("-", habitEnds) + strings.Repeat("+", habitForms-1), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h habit
			for _, c := range tt.waits {
				h.judge(c == '+')
			}
			require.Equal(t, tt.formed, h.formed)
		})
	}
}

// What the reader waits for: an answer, for which it does nothing but wait, the rest of something
// large, or more of a flow.
func TestKindOfWait(t *testing.T) {
	const answer, rest, flow = "answer", "rest", "flow"
	asks := func(s *traffic) { s.wrote.Store(true) }
	reads := func(n int) func(s *traffic) { return func(s *traffic) { s.read(n) } }
	inside := func(s *traffic) { s.mid = true }
	outside := func(s *traffic) { s.mid = false }
	for _, tt := range []struct {
		name   string
		before []func(s *traffic)
		kind   string
	}{
		{"at first", nil, flow},
		{"behind a write", []func(s *traffic){asks}, answer},
		{"behind an answer", []func(s *traffic){asks, reads(5)}, flow},
		{"behind something large", []func(s *traffic){reads(largeRead)}, rest},
		{"at its end", []func(s *traffic){reads(largeRead), reads(100)}, flow},
		{"behind something large that was answered", []func(s *traffic){reads(largeRead), asks}, answer},
		{"behind a large part of an answer", []func(s *traffic){asks, reads(largeRead)}, rest},
		{"inside an answer", []func(s *traffic){asks, reads(5), inside}, answer},
		{"behind an answer in parts", []func(s *traffic){asks, reads(5), inside, reads(5), outside}, flow},
		{"inside what is no answer", []func(s *traffic){asks, reads(5), reads(5), inside}, flow},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s traffic
			for _, before := range tt.before {
				before(&s)
			}
			s.begin()
			require.Same(t, map[string]*habit{rest: &s.rest, flow: &s.flow}[tt.kind], s.kind)
		})
	}
}

// By what a wait is judged: by its length, or, where the reader has napped or spun, by whether that
// has brought something.
func TestWaitIsJudged(t *testing.T) {
	const limit = time.Millisecond
	for _, tt := range []struct {
		name   string
		rest   bool
		waited time.Duration
		tried  string // what napping or spinning brought; "": the reader slept
		well   bool
	}{
		{"more of a flow, soon", false, limit, "", true},
		{"later", false, limit + 1, "", false},
		{"after a nap", false, 3 * limit, "something", true},
		{"not in a nap", false, 0, "nothing", false},
		{"the rest, as soon as a processor wakes", true, 8 * limit, "", true},
		{"later than that", true, 8*limit + 1, "", false},
		{"the rest, by spinning", true, 9 * limit, "something", true},
		{"not by spinning", true, 0, "nothing", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, formed := range []bool{true, false} {
				var s traffic
				if tt.rest {
					s.read(largeRead)
				}
				s.begin()
				kind := s.kind
				kind.formed = formed
				if tt.tried != "" {
					s.tried(tt.tried == "something")
				}
				s.end(tt.waited, limit)
				require.Equal(t, tt.well == formed, kind.count == 0, "%+v", *kind)
				require.Nil(t, s.kind)
			}
		})
	}
}

// Traffic is no flow if something was written during the wait.
func TestAnsweredFlowIsNone(t *testing.T) {
	var s traffic
	wait := func() { s.begin(); s.end(0, time.Hour); s.read(10) }
	for range habitForms {
		wait()
	}
	require.True(t, s.flow.formed)
	s.begin()
	s.wrote.Store(true)
	s.end(0, time.Hour)
	s.read(10)
	require.False(t, s.flow.formed)
	for range habitForms {
		wait()
	}
	require.True(t, s.flow.formed)
}

// A look that finds nothing does not make the reader forget that an answer is expected.
func TestLookKeepsKind(t *testing.T) {
	r := Reader{side: side{policy: NewPolicy(time.Millisecond)}}
	r.Wrote()
	r.end(0)
	r.traffic.begin()
	require.Nil(t, r.traffic.kind)
}

// Reads of something large that is no answer.
func TestStreams(t *testing.T) {
	asks := func(s *traffic) { s.wrote.Store(true) }
	inside := func(s *traffic) { s.read(5); s.mid = true }
	for _, tt := range []struct {
		name    string
		before  []func(s *traffic)
		n       int
		streams bool
	}{
		{"something small", nil, largeRead - 1, false},
		{"something large", nil, largeRead, true},
		{"inside something large", []func(s *traffic){inside}, largeRead, true},
		{"an answer", []func(s *traffic){asks}, largeRead, false},
		{"inside an answer", []func(s *traffic){asks, inside}, largeRead, false},
		{"inside what was on its way when something was written", []func(s *traffic){inside, asks}, largeRead, true},
	} {
		var s traffic
		for _, before := range tt.before {
			before(&s)
		}
		require.Equal(t, tt.streams, s.streams(tt.n), tt.name)
	}
}

// However many readers nap or spin, one processor is left to other goroutines.
func TestOneProcessorIsLeft(t *testing.T) {
	for _, n := range []int{1, 2, 4} {
		processors(t, n)
		var p Policy
		var inside, most atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 2000 {
					if !p.enter() {
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
			require.True(t, p.enter())
		}
		require.False(t, p.enter())
	}
}
