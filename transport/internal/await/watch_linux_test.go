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
	"github.com/cnode-go/cnode/transport/internal/patience"
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

// limited makes a connection with that limit of naps and spinning, and a peer that always sleeps.
func limited(t testing.TB, limit time.Duration) *tallied {
	t.Helper()
	processors(t, max(runtime.GOMAXPROCS(0), 2))
	return newTallied(t, NewPolicy(limit))
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
	require.NoError(t, expect.Err(y.s.Writev(context.Background(), []byte("ask"))))
	require.NoError(t, expect.Err(y.peer.Readv(soon(t), make([]byte, 3))))
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

// spins makes the reader spin in its next wait, as for the rest of something large.
func (y *tallied) spins() {
	y.readMuch()
	y.s.In.traffic.rest = habit{formed: true}
}

// readMuch makes the last read one of something large.
func (y *tallied) readMuch() {
	y.s.In.traffic.last = largeRead
	y.s.In.traffic.wrote.Store(false)
}

// naps makes the reader nap in its next wait, as in a flow.
func (y *tallied) naps() { y.s.In.traffic.flow = habit{formed: true} }

// spun makes the reader spin with success, so that the Go poller looks away.
func (y *tallied) spun(t testing.TB) {
	t.Helper()
	w := y.s.watch.(*watcher)
	for range 100 { // a busy machine may not let it spin
		y.spins()
		var once sync.Once
		come := func() { once.Do(func() { y.says(t, []byte("a")) }) }
		// A try that was held up for longer than the limit is the last one.
		late := time.AfterFunc(time.Second, come)
		y.atVain(2, come)
		require.NoError(t, expect.Err(y.read(context.Background())))
		late.Stop()
		if y.s.In.traffic.came && w.reader.events == 0 {
			break
		}
	}
	y.inVain(nil)
	require.Zero(t, w.reader.events, "the Go poller was not told to look away")
}

// The reader tries again and again for the rest of something large, and has it without having
// slept.
func TestSpinsForRest(t *testing.T) {
	y := limited(t, 10*time.Second) // no machine is as busy as that
	for range 20 {
		y.spins()
		before := y.reads.Load()
		y.atVain(10, func() { y.says(t, []byte("b")) })
		b := expect.NoError(y.read(context.Background())).In(t)
		require.Equal(t, byte('b'), b)
		require.EqualValues(t, 11, y.reads.Load()-before)
	}
}

// For an answer there is one try before a wait, and one after it, whatever else the reader is used
// to; the Go poller may wake a reader once for what it has read already.
func TestSpinsForNoAnswer(t *testing.T) {
	for _, limit := range []time.Duration{0, 10 * time.Second} {
		y := limited(t, limit)
		answer := make(chan struct{}, 1)
		go func() {
			for range answer {
				y.says(t, []byte("a"))
			}
		}()
		for range 100 {
			y.spins()
			y.naps()
			y.ask(t)
			before := y.vain.Load()
			y.atVain(1, func() { answer <- struct{}{} })
			require.NoError(t, expect.Err(y.read(context.Background())))
			require.LessOrEqual(t, y.vain.Load()-before, int64(2))
		}
		close(answer)
	}
}

// A writer sleeps until there is room: it tries once before, and once after it, whatever its waits
// were like.
func TestWriterDoesNotSpin(t *testing.T) {
	y := limited(t, 10*time.Second)
	for _, onThread := range []bool{false, true} {
		for range 20 {
			vain := 0
			full := make(chan struct{}, 1)
			y.s.tried = func(err error) {
				if err == syscall.EAGAIN {
					if vain++; vain == 1 {
						full <- struct{}{}
					}
				}
			}
			y.s.Out.thread.formed = onThread
			const size = 4 << 20
			written := expect.Aside(func() error { _, err := y.s.Writev(soon(t), make([]byte, size)); return err })
			expect.Returns(t, full)
			require.NoError(t, y.s.watch.prepare(true))
			require.NoError(t, expect.Err(io.ReadFull(y.peer, make([]byte, size))))
			require.NoError(t, expect.Returns(t, written))
			// Whenever the peer has made some room.
			require.Less(t, vain, 3*size/(16<<10))
		}
	}
}

// A reader that has spun sleeps when nothing comes: whatever happens elsewhere, it makes no call.
func TestSpinsNotWhenIdle(t *testing.T) {
	y := limited(t, time.Millisecond)
	y.spun(t)
	busy := newTallied(t, y.policy)
	y.spins()
	reading := y.parks(context.Background())
	asleep(t, y)
	before := y.reads.Load()
	for range 5 {
		busy.spun(t)
	}
	require.Equal(t, before, y.reads.Load())
	y.says(t, []byte("x"))
	require.NoError(t, expect.Returns(t, reading))
}

// When the rest does not come the reader spins a few times, then sleeps at once; what comes wakes
// it all the same.
func TestSpinsNotForWhatDoesNotCome(t *testing.T) {
	y := limited(t, time.Millisecond)
	y.spins()
	for i := range habitEnds + 3 {
		y.readMuch()
		before := y.reads.Load()
		reading := y.parks(context.Background())
		asleep(t, y)
		tries := y.reads.Load() - before
		if i >= habitEnds {
			require.LessOrEqual(t, tries, int64(2))
		} else {
			require.LessOrEqual(t, tries, int64(time.Millisecond/spinPause)+2)
		}
		require.Zero(t, y.policy.busy.Load())
		y.says(t, []byte("x"))
		require.NoError(t, expect.Returns(t, reading))
	}
	require.False(t, y.s.In.traffic.rest.formed)
}

// A byte that comes at the very moment at which a reader that has spun in vain goes to sleep wakes
// the reader.
func TestSpinningLastMoment(t *testing.T) {
	y := limited(t, time.Millisecond)
	y.spun(t)
	for range 10 {
		// A reader that slept and was woken: the Go poller has seen the socket ready.
		reading := y.parks(context.Background())
		asleep(t, y)
		y.says(t, []byte("a"))
		require.NoError(t, expect.Returns(t, reading))
		// The reader spins with success, so the Go poller is told to look away.
		y.spun(t)
		y.spins()
		y.atVain(2, func() {
			time.Sleep(8 * time.Millisecond) // its time is over
			y.says(t, []byte("b"))
		})
		require.NoError(t, expect.Returns(t, expect.Aside(func() error { _, err := y.read(context.Background()); return err })))
		y.inVain(nil)
	}
}

// The same if the reader does not spin, because all processors are taken.
func TestSpinningLastMomentBusy(t *testing.T) {
	y := limited(t, time.Millisecond)
	for range 10 {
		reading := y.parks(context.Background())
		asleep(t, y)
		y.says(t, []byte("a"))
		require.NoError(t, expect.Returns(t, reading))
		y.spun(t)
		y.spins()
		for y.policy.enter() {
		}
		y.atVain(1, func() { y.says(t, []byte("b")) })
		require.NoError(t, expect.Returns(t, expect.Aside(func() error { _, err := y.read(context.Background()); return err })))
		y.inVain(nil)
		y.policy.busy.Store(0)
	}
}

// While as many readers spin as may, another one sleeps at once; afterwards it spins again.
func TestSpinningPlaces(t *testing.T) {
	y := limited(t, time.Millisecond)
	places := 0
	for ; y.policy.enter(); places++ {
	}
	require.Equal(t, runtime.GOMAXPROCS(0)-1, places)
	for range 10 {
		y.spins()
		before := y.vain.Load()
		reading := y.parks(context.Background())
		asleep(t, y)
		require.LessOrEqual(t, y.vain.Load()-before, int64(2))
		y.says(t, []byte("x"))
		require.NoError(t, expect.Returns(t, reading))
	}
	for range places {
		y.policy.leave()
	}
	y.policy.limit = 10 * time.Second
	y.spins()
	y.atVain(5, func() { y.says(t, []byte("y")) })
	before := y.reads.Load()
	require.NoError(t, expect.Err(y.read(context.Background())))
	require.EqualValues(t, 6, y.reads.Load()-before)
}

// Where messages flow one way the reader sleeps for a moment, and takes what came meanwhile in one
// call.
func TestNap(t *testing.T) {
	const limit = 20 * time.Millisecond
	y := limited(t, limit)
	y.naps()
	var sent []byte
	y.atVain(1, func() {
		for i := range 10 {
			sent = append(sent, byte(i))
			y.says(t, sent[i:])
		}
	})
	before, begun := y.reads.Load(), time.Now()
	for i := range 10 {
		b := expect.NoError(y.read(context.Background())).In(t)
		require.Equal(t, byte(i), b)
	}
	require.GreaterOrEqual(t, time.Since(begun), limit)
	require.EqualValues(t, 2, y.reads.Load()-before)
	require.True(t, y.s.In.traffic.flow.formed)
}

// A long flow of small packets of any pace loses nothing, whether its reader sleeps, briefly or
// not, or lets messages gather.
func TestFlow(t *testing.T) {
	flow := func(limit, gather time.Duration) {
		y := limited(t, limit)
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
			require.NoError(t, expect.Err(y.s.Readv(soon(t), b[:])))
			require.EqualValues(t, i, binary.BigEndian.Uint32(b[:]))
		}
	}
	for _, limit := range []time.Duration{0, 60 * time.Microsecond, time.Millisecond} {
		flow(limit, 0)
	}
	flow(60*time.Microsecond, 100*time.Microsecond)
	flow(60*time.Microsecond, time.Millisecond)
}

// Whatever ends a read ends it while it spins or naps, and while it sleeps afterwards;
// nothing is lost by that.
func TestWaitEnds(t *testing.T) {
	moments := map[string]func(t *testing.T, y *tallied) (now <-chan struct{}){
		"spinning": func(t *testing.T, y *tallied) <-chan struct{} {
			y.spins()
			// A busy machine may not let it try that often in less.
			y.policy.limit = 100 * time.Millisecond
			now := make(chan struct{})
			y.atVain(3, func() { close(now) })
			return now
		},
		"napping": func(_ *testing.T, y *tallied) <-chan struct{} {
			y.naps()
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
				y := limited(t, time.Millisecond)
				now := when(t, y)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				reading := expect.Aside(func() error { _, err := y.read(ctx); return err })
				expect.Returns(t, now)
				want := end(t, y, cancel)
				require.ErrorIs(t, expect.Returns(t, reading), want)
				if want != context.Canceled {
					return
				}
				y.says(t, []byte("z"))
				b := expect.NoError(y.read(soon(t))).In(t)
				require.Equal(t, byte('z'), b)
			})
		}
		t.Run("deadline while "+moment, func(t *testing.T) {
			y := limited(t, time.Millisecond)
			when(t, y)
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Microsecond)
			defer cancel()
			require.ErrorIs(t, expect.Err(y.read(ctx)), context.DeadlineExceeded)
		})
		t.Run("a single try", func(t *testing.T) {
			y := limited(t, time.Millisecond)
			when(t, y)
			y.inVain(nil)
			before := y.reads.Load()
			require.ErrorIs(t, expect.Err(y.read(patience.NoWait())), os.ErrDeadlineExceeded)
			require.EqualValues(t, 1, y.reads.Load()-before)
		})
	}
}

// The user of the descriptor itself is woken although the poller was told to look away.
func TestSyscallConnIsWoken(t *testing.T) {
	y := limited(t, time.Millisecond)
	for _, early := range []bool{true, false} {
		reading := y.parks(context.Background())
		asleep(t, y)
		y.says(t, []byte("a"))
		require.NoError(t, expect.Returns(t, reading))
		y.spun(t)
		raw := y.s.RawConn()
		tried := make(chan struct{})
		got := make([]byte, 10)
		read := expect.Aside(func() (err error) {
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
		expect.Returns(t, tried)
		if !early {
			y.says(t, []byte("mine"))
		}
		require.NoError(t, expect.Returns(t, read))
		require.Equal(t, "mine", string(got))
	}
	// The stream is none the worse.
	y.spun(t)
}

// How a reader waits changes nothing but the time: whatever is written, read and waited for, the
// same bytes come.
func TestSameBytes(t *testing.T) {
	processors(t, max(runtime.GOMAXPROCS(0), 2))
	rapid.Check(t, func(rt *rapid.T) {
		type step struct{ Kind, Size int }
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{rapid.IntRange(0, 4).Draw(t, "kind"), rapid.IntRange(1, 3000).Draw(t, "size")}
		}), 1, 60).Draw(rt, "steps")
		run := func(limit time.Duration) (got []byte) {
			y := newTallied(t, NewPolicy(limit))
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
					late := expect.Aside(func() error { _, err := y.peer.Writev(soon(t), b); return err })
					read(there + st.Size)
					there = 0
					if err := expect.Returns(t, late); err != nil {
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
			rt.Fatalf("%d bytes with naps, %d without", len(with), len(without))
		}
	})
}

// A context that outlives its waits keeps none of them in memory; if it ends between two waits it
// ends neither.
func TestWaitLeavesItsContext(t *testing.T) {
	s, c := lines(t, NewPolicy(0))
	held := func(ctx *counted) int32 { return ctx.begun.Load() - ctx.stopped.Load() }
	waits := func(ctx context.Context) {
		t.Helper()
		read := expect.Aside(func() error { _, err := s.Readv(ctx, make([]byte, 1)); return err })
		if ctx, ok := ctx.(*counted); ok {
			require.Eventually(t, func() bool { return held(ctx) == 1 }, tooLong, 100*time.Microsecond)
		}
		expect.WaitsIn(t, "", "(*Reader).Do")
		require.NoError(t, expect.Err(c.Writev(soon(t), []byte("x"))))
		require.NoError(t, expect.Returns(t, read))
	}
	once, _ := newCounted(t)
	often, _ := newCounted(t)
	last, end := newCounted(t)
	waits(once)
	require.Zero(t, held(once), "after one wait")
	manyWaits := func(ctx context.Context) {
		for range keepsAfter {
			waits(ctx)
		}
	}
	manyWaits(often)
	require.EqualValues(t, 1, held(often), "the next wait mostly has the same")
	waits(soon(t))
	require.Zero(t, held(often), "after the wait of another one")

	manyWaits(last)
	end()
	d := s.watch.reading()
	require.Eventually(t, func() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.watched == nil }, tooLong, 100*time.Microsecond)
	waits(context.Background())

	manyWaits(often)
	require.NoError(t, s.Close())
	require.Zero(t, held(often), "after Close")
}

// Acknowledging at once is tried only once on a descriptor that is no TCP connection.
func TestUnixIsNotAcknowledged(t *testing.T) {
	c, s := lines(t, NewPolicy(0))
	for range 2 {
		require.NoError(t, expect.Err(s.Writev(t.Context(), make([]byte, largeRead))))
		require.NoError(t, expect.Err(c.Readv(t.Context(), make([]byte, largeRead))))
	}
	require.True(t, c.In.silent)
}
