package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/test/leak"
)

// A tally is a plug-in over system calls that counts its tries to read.
type tally struct {
	reads  atomic.Int64
	vain   atomic.Int64 // how many of them found nothing
	onVain atomic.Pointer[func()]
}

// tallied is one connection: the reader's tries are counted, the peer's are not.
type tallied struct {
	*tally
	s, peer *Stream
	sock    *socket[*UnixSocket]
}

// polls makes a connection with that limit of polling, and a peer that does not poll.
func polls(t testing.TB, limit time.Duration) *tallied {
	t.Helper()
	processors(t, max(runtime.GOMAXPROCS(0), 2))
	return newTallied(t, &poller{limit: limit})
}

func newTallied(t testing.TB, p *poller) *tallied {
	t.Helper()
	y := new(tally)
	cb := UnixCallbacks()
	read := cb.Read
	cb.Read = func(u *UnixSocket, b []byte, tmo time.Duration) (int, error) {
		y.reads.Add(1)
		n, err := read(u, b, tmo)
		if again(err) {
			y.vain.Add(1)
			if f := y.onVain.Load(); f != nil {
				(*f)()
			}
		}
		return n, err
	}
	l, err := WithPolling(Unix(), 0).Listen(socketPath(t), 0)
	require.NoError(t, err)
	s, peer := acceptOne(t, l, func() (*Stream, error) { return (&plugin[*UnixSocket]{&cb, nil, false, p}).Connect(soon(t), l.Addr()) })
	require.NoError(t, l.Close())
	return &tallied{y, s, peer, s.car.(*socket[*UnixSocket])}
}

// inVain calls f after each try in vain; nil: nothing.
func (y *tally) inVain(f func()) {
	if f == nil {
		y.onVain.Store(nil)
		return
	}
	y.onVain.Store(&f)
}

// atVain calls f once, after the n-th try in vain from now.
func (y *tally) atVain(n int64, f func()) {
	n += y.vain.Load()
	y.inVain(func() {
		if y.vain.Load() == n {
			f()
		}
	})
}

// ask writes, so that an answer is likely.
func (y *tallied) ask(t testing.TB) {
	t.Helper()
	_, err := y.s.Writev(context.Background(), []byte("ask"))
	require.NoError(t, err)
	_, err = y.peer.Readv(soon(t), make([]byte, 3))
	require.NoError(t, err)
}

// says makes the peer write.
func (y *tallied) says(t testing.TB, b []byte) {
	if _, err := y.peer.Writev(context.Background(), b); err != nil {
		t.Error(err)
	}
}

// read reads one byte.
func (y *tallied) read(ctx context.Context) (byte, error) {
	var b [1]byte
	_, err := y.s.Readv(ctx, b[:])
	return b[0], err
}

// asleep waits until a reader on another goroutine is parked in the Go poller, as its stack shows.
func asleep(t testing.TB, y *tallied) {
	t.Helper()
	waitsIn(t, "IO wait", "(*tallied).parks")
}

// parks reads one byte on another goroutine; the test can wait until that is asleep.
//
//go:noinline
func (y *tallied) parks(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	go func() { _, err := y.read(ctx); done <- err }()
	return done
}

// form makes short waits for answers a habit: each answer comes while the reader sleeps.
func (y *tallied) form(t testing.TB, asks bool) {
	t.Helper()
	habit := &y.sock.incoming.spin.flow
	if asks {
		habit = &y.sock.incoming.spin.answers
	}
	answer := make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range answer {
			y.says(t, []byte("a"))
		}
	}()
	for range 10_000 {
		if habit.due() {
			break
		}
		if asks {
			y.ask(t)
		}
		y.atVain(1, func() { answer <- struct{}{} })
		_, err := y.read(context.Background())
		require.NoError(t, err)
	}
	y.inVain(nil)
	close(answer)
	<-ended
	require.True(t, habit.due())
}

// hot makes the reader poll for answers, successfully.
func (y *tallied) hot(t testing.TB) {
	t.Helper()
	for range 100 { // a busy machine may not let it poll
		y.form(t, true)
		y.ask(t)
		var answered sync.Once
		answer := func() { answered.Do(func() { y.says(t, []byte("a")) }) }
		late := time.AfterFunc(time.Second, answer) // a try that was held up for longer than the limit is the last one
		y.atVain(3, answer)
		_, err := y.read(context.Background())
		require.NoError(t, err)
		late.Stop()
		if y.sock.incoming.spin.answers.hot && y.sock.wait.(*watcher).reader.events == 0 {
			break
		}
	}
	y.inVain(nil)
	require.True(t, y.sock.incoming.spin.answers.hot)
	require.Zero(t, y.sock.wait.(*watcher).reader.events, "the Go poller was not told to look away")
}

// After a quick ping-pong the reader tries again and again, and finds the answer without having slept.
func TestPollingPingPong(t *testing.T) {
	y := polls(t, 10*time.Second) // no machine is as busy as that
	y.form(t, true)
	for range 20 {
		y.ask(t)
		before := y.reads.Load()
		y.atVain(10, func() { y.says(t, []byte("b")) })
		b, err := y.read(context.Background())
		require.NoError(t, err)
		require.Equal(t, byte('b'), b)
		require.EqualValues(t, 11, y.reads.Load()-before)
	}
}

// Without polling there is one try before a wait, and one after it; the Go poller may wake a reader once for what it has read already.
func TestPollingNone(t *testing.T) {
	y := polls(t, 0)
	answer := make(chan struct{}, 1)
	defer close(answer)
	go func() {
		for range answer {
			y.says(t, []byte("a"))
		}
	}()
	const trips = 10 * pollProbe
	for range trips {
		y.ask(t)
		before := y.vain.Load()
		y.atVain(1, func() { answer <- struct{}{} })
		_, err := y.read(context.Background())
		require.NoError(t, err)
		require.LessOrEqual(t, y.vain.Load()-before, int64(2))
	}
	require.False(t, y.sock.incoming.spin.answers.hot)
}

// A reader that was hot before sleeps when nothing comes: whatever happens elsewhere, it makes no call.
func TestPollingIdle(t *testing.T) {
	y := polls(t, time.Millisecond)
	y.hot(t)
	busy := newTallied(t, y.sock.poller)
	y.ask(t)
	reading := y.parks(context.Background())
	asleep(t, y)
	before := y.reads.Load()
	for range 5 {
		busy.hot(t)
		busy.sock.incoming.spin = spin{}
	}
	require.Equal(t, before, y.reads.Load())
	y.says(t, []byte("x"))
	require.NoError(t, returns(t, reading))
}

// When the peer stops answering the reader tries for a while a few times, then sleeps at once; what comes wakes it all the same.
func TestPollingPeerStops(t *testing.T) {
	y := polls(t, time.Millisecond)
	y.hot(t)
	for i := range pollMisses + 3 {
		y.ask(t)
		before := y.reads.Load()
		reading := y.parks(context.Background())
		asleep(t, y)
		tries := y.reads.Load() - before
		if i >= pollMisses {
			require.LessOrEqual(t, tries, int64(2))
		} else {
			require.LessOrEqual(t, tries, int64(time.Millisecond*4/pollPause))
		}
		require.Zero(t, y.sock.poller.busy.Load())
		y.says(t, []byte("x"))
		require.NoError(t, returns(t, reading))
	}
	require.False(t, y.sock.incoming.spin.answers.hot)
}

// A byte that comes at the very moment at which a reader that has polled in vain goes to sleep wakes the reader.
func TestPollingLastMoment(t *testing.T) {
	y := polls(t, time.Millisecond)
	y.hot(t)
	for range 10 {
		// A reader that slept and was woken: the Go poller has seen the socket ready.
		y.ask(t)
		reading := y.parks(context.Background())
		asleep(t, y)
		y.says(t, []byte("a"))
		require.NoError(t, returns(t, reading))
		// The reader polls with success, so the Go poller is told to look away.
		y.hot(t)
		y.ask(t)
		y.atVain(2, func() {
			time.Sleep(8 * time.Millisecond) // its time is over
			y.says(t, []byte("b"))
		})
		require.NoError(t, returns(t, aside(func() error { _, err := y.read(context.Background()); return err })))
		y.inVain(nil)
	}
}

// The same if there is no poll, because all processors are taken.
func TestPollingLastMomentBusy(t *testing.T) {
	y := polls(t, time.Millisecond)
	for range 10 {
		y.ask(t)
		reading := y.parks(context.Background())
		asleep(t, y)
		y.says(t, []byte("a"))
		require.NoError(t, returns(t, reading))
		y.hot(t)
		for y.sock.poller.place() {
		}
		y.ask(t)
		y.atVain(1, func() { y.says(t, []byte("b")) })
		require.NoError(t, returns(t, aside(func() error { _, err := y.read(context.Background()); return err })))
		y.inVain(nil)
		y.sock.poller.busy.Store(0)
	}
}

// While as many readers poll as may, another one sleeps at once; afterwards it polls again.
func TestPollingPlaces(t *testing.T) {
	y := polls(t, time.Millisecond)
	y.hot(t)
	places := 0
	for ; y.sock.poller.place(); places++ {
	}
	require.Equal(t, runtime.GOMAXPROCS(0)-1, places)
	for range 10 {
		y.ask(t)
		before := y.vain.Load()
		reading := y.parks(context.Background())
		asleep(t, y)
		require.LessOrEqual(t, y.vain.Load()-before, int64(2))
		y.says(t, []byte("x"))
		require.NoError(t, returns(t, reading))
	}
	for range places {
		y.sock.poller.leave()
	}
	y.sock.poller.limit = 10 * time.Second
	y.ask(t)
	y.atVain(5, func() { y.says(t, []byte("y")) })
	before := y.reads.Load()
	_, err := y.read(context.Background())
	require.NoError(t, err)
	require.EqualValues(t, 6, y.reads.Load()-before)
}

// Where messages flow one way the reader naps, and takes what came meanwhile in one call.
func TestPollingNap(t *testing.T) {
	const limit = 20 * time.Millisecond
	y := polls(t, limit)
	y.form(t, false)
	var sent []byte
	y.atVain(1, func() {
		for i := range 10 {
			sent = append(sent, byte(i))
			y.says(t, sent[i:])
		}
	})
	before, begun := y.reads.Load(), time.Now()
	for i := range 10 {
		b, err := y.read(context.Background())
		require.NoError(t, err)
		require.Equal(t, byte(i), b)
	}
	require.GreaterOrEqual(t, time.Since(begun), limit)
	require.EqualValues(t, 2, y.reads.Load()-before)
	require.True(t, y.sock.incoming.spin.flow.hot)
}

// A long flow of small packets of any pace loses nothing, whether its reader sleeps, naps or dozes.
func TestPollingFlow(t *testing.T) {
	flow := func(limit, doze time.Duration) {
		y := polls(t, limit)
		const packets = 20_000
		go func() {
			for i := range packets {
				y.says(t, binary.BigEndian.AppendUint32(nil, uint32(i)))
				if i%7 == 0 {
					runtime.Gosched()
				}
				if i%1000 == 0 {
					time.Sleep(10 * time.Microsecond) // a gap
				}
			}
		}()
		var b [4]byte
		for i := range packets {
			if doze > 0 {
				y.dozes(doze)
			}
			_, err := y.s.Readv(soon(t), b[:])
			require.NoError(t, err)
			require.EqualValues(t, i, binary.BigEndian.Uint32(b[:]))
		}
	}
	for _, limit := range []time.Duration{0, DefaultPolling, MaxPolling} {
		flow(limit, 0)
	}
	flow(DefaultPolling, 100*time.Microsecond)
	flow(DefaultPolling, time.Millisecond)
}

// Whatever ends a read ends it while it polls or naps, and while it sleeps afterwards; nothing is lost by that.
func TestPollingEnds(t *testing.T) {
	moments := map[string]func(t *testing.T, y *tallied) (now <-chan struct{}){
		"polling": func(t *testing.T, y *tallied) <-chan struct{} {
			y.hot(t)
			y.sock.poller.limit = 100 * time.Millisecond // a busy machine may not let it try that often in less
			y.ask(t)
			now := make(chan struct{})
			y.atVain(3, func() { close(now) })
			return now
		},
		"napping": func(t *testing.T, y *tallied) <-chan struct{} {
			y.form(t, false)
			now := make(chan struct{})
			y.atVain(1, func() { close(now) })
			return now
		},
		"sitting": func(t *testing.T, y *tallied) <-chan struct{} {
			undisturbed(t, y.sock.poller)
			y.sits(t)
			y.ask(t)
			return closed(t, func() bool { return y.seat() != nil })
		},
	}
	for moment, when := range moments {
		for name, end := range map[string]func(t *testing.T, y *tallied, cancel func()) error{
			"Close":      func(t *testing.T, y *tallied, _ func()) error { require.NoError(t, y.s.Close()); return net.ErrClosed },
			"cancelled":  func(_ *testing.T, _ *tallied, cancel func()) error { cancel(); return context.Canceled },
			"disconnect": func(t *testing.T, y *tallied, _ func()) error { require.NoError(t, y.peer.Close()); return io.EOF },
			"export": func(t *testing.T, y *tallied, cancel func()) error {
				_, _, err := y.s.Export()
				require.ErrorIs(t, err, ErrBusy)
				cancel()
				return context.Canceled
			},
		} {
			t.Run(name+" while "+moment, func(t *testing.T) {
				y := polls(t, time.Millisecond)
				now := when(t, y)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				reading := aside(func() error { _, err := y.read(ctx); return err })
				returns(t, now)
				want := end(t, y, cancel)
				require.ErrorIs(t, returns(t, reading), want)
				if want != context.Canceled {
					return
				}
				y.says(t, []byte("z"))
				b, err := y.read(soon(t))
				require.NoError(t, err)
				require.Equal(t, byte('z'), b)
				y.says(t, []byte("0123456789"))
				_, err = y.read(soon(t))
				require.NoError(t, err)
				_, ahead, err := y.s.Export()
				require.NoError(t, err)
				require.Equal(t, "123456789", string(ahead))
			})
		}
		t.Run("deadline while "+moment, func(t *testing.T) {
			y := polls(t, time.Millisecond)
			when(t, y)
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Microsecond)
			defer cancel()
			_, err := y.read(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		t.Run("a single try", func(t *testing.T) {
			y := polls(t, time.Millisecond)
			when(t, y)
			y.inVain(nil)
			before := y.reads.Load()
			_, err := y.read(NoWait())
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.EqualValues(t, 1, y.reads.Load()-before)
		})
	}
}

// The user of the descriptor itself is woken although the poller was told to look away.
func TestPollingSyscallConn(t *testing.T) {
	y := polls(t, time.Millisecond)
	for _, early := range []bool{true, false} {
		y.ask(t)
		reading := y.parks(context.Background())
		asleep(t, y)
		y.says(t, []byte("a"))
		require.NoError(t, returns(t, reading))
		y.hot(t)
		raw, err := y.s.SyscallConn()
		require.NoError(t, err)
		tried := make(chan struct{})
		got := make([]byte, 10)
		read := aside(func() (err error) {
			first := true
			n := 0
			cerr := raw.Read(func(fd uintptr) bool {
				if n, err = syscall.Read(int(fd), got); !again(err) {
					return true
				}
				if first {
					first = false
					if early { // between the look and the wait
						y.says(t, []byte("mine"))
					}
					close(tried)
				}
				return false
			})
			got = got[:max(n, 0)]
			return errors.Join(cerr, err)
		})
		returns(t, tried)
		if !early {
			y.says(t, []byte("mine"))
		}
		require.NoError(t, returns(t, read))
		require.Equal(t, "mine", string(got))
	}
	// The stream is none the worse.
	y.hot(t)
}

// Several connects in progress at once, each waited for through an epoll descriptor of its own: each has its own result.
func TestConnectsInProgress(t *testing.T) {
	l := crowded(t, TCP(), loopback())
	ctx, cancel := context.WithCancel(context.Background())
	var cancelled, established []<-chan error
	for range 3 {
		cancelled = append(cancelled, aside(func() error { _, err := TCP().Connect(ctx, l.Addr()); return err }))
		established = append(established, aside(func() error {
			s, err := TCP().Connect(soon(t), l.Addr())
			if err != nil {
				return err
			}
			assert.Nil(t, watcherOf(t, s).writer.file, "what the connect was waited for with")
			return s.Close()
		}))
	}
	time.AfterFunc(5*time.Millisecond, cancel)
	for _, c := range cancelled {
		require.ErrorIs(t, returns(t, c), context.Canceled)
	}
	accepting, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			s, err := l.Accept(accepting)
			if err != nil {
				return
			}
			_ = s.Close() // the peer may be gone already
		}
	})
	for _, c := range established {
		require.NoError(t, returns(t, c))
	}
	stop()
	wg.Wait()

	l = crowded(t, TCP(), loopback())
	var refused []<-chan error
	for range 3 {
		refused = append(refused, aside(func() error { _, err := TCP().Connect(soon(t), l.Addr()); return err }))
	}
	require.NoError(t, l.Close())
	for _, c := range refused {
		require.ErrorIs(t, returns(t, c), syscall.ECONNREFUSED)
	}
}

func watcherOf(t testing.TB, s *Stream) *watcher {
	switch c := s.car.(type) {
	case *socket[int]:
		return c.wait.(*watcher)
	case *socket[*UnixSocket]:
		return c.wait.(*watcher)
	}
	require.FailNow(t, "unknown socket", "%T", s.car)
	return nil
}

// opened is how many descriptors have been opened since before.
func opened(t testing.TB, before map[string]string) int {
	t.Helper()
	n := 0
	for fd, target := range leak.Descriptors() {
		if before[fd] != target {
			n++
		}
	}
	return n
}

// A connection that has never slept has one descriptor, an idle one two; three where a write has had to wait. None is left behind.
func TestDescriptors(t *testing.T) {
	overSockets(t, func(t *testing.T, tr Transport, at Addr) {
		requireSpeakOnce(t, tr, at)
		before := leak.Descriptors()
		c, s := pair(t, tr, at)
		require.Equal(t, 2, opened(t, before))
		requireSpeak(t, c, s)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for _, idle := range []*Stream{c, s} {
			waiting, stop := context.WithCancel(ctx)
			reading := aside(func() error { _, err := idle.Readv(waiting, make([]byte, 1)); return err })
			require.Eventually(t, func() bool {
				w := watcherOf(t, idle)
				w.mu.Lock()
				defer w.mu.Unlock()
				return w.reader.raw != nil
			}, 20*time.Second, time.Millisecond)
			stop()
			require.ErrorIs(t, returns(t, reading), context.Canceled)
		}
		require.Equal(t, 4, opened(t, before), "nobody had to wait for room")
		stuck := aside(func() error { _, err := c.Writev(ctx, make([]byte, 64<<20)); return err })
		require.Eventually(t, func() bool { return opened(t, before) == 5 }, 20*time.Second, time.Millisecond)
		cancel()
		require.ErrorIs(t, returns(t, stuck), context.Canceled)
		require.Equal(t, 5, opened(t, before))
		require.NoError(t, c.Close())
		require.Equal(t, 2, opened(t, before))
		require.NoError(t, s.Close())
		require.Zero(t, opened(t, before))
	})
}

// Polling changes nothing but the time: whatever is written, read and waited for, the same bytes come.
func TestPollingSameBytes(t *testing.T) {
	processors(t, max(runtime.GOMAXPROCS(0), 2))
	rapid.Check(t, func(rt *rapid.T) {
		type step struct{ Kind, Size int }
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{rapid.IntRange(0, 4).Draw(t, "kind"), rapid.IntRange(1, 3000).Draw(t, "size")}
		}), 1, 60).Draw(rt, "steps")
		run := func(limit time.Duration) (got []byte) {
			y := newTallied(t, &poller{limit: limit})
			defer y.s.Close()
			defer y.peer.Close()
			var next byte
			some := func(n int) []byte {
				b := make([]byte, n)
				for i := range b {
					b[i] = next
					next++
				}
				return b
			}
			there := 0
			read := func(n int) {
				b := make([]byte, n)
				if _, err := y.s.Readv(soon(t), b); err != nil {
					rt.Fatal(err)
				}
				got = append(got, b...)
			}
			for _, st := range steps {
				switch st.Kind {
				case 0: // the peer writes
					y.says(t, some(st.Size))
					there += st.Size
				case 1: // part of it is read
					if n := min(st.Size, there); n > 0 {
						read(n)
						there -= n
					}
				case 2: // a read has to wait
					b := some(st.Size)
					late := aside(func() error { _, err := y.peer.Writev(soon(t), b); return err })
					read(there + st.Size)
					there = 0
					if err := returns(t, late); err != nil {
						rt.Fatal(err)
					}
				case 3: // a ping-pong
					y.ask(t)
				case 4:
					time.Sleep(time.Duration(st.Size) * time.Nanosecond)
				}
			}
			if there > 0 {
				read(there)
			}
			return got
		}
		with, without := run(DefaultPolling), run(0)
		if !bytes.Equal(with, without) {
			rt.Fatalf("%d bytes with polling, %d without", len(with), len(without))
		}
	})
}

// requireSpeakOnce uses a connection to its end, so that descriptors that are made once for all are there.
func requireSpeakOnce(t testing.TB, tr Transport, at Addr) {
	c, s := pair(t, tr, at)
	requireSpeak(t, c, s)
	require.NoError(t, c.Close())
	require.NoError(t, s.Close())
}

// A context that outlives its waits keeps none of them in memory; if it ends between two waits it ends neither.
func TestWaitLeavesItsContext(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	held := func(e *epoch) int {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.funcs)
	}
	waits := func(ctx context.Context, e *epoch) {
		t.Helper()
		read := aside(func() error { _, err := s.Read(ctx, make([]byte, 1)); return err })
		if e != nil {
			require.Eventually(t, func() bool { return held(e) == 1 }, 20*time.Second, 100*time.Microsecond)
		}
		waitsIn(t, "", "socket[...]).read")
		_, err := c.Writev(soon(t), []byte("x"))
		require.NoError(t, err)
		require.NoError(t, returns(t, read))
	}
	once, often, last := newEpoch(), newEpoch(), newEpoch()
	waits(once, once)
	require.Zero(t, held(once), "after one wait")
	waits(often, often)
	waits(often, often)
	require.Equal(t, 1, held(often), "the next wait mostly has the same")
	waits(soon(t), nil)
	require.Zero(t, held(often), "after the wait of another one")

	waits(last, last)
	waits(last, last)
	last.expire()
	d := s.car.(*socket[int]).wait.reading()
	require.Eventually(t, func() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.watched == nil }, 20*time.Second, 100*time.Microsecond)
	waits(context.Background(), nil)

	waits(often, often)
	waits(often, often)
	require.NoError(t, s.Close())
	require.Zero(t, held(often), "after Close")
}
