package transport

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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

// heard gives a descriptor, and a function that makes it readable.
func heard(t *testing.T) (fd int, says func()) {
	t.Helper()
	c, s, err := UnixPair()
	require.NoError(t, err)
	t.Cleanup(func() { c.Close(); s.Close() })
	fd, err = c.Descriptor()
	require.NoError(t, err)
	return fd, func() {
		_, err := s.Writev(soon(t), []byte("x"))
		require.NoError(t, err)
	}
}

// A wait ends when something comes, and otherwise in its time.
func TestShortWaitEnds(t *testing.T) {
	fd, says := heard(t)
	began := time.Now()
	require.False(t, awaitShortly(fd, time.Millisecond))
	require.GreaterOrEqual(t, time.Since(began), time.Millisecond)
	says()
	require.True(t, awaitShortly(fd, time.Hour))
}

// After a wait in vain the waits of the transport are shorter, until one is not in vain.
func TestShortWaitAfterVain(t *testing.T) {
	processors(t, 2)
	fd, says := heard(t)
	p := &poller{short: time.Millisecond}
	require.False(t, p.awaitShortly(fd, true))
	require.True(t, p.vain.Load())
	p.vain.Store(false)
	p.short = time.Hour // nobody waits for that
	require.False(t, p.awaitShortly(fd, false), "nobody was asked")
	require.False(t, p.vain.Load())
	p.vain.Store(true)
	require.False(t, p.awaitShortly(fd, true))
	says()
	require.True(t, p.awaitShortly(fd, true))
	require.False(t, p.vain.Load())
}

// Short waits leave one processor of the process to others, whatever their transports.
func TestShortWaitsOfManyTransports(t *testing.T) {
	processors(t, 3)
	fd, says := heard(t)
	ended := make(chan bool, 2)
	for range cap(ended) {
		go func() { ended <- (&poller{short: time.Hour}).awaitShortly(fd, true) }()
	}
	require.Eventually(t, func() bool { return shortWaits.Load() == 2 }, 20*time.Second, time.Millisecond)
	require.False(t, (&poller{short: time.Hour}).awaitShortly(fd, true))
	says()
	for range cap(ended) {
		require.True(t, <-ended)
	}
	require.Eventually(t, func() bool { return shortWaits.Load() == 0 }, 20*time.Second, time.Millisecond)
}
