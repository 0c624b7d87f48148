package await

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/internal/test/expect"
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
	policy  *Policy
	s, peer *line
}

// polls makes a connection with that limit of polling, and a peer that does not poll.
func polls(t testing.TB, limit time.Duration) *tallied {
	t.Helper()
	processors(t, max(runtime.GOMAXPROCS(0), 2))
	return newTallied(t, &Policy{limit: limit})
}

func newTallied(t testing.TB, p *Policy) *tallied {
	t.Helper()
	y := &tallied{tally: new(tally), policy: p}
	y.s, y.peer = lines(t, p)
	read := y.s.tryRead
	y.s.tryRead = func() (int, bool) {
		y.reads.Add(1)
		n, done := read()
		if !done {
			y.vain.Add(1)
			if f := y.onVain.Load(); f != nil {
				(*f)()
			}
		}
		return n, done
	}
	return y
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
	expect.WaitsIn(t, "IO wait", "(*tallied).parks")
}

// parks reads one byte on another goroutine; the test can wait until that is asleep.
//
//go:noinline
func (y *tallied) parks(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	go func() { _, err := y.read(ctx); done <- err }()
	return done
}

// form makes short waits for answers a kind: each answer comes while the reader sleeps.
func (y *tallied) form(t testing.TB, asks bool) {
	t.Helper()
	kind := &y.s.In.traffic.flow
	if asks {
		kind = &y.s.In.traffic.answers
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
		if kind.due() {
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
	require.True(t, kind.due())
}

// hot makes the reader poll for answers, successfully.
func (y *tallied) hot(t testing.TB) {
	t.Helper()
	for range 100 { // a busy machine may not let it poll
		y.form(t, true)
		y.ask(t)
		var answered sync.Once
		answer := func() { answered.Do(func() { y.says(t, []byte("a")) }) }
		// A try that was held up for longer than the limit is the last one.
		late := time.AfterFunc(time.Second, answer)
		y.atVain(3, answer)
		_, err := y.read(context.Background())
		require.NoError(t, err)
		late.Stop()
		if y.s.In.traffic.answers.hot && y.s.watch.(*watcher).reader.events == 0 {
			break
		}
	}
	y.inVain(nil)
	require.True(t, y.s.In.traffic.answers.hot)
	require.Zero(t, y.s.watch.(*watcher).reader.events, "the Go poller was not told to look away")
}

// After a quick ping-pong the reader tries again and again, and finds the answer without having
// slept.
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

// Without polling there is one try before a wait, and one after it; the Go poller may wake a reader
// once for what it has read already.
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
	require.False(t, y.s.In.traffic.answers.hot)
}

// A reader that was hot before sleeps when nothing comes: whatever happens elsewhere, it makes no
// call.
func TestPollingIdle(t *testing.T) {
	y := polls(t, time.Millisecond)
	y.hot(t)
	busy := newTallied(t, y.policy)
	y.ask(t)
	reading := y.parks(context.Background())
	asleep(t, y)
	before := y.reads.Load()
	for range 5 {
		busy.hot(t)
		busy.s.In.traffic = traffic{}
	}
	require.Equal(t, before, y.reads.Load())
	y.says(t, []byte("x"))
	require.NoError(t, returns(t, reading))
}

// When the peer stops answering the reader tries for a while a few times, then sleeps at once; what
// comes wakes it all the same.
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
		require.Zero(t, y.policy.busy.Load())
		y.says(t, []byte("x"))
		require.NoError(t, returns(t, reading))
	}
	require.False(t, y.s.In.traffic.answers.hot)
}

// A byte that comes at the very moment at which a reader that has polled in vain goes to sleep
// wakes the reader.
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
		for y.policy.place() {
		}
		y.ask(t)
		y.atVain(1, func() { y.says(t, []byte("b")) })
		require.NoError(t, returns(t, aside(func() error { _, err := y.read(context.Background()); return err })))
		y.inVain(nil)
		y.policy.busy.Store(0)
	}
}

// While as many readers poll as may, another one sleeps at once; afterwards it polls again.
func TestPollingPlaces(t *testing.T) {
	y := polls(t, time.Millisecond)
	y.hot(t)
	places := 0
	for ; y.policy.place(); places++ {
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
		y.policy.leave()
	}
	y.policy.limit = 10 * time.Second
	y.ask(t)
	y.atVain(5, func() { y.says(t, []byte("y")) })
	before := y.reads.Load()
	_, err := y.read(context.Background())
	require.NoError(t, err)
	require.EqualValues(t, 6, y.reads.Load()-before)
}

// Where messages flow one way the reader sleeps for a moment, and takes what came meanwhile in one
// call.
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
	require.True(t, y.s.In.traffic.flow.hot)
}

// A long flow of small packets of any pace loses nothing, whether its reader sleeps, briefly or
// not, or lets messages gather.
func TestPollingFlow(t *testing.T) {
	flow := func(limit, gather time.Duration) {
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
			if gather > 0 {
				y.letsGather(gather)
			}
			_, err := y.s.Readv(soon(t), b[:])
			require.NoError(t, err)
			require.EqualValues(t, i, binary.BigEndian.Uint32(b[:]))
		}
	}
	for _, limit := range []time.Duration{0, 60 * time.Microsecond, time.Millisecond} {
		flow(limit, 0)
	}
	flow(60*time.Microsecond, 100*time.Microsecond)
	flow(60*time.Microsecond, time.Millisecond)
}

// Whatever ends a read ends it while it polls or sleeps briefly, and while it sleeps afterwards;
// nothing is lost by that.
func TestPollingEnds(t *testing.T) {
	moments := map[string]func(t *testing.T, y *tallied) (now <-chan struct{}){
		"polling": func(t *testing.T, y *tallied) <-chan struct{} {
			y.hot(t)
			// A busy machine may not let it try that often in less.
			y.policy.limit = 100 * time.Millisecond
			y.ask(t)
			now := make(chan struct{})
			y.atVain(3, func() { close(now) })
			return now
		},
		"sleeping briefly": func(t *testing.T, y *tallied) <-chan struct{} {
			y.form(t, false)
			now := make(chan struct{})
			y.atVain(1, func() { close(now) })
			return now
		},
		"blocked": func(t *testing.T, y *tallied) <-chan struct{} {
			undisturbed(t, y.policy)
			y.blocks(t)
			y.ask(t)
			return closed(t, func() bool { return y.thread() != nil })
		},
	}
	for moment, when := range moments {
		for name, end := range map[string]func(t *testing.T, y *tallied, cancel func()) error{
			"Close":      func(t *testing.T, y *tallied, _ func()) error { require.NoError(t, y.s.Close()); return os.ErrClosed },
			"cancelled":  func(_ *testing.T, _ *tallied, cancel func()) error { cancel(); return context.Canceled },
			"disconnect": func(t *testing.T, y *tallied, _ func()) error { require.NoError(t, y.peer.Close()); return io.EOF },
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
		raw := y.s.RawConn()
		tried := make(chan struct{})
		got := make([]byte, 10)
		read := aside(func() (err error) {
			first := true
			n := 0
			cerr := raw.Read(func(fd uintptr) bool {
				if n, err = syscall.Read(int(fd), got); err != syscall.EAGAIN {
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

// Polling changes nothing but the time: whatever is written, read and waited for, the same bytes
// come.
func TestPollingSameBytes(t *testing.T) {
	processors(t, max(runtime.GOMAXPROCS(0), 2))
	rapid.Check(t, func(rt *rapid.T) {
		type step struct{ Kind, Size int }
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{rapid.IntRange(0, 4).Draw(t, "kind"), rapid.IntRange(1, 3000).Draw(t, "size")}
		}), 1, 60).Draw(rt, "steps")
		run := func(limit time.Duration) (got []byte) {
			y := newTallied(t, &Policy{limit: limit})
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
		with, without := run(60*time.Microsecond), run(0)
		if !bytes.Equal(with, without) {
			rt.Fatalf("%d bytes with polling, %d without", len(with), len(without))
		}
	})
}

// A context that outlives its waits keeps none of them in memory; if it ends between two waits it
// ends neither.
func TestWaitLeavesItsContext(t *testing.T) {
	s, c := lines(t, NewPolicy(0))
	held := func(e *until) int {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.funcs)
	}
	waits := func(ctx context.Context, e *until) {
		t.Helper()
		read := aside(func() error { _, err := s.Readv(ctx, make([]byte, 1)); return err })
		if e != nil {
			require.Eventually(t, func() bool { return held(e) == 1 }, tooLong, 100*time.Microsecond)
		}
		expect.WaitsIn(t, "", "(*Reader).Do")
		_, err := c.Writev(soon(t), []byte("x"))
		require.NoError(t, err)
		require.NoError(t, returns(t, read))
	}
	once, often, last := newUntil(), newUntil(), newUntil()
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
	d := s.watch.reading()
	require.Eventually(t, func() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.watched == nil }, tooLong, 100*time.Microsecond)
	waits(context.Background(), nil)

	waits(often, often)
	waits(often, often)
	require.NoError(t, s.Close())
	require.Zero(t, held(often), "after Close")
}

// Acknowledging at once is tried only once on a descriptor that is no TCP connection.
func TestUnixIsNotAcknowledged(t *testing.T) {
	c, s := lines(t, NewPolicy(0))
	for range 2 {
		_, err := s.Writev(t.Context(), make([]byte, pollBulk))
		require.NoError(t, err)
		_, err = c.Readv(t.Context(), make([]byte, pollBulk))
		require.NoError(t, err)
	}
	require.True(t, c.In.silent)
}

// A deadline that is never set gathers nothing for the waits under it.
func TestDeadlineGathersNothing(t *testing.T) {
	s, c := lines(t, NewPolicy(0))
	var d Deadline
	for range 100 {
		read := aside(func() error { _, err := s.Readv(d.Context(), make([]byte, 1)); return err })
		expect.WaitsIn(t, "", "(*Reader).Do")
		_, err := c.Writev(soon(t), []byte("x"))
		require.NoError(t, err)
		require.NoError(t, returns(t, read))
	}
	e := d.Context().(*until)
	e.mu.Lock()
	defer e.mu.Unlock()
	require.LessOrEqual(t, len(e.funcs), 1)
}
