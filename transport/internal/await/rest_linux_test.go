package await

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// ownEpoll reports whether the reader has an epoll descriptor of its own.
func (w *watcher) ownEpoll() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reader.raw != nil
}

// restingNow are those who rest.
func (p *Policy) restingNow() int {
	p.rests.mu.Lock()
	defer p.rests.mu.Unlock()
	return len(p.rests.resting)
}

// toRest waits until n readers rest, which have slept for long in the eyes of their Policy.
func toRest(t testing.TB, p *Policy, n int) {
	t.Helper()
	require.Eventually(t, func() bool { p.rests.giveUp(); return p.restingNow() == n }, tooLong, time.Millisecond)
}

// Readers that sleep for long share one epoll descriptor; what comes wakes the one that it is for.
func TestReadersRest(t *testing.T) {
	p := NewPolicy(0)
	const all = 50
	readers, came := make([]*tallied, all), make([]<-chan error, all)
	for i := range readers {
		readers[i] = newTallied(t, p)
		came[i] = readers[i].parks(context.Background())
	}
	toRest(t, p, all)
	for i, y := range readers {
		w := y.s.watch.(*watcher)
		require.False(t, w.ownEpoll())
		require.True(t, w.long.Load())
		y.says(t, []byte("x"))
		require.NoError(t, expect.Returns(t, came[i]))
		if w.long.Load() { // a busy machine has let it sleep for so long that it would rest on
			require.NoError(t, y.s.Close())
		}
		require.Equal(t, all-1-i, p.restingNow())
	}
	p.rests.sweep()
	require.Nil(t, p.rests.epoll, "nobody rests")
	require.Empty(t, p.rests.own)
	require.Nil(t, p.rests.sweeper)
}

// The last reader may go while dispatch is about to wake it: none of them waits for the other. Then
// the epoll descriptor is closed.
func TestLastReaderGoesBesideDispatch(t *testing.T) {
	y := newTallied(t, NewPolicy(0))
	w, r := y.s.watch.(*watcher), &y.policy.rests
	came := y.parks(context.Background())
	toRest(t, y.policy, 1)
	r.mu.Lock()
	epoll, file := r.fd, r.epoll
	y.says(t, []byte("x"))
	require.Eventually(t, func() bool { // dispatch has taken the event, and waits for mu
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(epoll), Events: unix.POLLIN}}, 0)
		return n == 0 && err == nil
	}, tooLong, time.Millisecond)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		delete(r.resting, int32(w.fd))
		r.endUnused()
		r.mu.Unlock()
	}()
	expect.Returns(t, gone)
	require.Eventually(t, func() bool { _, err := file.Stat(); return err != nil }, tooLong, time.Millisecond, "it is closed")
	w.came.Store(true)
	w.wake()
	require.NoError(t, expect.Returns(t, came))
}

// A reader that has slept for less than a second since it rests has an epoll descriptor again; one
// that has slept longer rests at once.
func TestRestEndsWithTraffic(t *testing.T) {
	y := newTallied(t, NewPolicy(0))
	w := y.s.watch.(*watcher)
	var came <-chan error
	var begun time.Time
	for time.Since(begun) >= restsAfter { // a busy machine may make a short sleep long
		begun = time.Now()
		came = y.parks(context.Background())
		toRest(t, y.policy, 1)
		y.says(t, []byte("x"))
		require.NoError(t, expect.Returns(t, came))
	}
	require.False(t, w.long.Load())

	came = y.parks(context.Background())
	require.Eventually(t, w.ownEpoll, tooLong, time.Millisecond)
	require.Zero(t, y.policy.restingNow())
	y.says(t, []byte("x"))
	require.NoError(t, expect.Returns(t, came))

	came = y.parks(context.Background())
	toRest(t, y.policy, 1)
	rests := func() {
		expect.WaitsIn(t, "select", "(*watcher).sleepFor(") // its time has begun
		time.Sleep(restsAfter)                              // what the test is about
	}
	rests()
	for range 2 {
		y.says(t, []byte("x"))
		require.NoError(t, expect.Returns(t, came))
		came = y.parks(context.Background())
		require.Eventually(t, func() bool { return y.policy.restingNow() == 1 }, tooLong, time.Millisecond)
		require.False(t, w.ownEpoll())
		rests()
	}
	y.says(t, []byte("x"))
	require.NoError(t, expect.Returns(t, came))
}

// A reader that has gone to sleep since the last time keeps its epoll descriptor, and so does a
// writer always.
func TestShortSleepersKeepTheirDescriptor(t *testing.T) {
	y := newTallied(t, NewPolicy(0))
	w := y.s.watch.(*watcher)
	came := y.parks(context.Background())
	asleep(t, y)
	for range 3 {
		y.policy.rests.giveUp()
		require.True(t, w.ownEpoll())
		y.says(t, []byte("x"))
		require.NoError(t, expect.Returns(t, came))
		came = y.parks(context.Background())
		asleep(t, y)
	}
	y.says(t, []byte("x"))
	require.NoError(t, expect.Returns(t, came))

	written := expect.Aside(func() error { _, err := y.s.Writev(context.Background(), make([]byte, 16<<20)); return err })
	require.Eventually(t, func() bool { return w.looks(true) }, tooLong, time.Millisecond)
	for range 3 {
		y.policy.rests.giveUp()
	}
	require.NoError(t, expect.Err(y.peer.Readv(soon(t), make([]byte, 16<<20))))
	require.NoError(t, expect.Returns(t, written))
}

// What ends a wait ends a rest.
func TestRestEnds(t *testing.T) {
	for name, end := range map[string]struct {
		by   func(y *tallied, cancel func())
		want error
	}{
		"by its context": {func(_ *tallied, cancel func()) { cancel() }, context.Canceled},
		"by Halt":        {func(y *tallied, _ func()) { y.s.Halt(false) }, os.ErrDeadlineExceeded},
		"by Close":       {func(y *tallied, _ func()) { y.s.Pair.Close() }, os.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			y := newTallied(t, NewPolicy(0))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			came := y.parks(ctx)
			toRest(t, y.policy, 1)
			end.by(y, cancel)
			require.ErrorIs(t, expect.Returns(t, came), end.want)
			require.Zero(t, y.policy.restingNow())
			if end.want == os.ErrClosed {
				return
			}
			y.s.Allow(false)
			came = y.parks(context.Background())
			toRest(t, y.policy, 1)
			y.says(t, []byte("x"))
			require.NoError(t, expect.Returns(t, came))
		})
	}
}

// A context that ends while a reader rests ends the rest.
func TestContextOfRest(t *testing.T) {
	pair, _, _ := pairOf(t)
	w := pair.watch.(*watcher)
	ctx, cancel := context.WithCancel(t.Context())
	ended := expect.Aside(func() error { return pair.In.Wait(ctx, func(uintptr) bool { return false }) })
	require.Eventually(t, func() bool { w.rests.giveUp(); return !w.ownEpoll() && w.long.Load() }, tooLong, time.Millisecond)
	cancel()
	require.ErrorIs(t, expect.Returns(t, ended), context.Canceled)
}

// Connections talk while each sleep of a reader counts as long, and nothing is lost.
func TestTalkAmongRests(t *testing.T) {
	p := NewPolicy(60 * time.Microsecond)
	var done atomic.Bool
	swept := expect.Aside(func() error {
		for !done.Load() {
			p.rests.giveUp()
		}
		return nil
	})
	talks := make([]<-chan error, 8)
	for i := range talks {
		here, there := lines(t, p)
		talks[i] = expect.Aside(func() error {
			_, err := there.Readv(soon(t), make([]byte, 1))
			for range 300 {
				if err == nil {
					_, err = there.Writev(soon(t), []byte("y"))
				}
				if err == nil {
					_, err = there.Readv(soon(t), make([]byte, 1))
				}
			}
			return err
		})
		go func() {
			b := make([]byte, 1)
			for n := 0; n < 300; n++ {
				if _, err := here.Writev(soon(t), []byte("x")); err != nil {
					return
				}
				if _, err := here.Readv(soon(t), b); err != nil {
					return
				}
			}
			_, _ = here.Writev(soon(t), []byte("x"))
		}()
	}
	for _, talk := range talks {
		require.NoError(t, expect.Returns(t, talk))
	}
	done.Store(true)
	require.NoError(t, expect.Returns(t, swept))
}

// Few readers keep their epoll descriptors, however long they sleep.
func TestFewReadersDoNotRest(t *testing.T) {
	p := NewPolicy(0)
	wakes := func(n int) (all []*tallied) {
		for range n {
			y := newTallied(t, p)
			all = append(all, y)
			came := y.parks(context.Background())
			t.Cleanup(func() { y.says(t, []byte("x")); require.NoError(t, expect.Returns(t, came)) })
			require.Eventually(t, func() bool { return y.s.watch.(*watcher).looks(false) }, tooLong, time.Millisecond)
		}
		return all
	}
	few := wakes(fewReaders)
	for range 3 {
		p.rests.sweep()
	}
	for _, y := range few {
		require.True(t, y.s.watch.(*watcher).ownEpoll())
	}
	wakes(1)
	require.Eventually(t, func() bool { p.rests.sweep(); return p.restingNow() == fewReaders+1 }, tooLong, time.Millisecond)
}
