package transport

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sits makes a reader wait on a seat, as a series of short waits does.
func (y *tallied) sits(t testing.TB) {
	t.Helper()
	y.sock.incoming.seat.hot = true
}

// seat is where the reader sits; nil: it does not.
func (y *tallied) seat() *seat {
	w := y.sock.wait.(*watcher)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reader.seat
}

// undisturbed keeps tend from ending waits on seats: on a busy machine a tend that comes late would disturb a test.
func undisturbed(t testing.TB, p *poller) {
	t.Helper()
	at := &p.seats
	at.mu.Lock()
	defer at.mu.Unlock()
	require.Nil(t, at.tender)
	at.tended, at.tender = true, time.AfterFunc(time.Hour, at.tend)
	t.Cleanup(at.tend) // from here on tend runs as usual, and closes the seats
}

// closed returns a channel that is closed once is returns true.
func closed(t testing.TB, is func() bool) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		for !is() {
			if t.Context().Err() != nil {
				return
			}
			time.Sleep(20 * time.Microsecond)
		}
		close(done)
	}()
	return done
}

// seatsOf counts the seats of a poller.
func seatsOf(p *poller) int {
	p.seats.mu.Lock()
	defer p.seats.mu.Unlock()
	return len(p.seats.all)
}

// Nobody sits whose deadline is so near that nothing might end the wait in time.
func TestSeatNearDeadline(t *testing.T) {
	p := new(poller)
	undisturbed(t, p)
	y := newTallied(t, p)
	w := watcherOf(t, y.s)
	w.reader.until = time.Now().Add(sitsAtMost)
	sits := aside(func() error { w.sit(false, &p.seats); return nil })
	require.NoError(t, returns(t, sits))
}

// A reader whose waits have been short for some time sits: the Go poller looks away, and there is one try before the wait and one after it.
func TestSeatPingPong(t *testing.T) {
	processors(t, 2)
	y := newTallied(t, new(poller))
	answer := make(chan struct{}, 1)
	defer close(answer)
	go func() {
		for range answer {
			y.says(t, []byte("a"))
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 10_000 {
		y.ask(t)
		y.atVain(1, func() { answer <- struct{}{} })
		_, err := y.read(ctx)
		require.NoError(t, err)
		if y.sock.incoming.seat.hot && watcherOf(t, y.s).reader.events == 0 {
			break
		}
	}
	require.True(t, y.sock.incoming.seat.hot)
	require.Zero(t, watcherOf(t, y.s).reader.events, "the Go poller was not told to look away")
	require.Zero(t, y.sock.poller.busy.Load())
}

// A reader to whom nothing comes sits for a short time only; what comes later wakes it all the same. An unused seat is closed.
func TestSeatOfIdleReaderIsLeft(t *testing.T) {
	y := polls(t, 0)
	y.sits(t)
	y.ask(t)
	reading := y.parks(context.Background())
	asleep(t, y)
	require.Zero(t, y.sock.poller.busy.Load())
	y.says(t, []byte("x"))
	require.NoError(t, returns(t, reading))
	require.False(t, y.sock.incoming.seat.hot)
	returns(t, closed(t, func() bool { return seatsOf(y.sock.poller) == 0 }))
}

// A reader that has to wait longer again and again leaves the seats to others.
func TestSeatCools(t *testing.T) {
	r := incoming{waits: waits{poller: new(poller)}}
	wait := func(d time.Duration) {
		r.spin.begin()
		r.began = time.Now().Add(time.Hour - d) // however busy the machine is
		r.end(1)
	}
	for range pollProbe {
		wait(0)
	}
	require.True(t, r.seat.due())
	r.seat = pace{hot: true}
	for range pollMisses - 1 {
		wait(2 * time.Hour)
	}
	wait(0)
	for range pollMisses - 1 {
		wait(2 * time.Hour)
	}
	require.True(t, r.seat.due())
	wait(2 * time.Hour)
	require.False(t, r.seat.due())
}

// Where all places are taken a reader sleeps at once.
func TestSeatPlaces(t *testing.T) {
	processors(t, 2)
	y := newTallied(t, new(poller))
	y.sits(t)
	require.True(t, y.sock.poller.place())
	y.ask(t)
	reading := y.parks(context.Background())
	asleep(t, y)
	require.Zero(t, seatsOf(y.sock.poller))
	y.says(t, []byte("x"))
	require.NoError(t, returns(t, reading))
	y.sock.poller.leave()
}

// A kick that was not needed does not end the next wait on the seat.
func TestSeatKickIsNotLeftForNext(t *testing.T) {
	processors(t, 2)
	y := newTallied(t, new(poller))
	at := &y.sock.poller.seats
	s := at.take()
	at.kick(s)
	at.kick(s)
	require.False(t, s.wait(y.sock.fd, pollArrivals))
	at.leave(s)
	at.kick(s) // nobody sits there
	require.Same(t, s, at.take())
	y.says(t, []byte("x"))
	require.True(t, s.wait(y.sock.fd, pollArrivals))
	at.leave(s)
}

// A writer sits, too. Nothing that it writes is lost or repeated.
func TestSeatedWriterLosesNothing(t *testing.T) {
	y := polls(t, 0)
	undisturbed(t, y.sock.poller)
	y.sock.outgoing.seat.hot = true
	const size = 16 << 20
	sat := closed(t, func() bool {
		w := watcherOf(t, y.s)
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.writer.seat != nil
	})
	drained := aside(func() error {
		<-sat
		_, err := io.ReadFull(readerOf{y.peer}, make([]byte, size))
		return err
	})
	_, err := y.s.Writev(soon(t), make([]byte, size))
	require.NoError(t, err)
	require.NoError(t, returns(t, drained))
}

type readerOf struct{ s *Stream }

func (r readerOf) Read(p []byte) (int, error) { return r.s.Read(context.Background(), p) }

// A counted is a context that counts how often it is watched.
type counted struct {
	context.Context
	begun, stopped atomic.Int32
}

func (c *counted) AfterFunc(f func()) func() bool {
	c.begun.Add(1)
	stop := context.AfterFunc(c.Context, f)
	return func() bool { c.stopped.Add(1); return stop() }
}

func newCounted(t testing.TB) (*counted, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	// Package context knows its own contexts by their values, which would go round AfterFunc.
	return &counted{Context: opaque{ctx}}, cancel
}

type opaque struct{ context.Context }

func (opaque) Value(any) any { return nil }

// From the second wait on, a context is watched once for many waits; another context takes its place, and Close stops the watching.
func TestWaitsWatchOnce(t *testing.T) {
	for _, sits := range []bool{false, true} {
		y := polls(t, 0)
		first, cancel := newCounted(t)
		second, end := newCounted(t)
		wait := func(ctx context.Context) {
			y.sock.incoming.seat = pace{hot: sits}
			y.ask(t)
			y.atVain(2, func() { y.says(t, []byte("a")) })
			_, err := y.read(ctx)
			require.NoError(t, err)
		}
		wait(first)
		require.EqualValues(t, 1, first.stopped.Load(), "it may have been for this wait only")
		for range 5 {
			wait(first)
		}
		require.EqualValues(t, 2, first.begun.Load())
		require.EqualValues(t, 1, first.stopped.Load())
		wait(second)
		require.EqualValues(t, 2, first.stopped.Load())
		cancel() // ends nothing
		wait(second)
		wait(second)
		require.EqualValues(t, 2, second.begun.Load())
		y.ask(t)
		reading := y.parks(second)
		asleep(t, y)
		end()
		require.ErrorIs(t, returns(t, reading), context.Canceled)
		third, _ := newCounted(t)
		wait(third)
		wait(third)
		require.EqualValues(t, 1, third.stopped.Load())
		require.NoError(t, y.s.Close())
		require.EqualValues(t, 2, third.stopped.Load())
	}
}
