package transport

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport/internal/await"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// slice is the longest single call of Read or Accept of a FullImpl plug-in that has no Interrupt.
const slice = 100 * time.Millisecond

// A side runs the waiting callbacks of one direction of a FullImpl socket, on a goroutine of its
// own, so that a callback that never comes back can be left behind. The goroutine starts with the
// first call and ends with the socket.
type side struct {
	mu      sync.Mutex
	work    chan func()
	done    chan struct{}
	running chan struct{} // closed when the call in flight has returned; nil: none
	stopped bool
	giveUp  atomic.Bool // the call in flight has been ended
	cut     atomic.Bool // it has been ended by shutdown(2)
	halting atomic.Bool // an Interrupt for a pause is in flight
	halted  atomic.Bool // from halt to resume: calls end, and none begins
	// the last call took the time that it was given; for the caller once that call has returned
	passed bool
	late   func() // is run when an Accept that was left behind has come back

	direct direct // of a Direct plug-in, instead of the goroutine
}

// fullSocket is what a side needs of its socket.
type fullSocket interface {
	isDirect() bool
	usable() error
	unresponsive(callback string) error
	exited(callback string, err error) error
	interrupt(d *side)
	prod(d *side)
	interrupts() int64
	hasty(callback string) error
	endless(callback string) error
	canInterrupt() bool
	mayTry() bool
	closed() <-chan struct{}
}

func (s *socket[C]) closed() <-chan struct{} { return s.closing }

func (s *socket[C]) canInterrupt() bool { return s.cb.Interrupt != nil }

// mayTry reports whether a single try, which is cut off at once, does nothing if nothing has come.
func (s *socket[C]) mayTry() bool { return s.cb.InterruptOne == nil }

func (s *socket[C]) isDirect() bool { return s.cb.Flags&Direct != 0 }

// interrupt ends the call in flight in one direction, and perhaps that in the other one, by
// Interrupt or else by shutdown(2), if either is possible.
func (s *socket[C]) interrupt(d *side) {
	if s.cb.Interrupt != nil {
		s.calls.begin("Interrupt")
		defer s.calls.end("Interrupt")
		_ = s.guard("Interrupt", s.interruption(d))
	} else if s.fd >= 0 {
		sys.Shutdown(s.fd)
	}
}

// interruption returns a function that calls Interrupt, for one direction alone if the plug-in can
// do that.
func (s *socket[C]) interruption(d *side) func() error {
	return func() error {
		s.asked.Add(1)
		if s.cb.InterruptOne != nil {
			s.cb.InterruptOne(s.c, d == &s.out)
		} else {
			s.cb.Interrupt(s.c)
		}
		return nil
	}
}

func (s *socket[C]) interrupts() int64 { return s.asked.Load() }

// hasty makes a socket dead whose callback returns nothing but time-outs.
func (s *socket[C]) hasty(callback string) error {
	err := contractError(callback, "time-outs before their time, again and again: with FullImpl a callback waits by itself (leave the flag "+
		"out where the SDK is to wait on the descriptor), and goes on after a time-out (a decoder, or package tls, may keep the first error)")
	s.fail(err)
	return err
}

// A haste counts time-outs that come before their time, without an Interrupt to explain them. After
// hasteLimit in a row, each within noTime, the plug-in is at fault; otherwise the SDK would try
// again for ever.
type haste struct {
	count    int
	last     time.Time
	explains int64
}

const (
	hasteLimit = 100
	noTime     = 500 * time.Microsecond
	enoughTime = 10 * time.Millisecond // a callback that has so much time left must wait
)

// hasLost counts a time-out, or an EINTR, and reports whether there have been too many. left is the
// time that the call still had.
func (h *haste) hasLost(s fullSocket, left time.Duration) bool {
	if left != Infinite && left < enoughTime {
		return false
	}
	now, explains := time.Now(), s.interrupts()
	if explains != h.explains || now.Sub(h.last) > noTime {
		h.count = 0
	}
	h.count++
	h.last, h.explains = now, explains
	return h.count > hasteLimit
}

// start gives a call to the goroutine.
func (d *side) start(call func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return net.ErrClosed
	}
	if d.work == nil {
		d.work, d.done = make(chan func(), 1), make(chan struct{}, 1)
		go func(work chan func(), done chan struct{}) {
			for f := range work {
				func() {
					defer func() { done <- struct{}{} }() // also where f ends the goroutine
					f()
				}()
			}
		}(d.work, d.done)
	}
	d.running = make(chan struct{})
	d.work <- call
	return nil
}

func (d *side) finish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.running)
	d.running = nil
}

// run makes one waiting call. call is given the time that it may take, and is repeated, unless it
// is Connect, if it comes back before that with nothing done. sliced calls (Read, Accept) are made
// in slices if the plug-in has no Interrupt. When ctx ends or the socket is closed, run ends the
// call, and waits one second more for it.
func (d *side) run(ctx context.Context, s fullSocket, name string, sliced bool, call func(tmo time.Duration) error) error {
	if err := ended(ctx); err != nil {
		return err
	}
	d.giveUp.Store(false)
	if d.halted.Load() {
		return os.ErrDeadlineExceeded
	}
	if s.isDirect() && name != "Accept" && name != "Connect" {
		return d.runDirect(ctx, s, name, call)
	}
	d.cut.Store(false)
	sliced = sliced && !s.canInterrupt()
	// replaced by nil, a time-out, or the reason to give up; call keeps its own results
	result := errExited
	if err := d.start(func() {
		result = d.repeat(ctx, s, name, call, sliced)
	}); err != nil {
		return err
	}
	select {
	case <-d.done:
		d.finish()
		return d.result(ctx, s, name, result)
	case <-ctx.Done():
	case <-s.closed():
	}
	if err := d.end(ctx, s, name, sliced); err != nil {
		return err
	}
	d.finish()
	return d.result(ctx, s, name, result)
}

// end ends the call that runs, and waits until it has come back, or one second: then its error is
// that of a callback that does not.
func (d *side) end(ctx context.Context, s fullSocket, name string, sliced bool) error {
	d.giveUp.Store(true)
	limit := time.NewTimer(unresponsiveAfter)
	defer limit.Stop()
	again := time.NewTicker(askAgain)
	defer again.Stop()
	// A callback whose time has passed is about to say so itself: shutdown(2), which ends the
	// connection, waits a little.
	grace := time.Now()
	if !s.canInterrupt() && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		grace = grace.Add(slice)
	}
	var ending interruption
	for {
		if !sliced && !time.Now().Before(grace) {
			if !s.canInterrupt() {
				d.cut.Store(true)
			}
			ending.start(s, d)
		}
		select {
		case <-d.done:
			if !ending.over(limit.C) { // C must not be closed while Interrupt uses it, either
				go d.comeBack(nil, ending.done)
				return s.unresponsive("Interrupt")
			}
			return nil
		case <-again.C:
		case <-limit.C:
			go d.comeBack(d.done, ending.done)
			if ending.running() && time.Since(ending.since) > unresponsiveAfter/2 {
				return s.unresponsive("Interrupt") // it is Interrupt that does not come back
			}
			return s.unresponsive(name)
		}
	}
}

// repeat makes a call until it has done something, failed, or its time is over. The deadline may be
// moved meanwhile, by that of a NetConn.
func (d *side) repeat(ctx context.Context, s fullSocket, name string, call func(tmo time.Duration) error, sliced bool) error {
	var early haste
	for repeats := 0; ; repeats++ {
		tmo := await.TimeLeft(ctx)
		bounded := tmo != Infinite
		if sliced {
			tmo = min(tmo, slice)
		}
		var began time.Time
		if tmo != Infinite { // otherwise began is not used
			began = time.Now()
		}
		err := call(tmo)
		d.passed = tmo != Infinite && time.Since(began) >= tmo
		switch {
		case err == nil:
			return nil
		case d.cut.Load(): // an error that shutdown(2) has caused is not the call's own
			return os.ErrDeadlineExceeded
		case interrupted(err) && repeats < maxRepeats && !d.giveUp.Load():
		case !interrupted(err) && !timedOut(err, d.passed):
			return nil
		case d.giveUp.Load() || d.halted.Load() || bounded && await.TimeLeft(ctx) == 0:
			return os.ErrDeadlineExceeded
		// the plug-in has a limit of its own; a socket that is half connected cannot connect again
		case name == "Connect" && !interrupted(err):
			return nil
		case !early.hasLost(s, tmo):
		case interrupted(err):
			return s.endless(name)
		default:
			return s.hasty(name)
		}
		// A slice is over, the deadline was moved, Interrupt has ended this call together with one
		// of the other direction, or a signal has.
	}
}

// comeBack waits for calls that were left behind: once they have returned the socket can be closed
// after all.
func (d *side) comeBack(calls ...<-chan struct{}) {
	for _, done := range calls {
		if done != nil {
			<-done
		}
	}
	if d.late != nil {
		d.late()
	}
	d.finish()
}

// An interruption runs Interrupt on a goroutine of its own, for Interrupt may not come back.
type interruption struct {
	done  chan struct{}
	since time.Time
}

func (i *interruption) running() bool {
	if i.done == nil {
		return false
	}
	select {
	case <-i.done:
		return false
	default:
		return true
	}
}

// over waits until Interrupt has come back, or limit fires, and reports whether it has come back.
func (i *interruption) over(limit <-chan time.Time) bool {
	if i.done == nil {
		return true
	}
	select {
	case <-i.done:
		return true
	case <-limit:
		return false
	}
}

func (i *interruption) start(s fullSocket, d *side) {
	if i.running() {
		return
	}
	done := make(chan struct{})
	i.done, i.since = done, time.Now()
	go func() {
		defer close(done)
		s.interrupt(d)
	}()
}

func (d *side) result(ctx context.Context, s fullSocket, name string, result error) error {
	if result = s.exited(name, result); result == nil {
		return nil
	}
	if err := s.usable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// a pause has ended the call, and may have been given up since
	if await.HasTime(ctx) || IsNoWait(ctx) {
		return result
	}
	if done := ctx.Done(); done != nil {
		// The timer of ctx is about to fire: callers that ask ctx whether its time was over must be
		// told so.
		select {
		case <-done:
		case <-s.closed():
		}
	}
	return context.DeadlineExceeded
}

// stop ends the goroutine once the call in flight has returned, whenever that is; false if it does
// not within its second.
func (d *side) stop(s fullSocket) bool {
	returned := d.stopDirect(s)
	d.mu.Lock()
	running := d.running
	if !d.stopped && d.work != nil {
		close(d.work)
	}
	d.stopped = true
	d.mu.Unlock()
	return returned && (running == nil || endsWithin(running, unresponsiveAfter+slice))
}

// awaitLeft waits until the calls of a side that was stopped have returned, for as long as that
// takes.
func (d *side) awaitLeft() {
	if left := d.direct.leaving(); left != nil {
		<-left
	}
	d.mu.Lock()
	running := d.running
	d.mu.Unlock()
	if running != nil {
		<-running
	}
}

// timedOut reports whether err is a time-out: ETIMEDOUT before the time has passed means a dead
// peer instead.
func timedOut(err error, passed bool) bool {
	return isTimeout(err) || errors.Is(err, context.DeadlineExceeded) || again(err) ||
		passed && errors.Is(err, syscall.ETIMEDOUT)
}

// connectFull runs the Connect of a FullImpl plug-in.
func (s *socket[C]) connectFull(ctx context.Context, addr Addr) error {
	if fd, err := s.getFD(); err == nil { // what shutdown needs to end the call
		s.fd = fd
	}
	var err error
	if e := s.out.run(ctx, s, "Connect", false, func(tmo time.Duration) error {
		err = s.callConnect(addr, tmo)
		return err
	}); e != nil {
		return e
	}
	s.fd = -1
	if again(err) {
		return os.ErrDeadlineExceeded
	}
	return err
}

func (s *socket[C]) callConnect(addr Addr, tmo time.Duration) (err error) {
	defer s.caught("Connect", &err)
	err = errExited
	s.calls.begin("Connect")
	defer s.calls.end("Connect")
	return s.cb.Connect(s.c, addr, tmo)
}
