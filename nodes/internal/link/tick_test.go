package link

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/internal/clock"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport"
)

// listen calls f with each frame that comes, and when.
func listen(s *transport.Stream, f func(body []byte, at time.Duration)) {
	begin := time.Now()
	go func() {
		for {
			body, err := frameOf(context.Background(), s)
			if err != nil {
				return
			}
			f(body, time.Since(begin))
		}
	}()
}

// The state of a clock moves with its connection.
func TestClockMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := pair(t)
		for _, tt := range []struct{ from, to states.Clock }{
			{states.Clock{}, states.Clock{}},
			{states.Clock{Age: time.Second, Missed: 2}, states.Clock{Age: time.Second, Missed: 2}},
			{states.Clock{Idle: true, Heard: true}, states.Clock{Idle: true, Heard: true}},
			{states.Clock{Age: time.Hour, Missed: 1000}, states.Clock{Age: interval, Missed: MissedTicks - 1}},
			{states.Clock{Age: -time.Hour, Missed: -1}, states.Clock{}},
		} {
			var clock ticker
			clock.restore(c, &tt.from)
			require.Equal(t, tt.to, timeless(clock.state(c)))
		}
		var fresh ticker
		fresh.restore(c, nil)
		require.Equal(t, states.Clock{Heard: true}, timeless(fresh.state(c)), "nobody knows")
	})
}

// timeless is a clock's state without the moment, of a clock that is no bubble's.
func timeless(s states.Clock) states.Clock { s.At = 0; return s }

// A clock goes on while its connection is between two processes, and if that takes an interval the
// connection does not stay silent for another one, though something was sent since the last tick. A
// peer that was silent before is not taken for dead at once.
func TestClockGoesOnBetweenProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := pair(t)
		var ticks []time.Duration
		listen(peer, func(_ []byte, at time.Duration) { ticks = append(ticks, at) })
		begin := time.Now()
		for _, tt := range []struct {
			frozen time.Duration
			from   states.Clock
			ticks  []time.Duration // before the next beat
		}{
			{0, states.Clock{Age: 5 * time.Second, Idle: true, Heard: true}, []time.Duration{10 * time.Second}},
			{5 * time.Second, states.Clock{Age: 5 * time.Second, Idle: true, Heard: true}, []time.Duration{5 * time.Second}},
			{5 * time.Second, states.Clock{Age: 5 * time.Second, Heard: true}, nil},
			{20 * time.Second, states.Clock{Age: 5 * time.Second, Heard: true}, []time.Duration{0}},
			{20 * time.Second, states.Clock{Missed: MissedTicks - 1}, []time.Duration{0}},
		} {
			require.NoError(t, c.ticks.hold(soon(t)))
			now := time.Since(begin)
			ticks = nil
			if tt.from.At = clock.Now() - int64(tt.frozen); tt.from.At <= 0 {
				t.Skip("the machine has only just been started, or has no such clock")
			}
			c.ticks.restore(c, &tt.from)
			c.ticks.unhold(c)
			time.Sleep(interval*3/4 - time.Second) // the next beat may come then
			synctest.Wait()
			require.NoError(t, c.Err())
			for i := range ticks {
				ticks[i] = (ticks[i] - now).Round(time.Second) // moment is no clock of the bubble
			}
			require.Equal(t, tt.ticks, ticks, "%+v", tt)
		}
	})
}

// A clock that was held goes on where it stood.
func TestClockIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := pair(t)
		var ticks []time.Duration
		listen(peer, func(_ []byte, at time.Duration) { ticks = append(ticks, at) })
		time.Sleep(10 * time.Second)
		require.NoError(t, c.ticks.hold(soon(t)))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		require.Empty(t, ticks)
		c.ticks.unhold(c)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		require.Equal(t, []time.Duration{30 * time.Second, 45 * time.Second}, ticks)

		// After an interval a tick is due at once, also if something was sent since the last one.
		ticks = nil
		c.ticks.mu.Lock()
		c.ticks.posted--
		c.ticks.received--
		c.ticks.mu.Unlock()
		require.NoError(t, c.ticks.hold(soon(t)))
		time.Sleep(20 * time.Second)
		c.ticks.unhold(c)
		synctest.Wait()
		require.Equal(t, []time.Duration{70 * time.Second}, ticks)
	})
}
