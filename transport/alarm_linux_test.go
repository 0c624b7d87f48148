package transport

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/test/leak"
)

// waitsShortly makes a connection that does not poll.
func waitsShortly(t testing.TB, d time.Duration) *tallied {
	t.Helper()
	processors(t, 2)
	return newTallied(t, &poller{short: d})
}

// A reader that does not wait for long needs neither a second try nor an epoll descriptor.
func TestShortWaitPingPong(t *testing.T) {
	y := waitsShortly(t, 10*time.Second) // no machine is as busy as that
	answer := make(chan struct{}, 1)
	defer close(answer)
	go func() {
		for range answer {
			y.says(t, []byte("a"))
		}
	}()
	for range pollFirst {
		y.ask(t)
		vain, reads := y.vain.Load(), y.reads.Load()
		y.atVain(1, func() { answer <- struct{}{} })
		_, err := y.read(context.Background())
		require.NoError(t, err)
		require.EqualValues(t, 1, y.vain.Load()-vain)
		require.EqualValues(t, 2, y.reads.Load()-reads)
	}
	require.Nil(t, watcherOf(t, y.s).reader.raw)
}

// When nothing comes during a short wait, the reader sleeps in the Go poller, and does so at once from then on.
func TestShortWaitPeerStops(t *testing.T) {
	y := waitsShortly(t, time.Millisecond)
	for range pollFirst {
		y.ask(t)
		reading := y.parks(context.Background())
		asleep(t, y)
		y.says(t, []byte("x"))
		require.NoError(t, returns(t, reading))
		require.Equal(t, pollFirst, y.sock.incoming.spin.first)
		y.sock.poller.short = time.Hour // nobody waits for that
	}
	require.Zero(t, y.sock.poller.busy.Load())
}

// When all places are taken the reader sleeps at once.
func TestShortWaitPlaces(t *testing.T) {
	y := waitsShortly(t, 10*time.Second)
	require.True(t, y.sock.poller.place())
	y.ask(t)
	reading := y.parks(context.Background())
	asleep(t, y)
	y.says(t, []byte("x"))
	require.NoError(t, returns(t, reading))
	y.sock.poller.leave()
}

// Only the first few waits are short ones.
func TestShortWaitsAreTheFirstFew(t *testing.T) {
	var s spin
	for range pollFirst {
		require.True(t, s.soon())
	}
	require.False(t, s.soon())
}

// A read under Briefly makes a short wait, and no other.
func TestBriefly(t *testing.T) {
	y := waitsShortly(t, 10*time.Second)
	y.ask(t)
	y.atVain(1, func() { go y.says(t, []byte("a")) })
	_, err := y.read(Briefly())
	require.NoError(t, err)
	require.Nil(t, watcherOf(t, y.s).reader.raw)

	y = waitsShortly(t, time.Millisecond)
	for range 2 { // the second one finds that there are no more short waits
		vain := y.vain.Load()
		_, err = y.read(Briefly())
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.LessOrEqual(t, y.vain.Load()-vain, int64(3))
	}
	y.says(t, []byte("b"))
	_, err = y.read(Briefly())
	require.NoError(t, err)
	require.True(t, IsNoWait(Briefly()))
}

// The first waits have no alarm, nor those that come now and then.
func TestAlarmsOfFewWaits(t *testing.T) {
	before := leak.Descriptors()
	a := alarmsInUse(t)
	for range 2 * alarmsPay {
		a.since = time.Now().Add(-2 * alarmsRest)
		require.Nil(t, a.take(time.Second))
	}
	require.Empty(t, leak.Left(before))
	require.Nil(t, a.tender)
	a = alarmsInUse(t)
	w := a.take(time.Second)
	require.NotNil(t, w)
	a.leave(w)
}

// alarmsInUse returns alarms whose next wait makes an alarm.
func alarmsInUse(t *testing.T) *alarms {
	a := &alarms{since: time.Now().Add(time.Hour)} // however slow this machine is
	for range alarmsPay {
		require.Nil(t, a.take(time.Second))
	}
	return a
}

// Waits of one length share an alarm; while a wait uses an alarm it is not set anew.
func TestAlarmsAreShared(t *testing.T) {
	before := leak.Descriptors()
	a := alarmsInUse(t)
	one := a.take(time.Hour)
	require.Same(t, one, a.take(time.Hour))
	rings := one.rings
	other := a.take(time.Minute)
	require.NotNil(t, other)
	require.NotSame(t, one, other)
	require.Nil(t, a.take(time.Second), "somebody waits for both")
	a.leave(other)
	require.Same(t, other, a.take(time.Second))
	require.Equal(t, rings, one.rings)
	require.Len(t, leak.Left(before), 2)
	for range 2 {
		a.leave(one)
	}
	require.Len(t, leak.Left(before), 2)
	a.leave(other)
	require.Eventually(t, func() bool { return len(leak.Left(before)) == 0 }, 20*time.Second, time.Millisecond, "nobody uses them")
	a.mu.Lock()
	defer a.mu.Unlock()
	require.False(t, a.tended)
}

// A wait ends when something comes, and otherwise in its time, even if no alarm can be had.
func TestAlarmEndsWait(t *testing.T) {
	c, s, err := UnixPair()
	require.NoError(t, err)
	defer c.Close()
	defer s.Close()
	fd, err := c.Descriptor()
	require.NoError(t, err)
	a := alarmsInUse(t)
	waits := func() {
		began := time.Now()
		require.False(t, a.await(fd, time.Millisecond))
		require.GreaterOrEqual(t, time.Since(began), time.Millisecond)
	}
	for range 3 { // the second finds it still set, the third does not
		waits()
	}
	held := []*alarm{a.take(time.Hour), a.take(time.Minute)}
	waits()
	for _, w := range held {
		a.leave(w)
	}
	_, err = s.Writev(soon(t), []byte("x"))
	require.NoError(t, err)
	require.True(t, a.await(fd, time.Hour))
}
