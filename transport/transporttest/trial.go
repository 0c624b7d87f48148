package transporttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// limits say how long the suite waits. They are far beyond what a good plug-in needs on a busy
// machine: no rule is about speed.
type limits struct {
	patience  time.Duration // how long something that must happen may take, or go on without progress
	lingering time.Duration // how long it may take until what is closed is gone
	watchdog  time.Duration // for one try of a rule, which may take longer while it makes progress
	tries     int           // how often a rule is tried that was broken only by lateness
	starved   int           // the suite gives up after so many rules have waited in vain
	rounds    int           // how many connections are looked at together for leaks
}

// longest is how long one try of a rule may take if it makes progress all the time.
func (l limits) longest() time.Duration { return 10 * l.watchdog }

// shared is what all trials of a suite share: what they are told, and what they have learned.
type shared struct {
	limits
	factory Factory

	ofBytes     atomic.Bool  // the handshake's packets have a length, as far as that is known
	needsReader atomic.Bool  // Connect has been seen to wait until the accepting end reads
	holds       atomic.Int64 // 1 + how many unread bytes the carrier takes; 0: not known yet
}

// A trial is one try of a rule. It runs on a goroutine of its own; each operation that might wait
// runs on another one, which is left behind if the plug-in hangs. The methods that end the trial
// (fail, must, skip) may be called on the trial's own goroutine only.
type trial struct {
	s    *shared
	rule string // its name

	begun time.Time
	last  atomic.Int64 // the last progress, in nanoseconds since begun

	mu sync.Mutex
	// the verdict is final: nothing more is recorded, and the fields below may be read without mu
	over    bool
	broken  []*RuleError
	certain bool // one of broken does not depend on time
	vain    bool // something was awaited in vain
	skipped string
	closers []func() error
	// the operations whose end nobody has awaited yet: what they have failed with, nil for none so far
	calls map[any]func() error
}

func newTrial(s *shared, rule string) *trial { return &trial{s: s, rule: rule, begun: time.Now()} }

// late reports whether the rule was broken only by lateness, which on an overloaded machine may
// happen to a good plug-in, or to the SDK itself.
func (t *trial) late() bool { return len(t.broken) > 0 && !t.certain }

// progress notes that something has happened.
func (t *trial) progress() { t.last.Store(int64(time.Since(t.begun))) }

// idle is how long nothing has happened.
func (t *trial) idle() time.Duration { return time.Since(t.begun) - time.Duration(t.last.Load()) }

// inVain notes that something was awaited in vain: rules that are broken from here on may be so for
// lack of time.
func (t *trial) inVain() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		t.vain = true
	}
}

// broke records that a rule is broken, and goes on. If name is "", it is the rule that the error
// points to (see culprit), or else the trial's own.
func (t *trial) broke(name, format string, args ...any) {
	err := fmt.Errorf(format, args...)
	if name == "" {
		name = culprit(err, t.rule)
	}
	e := &RuleError{Rule: name, During: t.rule, Err: err}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return
	}
	t.broken = append(t.broken, e)
	if !t.vain && !errors.Is(err, transport.ErrUnresponsive) {
		t.certain = true
	}
}

// fail records that a rule is broken, as broke does without a name, and ends the trial.
func (t *trial) fail(format string, args ...any) {
	t.broke("", format, args...)
	runtime.Goexit()
}

// must fails the trial if err is not nil, for an operation that must succeed.
func (t *trial) must(err error, format string, args ...any) {
	if err != nil {
		t.fail("%s: %w", fmt.Sprintf(format, args...), err)
	}
}

// skip ends the trial: there is nothing to try.
func (t *trial) skip(format string, args ...any) {
	t.mu.Lock()
	if !t.over {
		t.skipped = fmt.Sprintf(format, args...)
	}
	t.mu.Unlock()
	runtime.Goexit()
}

// A call is an operation that runs beside the trial.
type call[T any] struct {
	t    *trial
	what string
	done chan struct{}
	v    T
	err  error
}

// begin starts an operation.
func begin[T any](t *trial, what string, op func() (T, error)) *call[T] {
	c := &call[T]{t: t, what: what, done: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.calls == nil {
		t.calls = map[any]func() error{}
	}
	t.calls[c] = c.failed
	go func() {
		defer close(c.done)
		c.v, c.err = op()
	}()
	return c
}

// failed is the operation's error, if it has ended with one.
func (c *call[T]) failed() error {
	select {
	case <-c.done:
		if c.err != nil {
			return fmt.Errorf("%s: %w", c.what, c.err)
		}
	default:
	}
	return nil
}

// othersFailed is what operations beside one that hangs have failed with: they may say why it does.
func (t *trial) othersFailed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, failed := range t.calls {
		errs = append(errs, failed())
	}
	return errors.Join(errs...)
}

// endsWithin waits up to d for the end of the operation, and reports whether it has come.
func (c *call[T]) endsWithin(d time.Duration) bool { return endsWithin(c.done, d) }

// endsWithin waits up to d for done, and reports whether it is closed, even if it was closed only
// by the time the timer was seen to fire.
func endsWithin(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
	}
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// end waits for the end of the operation, and fails the trial if it does not come.
func (c *call[T]) end() (T, error) {
	c.t.progress()
	defer func() {
		c.t.mu.Lock()
		defer c.t.mu.Unlock()
		delete(c.t.calls, c)
	}()
	for !c.endsWithin(max(c.t.s.patience-c.t.idle(), time.Millisecond)) {
		if c.t.idle() >= c.t.s.patience {
			c.t.inVain()
			if err := c.t.othersFailed(); err != nil {
				c.t.fail("%s does not come to an end: nothing has happened for %v, since this has failed beside it: %w", c.what, c.t.s.patience, err)
			}
			c.t.fail("%s does not come to an end: nothing has happened for %v (a callback waits there? %s)", c.what, c.t.s.patience, saysNotReady)
		}
	}
	return c.v, c.err
}

// do runs an operation that must end, successfully or not.
func do[T any](t *trial, what string, op func() (T, error)) (T, error) {
	return begin(t, what, op).end()
}

// A step is one of several operations that depend on each other: see together.
type step struct {
	what string
	do   func(ctx context.Context) error
}

// together runs steps at the same time. An error of one cancels the others.
func (t *trial) together(steps ...step) error {
	ctx, cancel := context.WithCancel(t.soon())
	defer cancel()
	var calls []*call[struct{}]
	var first atomic.Pointer[error]
	for _, s := range steps {
		calls = append(calls, begin(t, s.what, func() (struct{}, error) {
			err := s.do(ctx)
			if err != nil {
				err = fmt.Errorf("%s: %w", s.what, err)
				first.CompareAndSwap(nil, &err)
				cancel()
			}
			return struct{}{}, err
		}))
	}
	var errs []error
	for _, c := range calls {
		if _, err := c.end(); err != nil && !errors.Is(err, context.Canceled) {
			errs = append(errs, err)
		}
	}
	// the first error is not due to our cancelling
	if err := first.Load(); err != nil && len(errs) == 0 {
		return *err
	}
	return errors.Join(errs...)
}

// soon is a context for operations that must succeed. It lasts so long that the trial loses
// patience before it ends.
func (t *trial) soon() context.Context { return t.after(t.s.longest()) }

// after is a context that ends by itself after d.
func (t *trial) after(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.later(func() error { cancel(); return nil })
	return ctx
}

// later arranges for f to be called when the trial is over; if it is over already, as for an
// operation that was left behind, at once.
func (t *trial) later(f func() error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		go f()
		return
	}
	t.closers = append(t.closers, f)
}

// keep wraps an operation so that what it opens is closed when the trial is over.
func keep[T io.Closer](t *trial, op func() (T, error)) func() (T, error) {
	return func() (T, error) {
		v, err := op()
		if err == nil {
			t.later(v.Close)
		}
		return v, err
	}
}

// closeAll closes what the trial opened, the last first.
func (t *trial) closeAll() {
	t.mu.Lock()
	closers := t.closers
	t.closers = nil
	t.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := len(closers) - 1; i >= 0; i-- {
			// other errors have been reported, or follow from reported ones
			if err := closers[i](); errors.Is(err, transport.ErrPanic) {
				t.broke("", "Close at the end of the trial: %w", err)
			}
		}
	}()
	if !endsWithin(done, t.s.patience) {
		t.inVain()
		t.broke("Close", "a stream or listener could not be closed at the end of the trial")
	}
}
