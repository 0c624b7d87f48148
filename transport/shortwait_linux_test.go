package transport

import (
	"context"
	"io"
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

// Who does not wait for long needs neither a second try nor an epoll descriptor.
func TestShortWaitPingPong(t *testing.T) {
	y := waitsShortly(t, 10*time.Second) // no machine is as busy as that
	answer := make(chan struct{}, 1)
	defer close(answer)
	go func() {
		for range answer {
			y.says(t, []byte("a"))
		}
	}()
	for range 100 {
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

// When nothing comes in that time the reader sleeps in the Go poller; after a few times at once, until answers come soon again.
func TestShortWaitPeerStops(t *testing.T) {
	y := waitsShortly(t, time.Millisecond)
	late := func() {
		t.Helper()
		y.ask(t)
		reading := y.parks(context.Background())
		asleep(t, y)
		y.says(t, []byte("x"))
		require.NoError(t, returns(t, reading))
	}
	for range pollMisses {
		require.True(t, y.sock.spin.near.hot)
		late()
	}
	require.False(t, y.sock.spin.near.due())
	late()
	require.Zero(t, y.sock.poller.busy.Load())
	y.sock.poller.short = 10 * time.Second
	for range 1000 { // a busy machine may not be quick
		if y.sock.spin.near.due() {
			return
		}
		late()
	}
	require.Fail(t, "answers come soon, and it has not noticed")
}

// Where all places are taken the reader sleeps at once.
func TestShortWaitPlaces(t *testing.T) {
	y := waitsShortly(t, 10*time.Second)
	require.True(t, y.sock.poller.enter())
	y.ask(t)
	reading := y.parks(context.Background())
	asleep(t, y)
	y.says(t, []byte("x"))
	require.NoError(t, returns(t, reading))
	y.sock.poller.leave()
}

// A writer waits for room in the same way.
func TestShortWaitRoom(t *testing.T) {
	y := waitsShortly(t, 10*time.Second)
	const size = 16 << 20
	drained := aside(func() error {
		_, err := io.ReadFull(readerOf{y.peer}, make([]byte, size))
		return err
	})
	_, err := y.s.Writev(soon(t), make([]byte, size))
	require.NoError(t, err)
	require.NoError(t, returns(t, drained))
	require.Nil(t, watcherOf(t, y.s).writer.raw)
}

type readerOf struct{ s *Stream }

func (r readerOf) Read(p []byte) (int, error) { return r.s.Read(context.Background(), p) }

// Only the first few waits, which are a handshake's, are expected to be short where nothing was said before.
func TestSpinSoon(t *testing.T) {
	s := newSpin()
	p := &poller{short: time.Hour}
	for range pollFirst {
		s.begin()
		require.True(t, s.soon())
		s.end(10, p)
	}
	s.begin()
	require.False(t, s.soon())
	s.end(10, p)
	s.written(1)
	s.begin()
	require.True(t, s.soon())
	s.end(pollBulk, p)
	s.begin()
	require.True(t, s.soon(), "the rest of something large")
}
