package transport

import (
	"context"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// dozes makes the next wait of the reader a doze of that length.
func (y *tallied) dozes(length time.Duration) {
	r := &y.sock.incoming
	r.spin.flow = pace{hot: true}
	r.gather = gathering{phase: gatherDozing, began: time.Now().Add(time.Hour), length: length}
}

// dozing waits until the reader dozes.
func dozing(t testing.TB) {
	t.Helper()
	waitsIn(t, "select", "(*watcher).doze(")
}

// Only the end of its time wakes a reader that dozes; what has come by then is read in one piece.
func TestDozeLetsGather(t *testing.T) {
	y := polls(t, time.Millisecond)
	const length = 50 * time.Millisecond
	y.dozes(length)
	begun, before := time.Now(), y.reads.Load()
	reading := y.parks(context.Background())
	dozing(t)
	y.says(t, []byte("a"))
	y.says(t, []byte("b"))
	require.NoError(t, returns(t, reading))
	require.GreaterOrEqual(t, time.Since(begun), length)
	b, err := y.read(context.Background())
	require.NoError(t, err)
	require.Equal(t, byte('b'), b)
	require.EqualValues(t, 2, y.reads.Load()-before, "one in vain, and one that has both")
	require.Zero(t, y.sock.poller.busy.Load())
	require.True(t, y.sock.incoming.spin.flow.hot)
}

// If nothing has come during a doze, the reader sleeps as usual, and what comes then wakes it.
func TestDozeInVain(t *testing.T) {
	y := polls(t, time.Millisecond)
	y.dozes(time.Millisecond)
	reading := y.parks(context.Background())
	asleep(t, y)
	y.says(t, []byte("x"))
	require.NoError(t, returns(t, reading))
	require.Zero(t, y.sock.incoming.gather.next(time.Now(), new(gathered)), "the flow has ended")
}

// A doze ends when the read is ended, or something is written: the answer must not wait.
func TestDozeEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, y *tallied, cancel context.CancelFunc)
		err  error
	}{
		{"with its context", func(_ *testing.T, _ *tallied, cancel context.CancelFunc) { cancel() }, context.Canceled},
		{"with the stream", func(t *testing.T, y *tallied, _ context.CancelFunc) { require.NoError(t, y.s.Close()) }, net.ErrClosed},
		{"with a pause", func(t *testing.T, y *tallied, _ context.CancelFunc) { require.NoError(t, y.s.PauseRead(soon(t))) }, ErrPaused},
		{"with a question", func(t *testing.T, y *tallied, _ context.CancelFunc) {
			y.ask(t)
			y.says(t, []byte("a"))
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			y := polls(t, time.Millisecond)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			y.dozes(time.Hour)
			reading := y.parks(ctx)
			dozing(t)
			tt.end(t, y, cancel)
			require.ErrorIs(t, returns(t, reading), tt.err)
		})
	}
}

// If a context has to be watched, the reader looks once before it waits; the wait counts once all the same.
func TestDozeCountsOnce(t *testing.T) {
	y := polls(t, time.Millisecond)
	y.dozes(time.Millisecond)
	y.sock.incoming.gather.phase, y.sock.incoming.gather.skip = gatherTrial, 5
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reading := y.parks(ctx)
	asleep(t, y)
	y.says(t, []byte("x"))
	require.NoError(t, returns(t, reading))
	require.Equal(t, 4, y.sock.incoming.gather.skip)
}

// A deadline ends a doze, whichever was there first.
func TestDozeDeadline(t *testing.T) {
	y := polls(t, time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	y.dozes(time.Hour)
	_, err := y.read(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	w := &watcher{}
	w.reader.until = time.Now()
	w.doze(time.Hour, nil)
}

// A write before the doze began keeps the reader from dozing.
func TestDozeAfterQuestion(t *testing.T) {
	y := polls(t, time.Millisecond)
	y.dozes(time.Hour)
	require.True(t, y.sock.incoming.flows(y.sock.incoming.spin.begin()))
	y.sock.incoming.spin.written(1)
	returns(t, aside(func() error { y.sock.incoming.doze(time.Hour); return nil }))
}

// A write at the very moment at which a doze begins ends the doze.
func TestDozeBesideQuestion(t *testing.T) {
	y := polls(t, time.Millisecond)
	r := &y.sock.incoming
	y.dozes(time.Hour)
	require.True(t, r.flows(r.spin.begin()))
	r.wait = lateDoze{r.wait, func() { r.wrote(1) }}
	returns(t, aside(func() error { r.doze(time.Hour); return nil }))
}

// A lateDoze is a watch whose doze begins a moment later than its reader thinks.
type lateDoze struct {
	watch
	meanwhile func()
}

func (w lateDoze) doze(d time.Duration, unless *atomic.Bool) {
	w.meanwhile()
	w.watch.doze(d, unless)
}

// The doze of a Waiter is ended by a write, too.
func TestDozeOfWaiterEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, w *Waiter)
		err  error
	}{
		{"with its deadline", func(t *testing.T, w *Waiter) { require.NoError(t, w.SetReadDeadline(past)) }, os.ErrDeadlineExceeded},
		{"with the Waiter", func(t *testing.T, w *Waiter) { require.NoError(t, w.Close()) }, os.ErrClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			y := polls(t, time.Millisecond)
			p := NewPolling(time.Millisecond)
			w, err := p.Waiter(y.sock.fd)
			require.NoError(t, err)
			defer w.Close()
			w.in.spin.flow = pace{hot: true}
			w.in.gather = gathering{phase: gatherDozing, began: time.Now().Add(time.Hour), length: time.Hour}
			reading := aside(func() error { return w.Read(func() (int, bool) { return 0, false }) })
			dozing(t)
			tt.end(t, w)
			require.ErrorIs(t, returns(t, reading), tt.err)
		})
	}
}
