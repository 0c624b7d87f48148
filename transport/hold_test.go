//go:build unix

package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/internal/test/expect"
)

// A read that is paused gives back what it has taken, and the other direction goes on.
func TestPauseRead(t *testing.T) {
	for name, tr := range map[string]Transport{"tcp": TCP(), "memory": NewMemory()} {
		t.Run(name, func(t *testing.T) {
			at := loopback()
			if name == "memory" {
				at = MemoryAddr("")
			}
			c, s := pair(t, tr, at)
			requireWrites(t, c, "half")
			begun := make(chan struct{})
			read := make(chan error, 1)
			b := make([]byte, 8)
			go func() {
				first := true
				_, err := s.ReadPDU(context.Background(), func() ([][]byte, error) {
					if first {
						first = false
						close(begun)
						return [][]byte{b}, nil
					}
					return nil, nil
				})
				read <- err
			}()
			<-begun
			require.NoError(t, s.PauseRead(soon(t)))
			err := <-read
			require.ErrorIs(t, err, ErrPaused)
			require.True(t, isTimeout(err))
			require.ErrorIs(t, expect.Err(s.Read(soon(t), b)), ErrPaused)
			require.NoError(t, expect.Err(s.Writev(soon(t), []byte("x"))), "the other direction")
			require.ErrorIs(t, s.PauseRead(soon(t)), ErrPaused, "twice")
			s.Resume()
			requireWrites(t, c, " way")
			requireReads(t, s, "half way")
			require.NoError(t, s.PauseRead(soon(t)))
			require.NoError(t, s.Close())
			require.ErrorIs(t, expect.Err(s.Read(soon(t), b)), net.ErrClosed)
		})
	}
}

// A read or write that begins at the moment of a pause is paused, too: nothing is in progress once
// the pause has begun.
func TestPauseMeetsBeginning(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	q := newPostQueue(s, nil)
	full := make([]byte, 24<<20) // more than any window
	ctx, cancel := context.WithCancel(context.Background())
	filled := expect.Aside(func() error { return q.Post(ctx, full, nil, 0) })
	require.Eventually(t, func() bool { n, _ := q.Buffered(); return n > 0 }, tooLong, time.Millisecond)
	require.Eventually(t, func() bool { // the window is full
		_, before := q.Buffered()
		time.Sleep(10 * time.Millisecond)
		_, after := q.Buffered()
		return before == after
	}, tooLong, time.Millisecond)
	limit, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	for i := range 5_000 {
		var b [1]byte
		started := make(chan struct{})
		read := make(chan error, 1)
		go func() {
			close(started)
			_, err := s.Read(context.Background(), b[:])
			read <- err
		}()
		<-started
		for range i % 50 { // so that the two meet anywhere
			s.usable()
		}
		require.NoError(t, s.PauseRead(limit), i)
		if i%4 == 0 { // the flusher begins, and must stop
			require.NoError(t, q.Hold(limit), i)
			q.Unhold()
		}
		require.ErrorIs(t, expect.Returns(t, read), ErrPaused, i)
		s.Resume()
	}
	cancel()
	require.NoError(t, c.Close())
	<-filled
	require.NoError(t, s.Close())
}

// Unhold waits for a pause of the reading direction that is in progress, and posts do not wait for
// Unhold.
func TestUnholdBesidePause(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	q := newPostQueue(s, nil)
	require.NoError(t, q.Hold(soon(t)))
	s.pausing.Lock() // as PauseRead does while it waits for the read in progress
	done := expect.Aside(func() error { q.Unhold(); return nil })
	for range 100 {
		require.ErrorIs(t, q.Post(NoWait(), []byte("x"), nil, 0), os.ErrDeadlineExceeded)
		runtime.Gosched()
	}
	s.pausing.Unlock()
	require.NoError(t, <-done)
	require.NoError(t, q.Post(soon(t), []byte("y"), nil, 0))
	requireReads(t, c, "y")
}

// A staged queue cannot be held: its bytes still belong to the process that hands over.
func TestStagedQueueCannotBeHeld(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	q := newPostQueue(s, nil)
	require.NoError(t, q.Stage(soon(t), []byte("rest")))
	require.ErrorIs(t, q.Hold(soon(t)), ErrPaused)
	require.Equal(t, "rest", string(q.Held()), "nothing goes out")
	require.True(t, q.parked)
	b := make([]byte, 4)
	q.Unhold()
	require.NoError(t, expect.Err(c.Readv(soon(t), b)))
	require.NoError(t, q.Hold(soon(t)))
}

// A crampedCarrier has no descriptor to wait with.
type crampedCarrier struct{ *grantCarrier }

func (crampedCarrier) prepare(bool) error { return syscall.EMFILE }

// A queue that could not be staged is as before.
func TestStageThatFailsLeavesQueue(t *testing.T) {
	k := newGrantCarrier(false, 1<<10)
	q := newPostQueue(newStream(crampedCarrier{k}, nil, connected), nil)
	require.ErrorIs(t, q.Stage(soon(t), []byte("rest")), syscall.EMFILE)
	k.set(func() { k.room = 4 })
	require.NoError(t, q.Post(soon(t), []byte("post"), nil, 0))
	require.NoError(t, q.Flush(soon(t)))
	require.Equal(t, "post", string(k.got))
}

// A queue that is in use, or has failed, cannot be staged: what it holds goes out, in order and
// whole, or is lost.
func TestStageOfUsedQueue(t *testing.T) {
	k := newGrantCarrier(false, 1<<10)
	s := newStream(k, nil, connected)
	q := newPostQueue(s, nil)
	k.set(func() { k.room = 2 })
	require.NoError(t, q.Post(soon(t), []byte("post"), nil, queue.More))
	require.Eventually(t, func() bool { k.mu.Lock(); defer k.mu.Unlock(); return k.room == 0 }, tooLong, 100*time.Microsecond)
	require.ErrorIs(t, q.Stage(soon(t), []byte("rest")), ErrBusy)
	k.set(func() { k.room = 100 })
	require.NoError(t, q.Flush(soon(t)))
	require.Equal(t, "post", string(k.got))

	failed := errors.New("failed")
	q.End(failed)
	require.ErrorIs(t, q.Stage(soon(t), []byte("rest")), failed)
	require.NoError(t, s.ready(pausedWrite), "the stream goes on")
}

// If two callers pause a direction at the same time, one of them succeeds.
func TestPauseTwice(t *testing.T) {
	_, s := pair(t, TCP(), loopback())
	s.pausing.Lock()
	results := make(chan error, 2)
	go func() { results <- s.PauseRead(context.Background()) }()
	expect.WaitsIn(t, "sync.Mutex.Lock", "TestPauseTwice.func1")
	go func() { results <- s.PauseRead(context.Background()) }()
	expect.WaitsIn(t, "sync.Mutex.Lock", "TestPauseTwice.func2")
	s.pausing.Unlock()
	err := []error{<-results, <-results}
	if err[0] != nil {
		slices.Reverse(err)
	}
	require.NoError(t, err[0])
	require.ErrorIs(t, err[1], ErrPaused)
}

// A pause of a direction that another call is about to pause fails at once: waiting for that call
// could outlast the caller's own context.
func TestPauseBesideAnother(t *testing.T) {
	_, s := pair(t, TCP(), loopback())
	s.reading.Store(true) // a read that does not end
	first, cancel := context.WithCancel(context.Background())
	paused := expect.Aside(func() error { return s.PauseRead(first) })
	require.Eventually(t, func() bool { return s.state.Load()&pausedRead != 0 }, tooLong, 100*time.Microsecond)
	require.ErrorIs(t, s.PauseRead(context.Background()), ErrPaused)
	cancel()
	require.ErrorIs(t, expect.Returns(t, paused), context.Canceled)
	s.reading.Store(false)
}

// An Interrupt that has been missed is called again, and the call that it ends does not fail as if
// its own time were over. A pause that fails leaves the stream as it was.
func TestPauseAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cb := memoryCallbacks()
		interrupt := cb.Interrupt
		var misses atomic.Int32
		cb.Interrupt = func(s *memorySocket) {
			if misses.Add(-1) < 0 {
				interrupt(s)
			}
		}
		c, s := pairOf(t, cb)
		read := func() <-chan error {
			got := expect.Aside(func() error { _, err := s.Read(soon(t), make([]byte, 1)); return err })
			synctest.Wait()
			return got
		}
		misses.Store(1)
		got := read()
		require.NoError(t, s.PauseRead(soon(t)))
		require.ErrorIs(t, expect.Returns(t, got), ErrPaused)
		s.Resume()

		misses.Store(1000)
		got = read()
		require.ErrorIs(t, s.PauseRead(within(t, time.Second)), context.DeadlineExceeded)
		for range 2 {
			requireWrites(t, c, "x")
			require.NoError(t, expect.Returns(t, got))
			got = read()
		}
		misses.Store(0)
	})
}

// The same for the pause of a listener.
func TestPauseListenerGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cb := memoryCallbacks()
		var deaf atomic.Bool
		interrupt := cb.Interrupt
		cb.Interrupt = func(s *memorySocket) {
			if !deaf.Load() {
				interrupt(s)
			}
		}
		tr := expect.NoError(New(cb, nil)).In(t)
		l := expect.Open(tr.Listen(MemoryAddr(""), 0)).In(t)
		for range 2 {
			accepted := expect.Aside(func() error {
				s, err := l.Accept(soon(t))
				if err != nil {
					return err
				}
				return s.Close()
			})
			synctest.Wait()
			deaf.Store(true)
			require.ErrorIs(t, l.Pause(within(t, time.Second)), context.DeadlineExceeded)
			deaf.Store(false)
			c := expect.NoError(tr.Connect(soon(t), l.Addr())).In(t)
			require.NoError(t, expect.Returns(t, accepted))
			require.NoError(t, c.Close())
		}
	})
}

// A listener that waits for descriptors is paused at once.
func TestPauseExhaustedListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Listener{sock: crampedAcceptor{}}
		accepted := make(chan error, 1)
		go func() { _, err := l.Accept(context.Background()); accepted <- err }()
		time.Sleep(time.Minute) // it tries again every second by now
		begin := time.Now()
		require.NoError(t, l.Pause(soon(t)))
		require.Less(t, time.Since(begin), 20*time.Millisecond)
		require.ErrorIs(t, <-accepted, ErrPaused)
	})
}

type crampedAcceptor struct{ acceptor }

func (crampedAcceptor) accept(context.Context) (carrier, Addr, error) {
	return nil, nil, syscall.EMFILE
}
func (crampedAcceptor) closed() <-chan struct{} { return nil }
func (crampedAcceptor) halt(bool)               {}

// An operation that a pause has cut off is not broken if the pause is given up before the operation
// returns: a read gets ErrPaused, an Accept goes on.
func TestPauseGivenUp(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, s.PauseRead(gone), context.Canceled)
	late, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	cut := fmt.Errorf("read: %w", os.ErrDeadlineExceeded)
	require.Equal(t, ErrPaused, s.cutOff(context.Background(), pausedRead, cut))
	require.Equal(t, ErrPaused, s.cutOff(soon(t), pausedRead, cut))
	require.ErrorIs(t, s.cutOff(gone, pausedRead, cut), context.Canceled)
	require.Equal(t, cut, s.cutOff(late, pausedRead, cut), "its own time is over")
	require.Equal(t, cut, s.cutOff(NoWait(), pausedRead, cut))
	require.Equal(t, io.EOF, s.cutOff(context.Background(), pausedRead, io.EOF))
	requireSpeak(t, c, s)

	l := &Listener{sock: &cutAcceptor{stream: s}}
	require.ErrorIs(t, l.Pause(gone), context.Canceled)
	got := expect.NoError(l.Accept(context.Background())).In(t)
	require.Same(t, s.car, got.car)
	require.Equal(t, s.remote, got.remote)
	require.ErrorIs(t, expect.Err(l.Accept(NoWait())), os.ErrDeadlineExceeded)
}

// A single try that would have to wait is a time-out, which disturbs nothing. A callback has its
// second, as always.
func TestPauseNoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		var hangs atomic.Bool
		hang := func() {
			if hangs.Load() {
				<-release
			}
		}
		cb := memoryCallbacks()
		accept := cb.Accept
		cb.Accept = func(s *memorySocket, tmo time.Duration) (*memorySocket, Addr, error) { hang(); return accept(s, tmo) }
		cb.Read = func(*memorySocket, []byte, time.Duration) (int, error) { hang(); return 0, nil }
		cb.Write = func(_ *memorySocket, p []byte, _ time.Duration) (int, error) { hang(); return len(p), nil }
		cb.CheckPeer = func(*memorySocket, string) error { hang(); return nil }
		cb.ConnectHandshakeComplete = func(*memorySocket) error { hang(); return nil }
		cb.HandshakePacketHeaderSize = func(*memorySocket) (int, error) { hang(); return 2, nil }
		tr := expect.NoError(New(cb, nil)).In(t)
		var streams [4]*Stream
		for i := range streams {
			streams[i], _ = pair(t, tr, MemoryAddr(""))
		}
		c, hooked := streams[0], streams[1:]
		l := expect.Open(tr.Listen(MemoryAddr(""), 1)).In(t)
		q := newPostQueue(c, nil)

		hangs.Store(true)
		go func() { _, _ = c.Read(context.Background(), make([]byte, 1)) }()
		go func() { _, _ = l.Accept(context.Background()) }()
		require.NoError(t, q.Post(context.Background(), []byte("x"), nil, queue.More))
		synctest.Wait()
		for name, call := range map[string]func() error{
			"PauseRead": func() error { return c.PauseRead(NoWait()) },
			"Pause":     func() error { return l.Pause(NoWait()) },
			"Hold":      func() error { return q.Hold(NoWait()) },
			"Hold, between two writes": func() error {
				q := newPostQueue(hooked[0], nil)
				q.writing = true
				return q.Hold(NoWait())
			},
			"Stage": func() error { return newPostQueue(c, nil).Stage(NoWait(), nil) },
		} {
			begun := time.Now()
			err := expect.Returns(t, expect.Aside(call))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded, name)
			require.NotErrorIs(t, err, ErrPaused, name)
			require.Zero(t, time.Since(begun), name)
		}
		for i, call := range []func(c *Stream) error{
			func(c *Stream) error { return c.CheckPeer(NoWait(), "n@h") },
			func(c *Stream) error { return c.HandshakeComplete(NoWait(), true) },
			func(c *Stream) error { return expect.Err(c.HandshakePacketHeaderSize(NoWait())) },
		} {
			require.ErrorIs(t, expect.Returns(t, expect.Aside(func() error { return call(hooked[i]) })), ErrUnresponsive)
		}
	})
}

// A cutAcceptor has one time-out before its stream.
type cutAcceptor struct {
	acceptor
	cut    bool
	stream *Stream
}

func (a *cutAcceptor) accept(ctx context.Context) (carrier, Addr, error) {
	if a.cut && !IsNoWait(ctx) {
		return a.stream.car, a.stream.remote, nil
	}
	a.cut = true
	return nil, nil, os.ErrDeadlineExceeded
}

func TestPauseListener(t *testing.T) {
	for name, tr := range map[string]Transport{"tcp": TCP(), "memory": NewMemory()} {
		t.Run(name, func(t *testing.T) {
			at := loopback()
			if name == "memory" {
				at = MemoryAddr("")
			}
			l := expect.Open(tr.Listen(at, 0)).In(t)
			accepted := make(chan error, 1)
			go func() { _, err := l.Accept(context.Background()); accepted <- err }()
			require.NoError(t, l.Pause(soon(t)))
			require.ErrorIs(t, <-accepted, ErrPaused)
			require.ErrorIs(t, l.Pause(soon(t)), ErrPaused, "twice")
			expect.Open(tr.Connect(soon(t), l.Addr())).In(t)
			require.ErrorIs(t, expect.Err(l.Accept(soon(t))), ErrPaused)
			l.Resume()
			s := expect.NoError(l.Accept(soon(t))).In(t)
			require.NoError(t, s.Close())
			require.NoError(t, l.Pause(soon(t)), "a second time")
			l.Resume()
			require.NoError(t, l.Close())
			require.NoError(t, l.Pause(soon(t)), "there is nothing to stop")
			require.ErrorIs(t, expect.Err(l.Accept(soon(t))), net.ErrClosed, "it will not be resumed")

			l = expect.NoError(tr.Listen(at, 0)).In(t)
			require.NoError(t, l.Pause(soon(t)))
			require.NoError(t, l.Release())
			require.ErrorIs(t, expect.Err(l.Accept(soon(t))), net.ErrClosed, "paused before its end")
		})
	}
}

// A large post under NoWait that found the queue idle was taken, even if none of its bytes is out:
// Held returns all of it.
func TestHeldQueueKeepsHandedPost(t *testing.T) {
	for _, out := range []int{0, 5} {
		k := newGrantCarrier(true, 1<<30)
		q := newPostQueue(newStream(k, nil, connected), nil)
		large := noise(combineMax)
		require.NoError(t, q.Post(NoWait(), large[:100], large[100:], 0))
		k.set(func() { k.room = out })
		require.Eventually(t, func() bool { k.mu.Lock(); defer k.mu.Unlock(); return k.calls > min(out, 1) }, 20*time.Second,
			10*time.Microsecond)
		require.NoError(t, q.Hold(soon(t)))
		require.True(t, bytes.Equal(large, append(k.got, q.Held()...)), "%d bytes are out", out)
		q.End(io.ErrClosedPipe)
	}
}

// A post that waits for the end of a Hold goes on waiting if another one has begun before it could
// look.
func TestPostWaitsForNextHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newGrantCarrier(false, 1<<10)
		k.room = 1
		q := newPostQueue(newStream(k, nil, connected), nil)
		require.NoError(t, q.Hold(soon(t)))
		posted := expect.Aside(func() error { return q.Post(context.Background(), []byte("x"), nil, 0) })
		synctest.Wait()
		q.mu.Lock()
		close(q.held)
		q.held = make(chan struct{})
		q.mu.Unlock()
		synctest.Wait()
		require.Empty(t, q.Held())
		require.Empty(t, posted)
		q.Unhold()
		require.NoError(t, <-posted)
		require.Equal(t, "x", string(k.got))
	})
}
