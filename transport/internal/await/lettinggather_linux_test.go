package await

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// letsGather makes the reader let messages gather for that long in its next wait.
func (y *tallied) letsGather(length time.Duration) {
	r := &y.s.In
	r.traffic.flow = habit{formed: true}
	r.batch = batching{phase: batchPausing, began: time.Now().Add(time.Hour), length: length}
}

// flows makes a wait begin, and reports whether it is one in a flow.
func (l *line) flows() bool {
	l.In.traffic.begin()
	return l.In.flows()
}

// begins makes a Do of the reader's seem to have begun.
func (y *tallied) begins() {
	y.s.into = make([]byte, 1)
	y.s.In.attempt = y.s.tryRead
}

// gathers waits until the reader lets messages gather.
func gathers(t testing.TB) {
	t.Helper()
	expect.WaitsIn(t, "select", "(*watcher).pause(")
}

// Only the end of its time wakes a reader that lets messages gather; what has come by then is read
// in one piece.
func TestPauseLetsGather(t *testing.T) {
	y := limited(t, time.Millisecond)
	const length = 50 * time.Millisecond
	y.letsGather(length)
	y.s.In.wait = latePause{y.s.In.wait, func() { // the reader has looked in vain
		y.says(t, []byte("a"))
		y.says(t, []byte("b"))
	}}
	begun, before := time.Now(), y.reads.Load()
	require.NoError(t, expect.Returns(t, y.parks(context.Background())))
	require.GreaterOrEqual(t, time.Since(begun), length)
	b := expect.NoError(y.read(context.Background())).In(t)
	require.Equal(t, byte('b'), b)
	require.EqualValues(t, 2, y.reads.Load()-before, "one in vain, and one that has both")
	require.Zero(t, y.policy.busy.Load())
	require.True(t, y.s.In.traffic.flow.formed)
}

// If nothing has come during such a pause, the reader sleeps as usual, and what comes then wakes
// it.
func TestPauseInVain(t *testing.T) {
	y := limited(t, time.Millisecond)
	y.letsGather(time.Millisecond)
	reading := y.parks(context.Background())
	asleep(t, y)
	y.says(t, []byte("x"))
	require.NoError(t, expect.Returns(t, reading))
	require.Zero(t, y.s.In.batch.next(time.Now(), new(batches)), "the flow has ended")
}

// Such a pause ends when the read is ended, or something is written: the answer must not wait.
func TestPauseEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, y *tallied, cancel context.CancelFunc)
		err  error
	}{
		{"with its context", func(_ *testing.T, _ *tallied, cancel context.CancelFunc) { cancel() }, context.Canceled},
		{"with the stream", func(t *testing.T, y *tallied, _ context.CancelFunc) { require.NoError(t, y.s.Close()) }, os.ErrClosed},
		{"with a pause", func(_ *testing.T, y *tallied, _ context.CancelFunc) { y.s.Halt(false) }, os.ErrDeadlineExceeded},
		{"with a question", func(t *testing.T, y *tallied, _ context.CancelFunc) {
			y.ask(t)
			y.says(t, []byte("a"))
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			y := limited(t, time.Millisecond)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			y.letsGather(time.Hour)
			reading := y.parks(ctx)
			gathers(t)
			tt.end(t, y, cancel)
			require.ErrorIs(t, expect.Returns(t, reading), tt.err)
		})
	}
}

// If a context has to be watched, the reader looks once before it waits; the wait counts once all
// the same.
func TestPauseCountsOnce(t *testing.T) {
	y := limited(t, time.Millisecond)
	y.letsGather(time.Millisecond)
	y.s.In.batch.phase, y.s.In.batch.skip = batchTrial, 5
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reading := y.parks(ctx)
	asleep(t, y)
	y.says(t, []byte("x"))
	require.NoError(t, expect.Returns(t, reading))
	require.Equal(t, 4, y.s.In.batch.skip)
}

// A deadline ends such a pause, whichever was there first.
func TestPauseDeadline(t *testing.T) {
	y := limited(t, time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	y.letsGather(time.Hour)
	require.ErrorIs(t, expect.Err(y.read(ctx)), context.DeadlineExceeded)

	w := &watcher{}
	w.reader.halted = true
	w.pause(time.Hour, nil)
}

// A write before the pause began keeps the reader from that.
func TestPauseAfterQuestion(t *testing.T) {
	y := limited(t, time.Millisecond)
	y.letsGather(time.Hour)
	y.begins()
	require.True(t, y.s.flows())
	y.s.In.Wrote()
	expect.Returns(t, expect.Aside(func() error { y.s.In.letGather(time.Hour); return nil }))
}

// A write at the very moment at which such a pause begins ends the pause.
func TestPauseBesideQuestion(t *testing.T) {
	y := limited(t, time.Millisecond)
	r := &y.s.In
	y.letsGather(time.Hour)
	y.begins()
	require.True(t, y.s.flows())
	r.wait = latePause{r.wait, func() { r.Wrote() }}
	expect.Returns(t, expect.Aside(func() error { r.letGather(time.Hour); return nil }))
}

// A latePause is a watch whose pause begins a moment later than its reader thinks.
type latePause struct {
	watch
	meanwhile func()
}

func (w latePause) pause(d time.Duration, unless *atomic.Bool) {
	w.meanwhile()
	w.watch.pause(d, unless)
}
