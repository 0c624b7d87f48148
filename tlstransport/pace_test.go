//go:build unix

package tlstransport

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

func TestPollsLimit(t *testing.T) {
	if !canPoll {
		t.Skip("readers do not poll here")
	}
	for given, want := range map[time.Duration]time.Duration{
		0: transport.DefaultPolling, -1: 0, time.Microsecond: time.Microsecond, time.Hour: transport.MaxPolling,
	} {
		require.Equal(t, want, newPolls(given).limit, given)
	}
}

// Short waits make a habit of polling; polling in vain ends it.
func TestHabit(t *testing.T) {
	var h habit
	for range pollProbe - 1 {
		h.slept(true)
		require.False(t, h.due())
	}
	h.slept(true)
	require.True(t, h.due(), "once, to see")
	h.polled(false)
	require.False(t, h.due())
	for range pollProbe {
		h.slept(true)
	}
	h.slept(false)
	require.False(t, h.due(), "a long wait in between")
	for range pollProbe {
		h.slept(true)
	}
	h.polled(true)
	for range pollMisses - 1 {
		h.polled(false)
		require.True(t, h.due())
	}
	h.polled(true)
	for range pollMisses {
		require.True(t, h.due())
		h.polled(false)
	}
	require.False(t, h.due())
}

// Which habit a wait belongs to, and that no more readers poll than may.
func TestPacing(t *testing.T) {
	all := &polls{limit: time.Millisecond, most: 1}
	p, other := pacing{polls: all}, pacing{polls: all}
	p.answers.hot, p.bulk.hot, p.flow.hot, other.flow.hot = true, true, true, true
	p.written(10)
	_, doze, ok := p.begin()
	require.True(t, ok)
	require.False(t, doze)
	require.Same(t, &p.answers, p.now)
	_, _, ok = other.begin()
	require.False(t, ok, "one is enough")
	p.leave()
	p.read(pollBulk)
	_, _, ok = p.begin()
	require.True(t, ok)
	require.Same(t, &p.bulk, p.now)
	p.leave()
	p.read(1)
	_, doze, ok = p.begin()
	require.True(t, ok)
	require.True(t, doze)
	p.leave()
	p.written(1) // by somebody else, while this one waits
	p.read(1)
	require.False(t, p.flow.due())
	require.Zero(t, all.busy.Load())
	all.limit = 0
	_, _, ok = p.begin()
	require.False(t, ok)
}

// A reader that polls, and then sleeps, is woken for what comes, again and again.
func TestPollingReaderSleeps(t *testing.T) {
	cfg := newAuthority(t, "an authority").mutual(t)
	w := newWorkbench(t, cfg, Options{Polling: time.Millisecond})
	s, c := w.against(client, cfg)
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, c)
		done <- err
	}()
	<-s.over // the handshake reads too
	p := make([]byte, 1)
	trips := func(n int, between time.Duration) {
		for i := range n {
			time.Sleep(between)
			p[0] = byte(i)
			_, err := ours{s}.Write(p)
			require.NoError(t, err)
			_, err = io.ReadFull(ours{s}, p)
			require.NoError(t, err)
			require.Equal(t, byte(i), p[0])
		}
	}
	for range 5 {
		s.wire.pace.answers.hot = true // whatever the machine has let it become
		trips(20, 0)
		_, err := s.read(p, 3*time.Millisecond) // polls in vain, and sleeps
		require.Error(t, err)
		trips(5, 2*time.Millisecond)
	}
	require.NoError(t, w.cb.Close(s))
	require.NoError(t, <-done)
	require.NoError(t, c.NetConn().Close())
}
