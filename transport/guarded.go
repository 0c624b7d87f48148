package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// unresponsiveAfter is how long a callback may take to come back once it has been ended.
const unresponsiveAfter = time.Second

// A guarded is what every plug-in socket has on the SDK's side, whoever does the waiting, see ready
// and full: it owns C and closes it once, it makes errors of what callbacks do wrong, and it calls
// those that do not wait. Reads, writes and accepts are each made by one caller at a time (Stream
// and Listener see to that), possibly concurrently with each other.
type guarded[C any] struct {
	cb *Callbacks[C]
	c  C
	fd int // the plug-in's descriptor, -1: none
	// prompt says that every callback always comes back, as those of this package's own plug-ins over
	// system calls do. They are called directly, without a goroutine that could be left behind.
	prompt   bool
	patience time.Duration // unresponsiveAfter, unless a test is of something else
	// the descriptor came from elsewhere, to Import: another process may share the open file, and
	// so O_NONBLOCK
	given bool
	// quiesce ends all calls in flight and reports whether they have returned within their second.
	// left waits for those that have not, however long that takes: as long as one of them goes on
	// it may still use C.
	quiesce func() (returned bool, left func())

	closeOnce sync.Once
	closing   chan struct{} // closed when Close begins
	entering  sync.Mutex    // held while closing is closed, and by enter
	inside    sync.WaitGroup
	// held by Export, which runs alone, and for reading by the callbacks that run beside others
	alone    sync.RWMutex
	calls    calls // for Close's error message; unused if prompt
	closeErr error
	failure  atomic.Pointer[error] // a fault of the plug-in: every later call gets it
	packets  atomic.Bool           // one Write is one packet

	// Arguments and results of the calls in flight, so that the closures that make them are made
	// once. late is an error that came together with bytes: for the next call.
	rd struct {
		p         []byte
		n         int
		err, late error
	}
	wr struct {
		v         [][]byte
		n         int64
		err, late error
	}
	acc struct {
		c    C
		addr Addr
		err  error
	}
}

func (s *guarded[C]) closed() <-chan struct{} { return s.closing }

func (s *guarded[C]) waits() time.Duration { return s.patience }

// fail makes err the answer to every later call.
func (s *guarded[C]) fail(err error) error {
	s.failure.CompareAndSwap(nil, &err)
	return err
}

// usable is nil while the socket is neither closed nor broken.
func (s *guarded[C]) usable() error {
	if f := s.failure.Load(); f != nil {
		return *f
	}
	select {
	case <-s.closing:
		return net.ErrClosed
	default:
		return nil
	}
}

// calling is called before every call into the plug-in, and caught is deferred around it. The error
// is what stays if the call ends its goroutine.
func (s *guarded[C]) calling(callback string) error {
	if !s.prompt {
		s.calls.begin(callback)
	}
	return errExited
}

// caught turns a panic of a callback, or the end of its goroutine, into an error, which later calls
// get, too.
func (s *guarded[C]) caught(callback string, err *error) {
	if r := recover(); r != nil {
		*err = s.fail(&CallbackError{callback, fmt.Errorf("%w: %v", ErrPanic, r)})
	} else if *err == errExited {
		*err = s.exited(callback, errExited)
	}
	if !s.prompt {
		s.calls.end(callback)
	}
}

// single makes a call that must be made once only, whatever comes of it.
func (s *guarded[C]) single(callback string, f func() error) (err error) {
	defer s.caught(callback, &err)
	err = s.calling(callback)
	return f()
}

// guard makes a call that does not wait, and repeats it after EINTR.
func (s *guarded[C]) guard(callback string, f func() error) error {
	for range maxRepeats {
		if err := s.single(callback, f); !interrupted(err) {
			return err
		}
	}
	return s.endless(callback)
}

// maxRepeats is how many times a callback is called in a row that returns EINTR each time.
const maxRepeats = 100

// endless makes a socket dead whose callback returns nothing but EINTR.
func (s *guarded[C]) endless(callback string) error {
	return s.fail(contractError(callback, "%v again and again", syscall.EINTR))
}

// enter makes Close wait until inside.Done is called; it fails if the socket is no longer usable.
func (s *guarded[C]) enter() error {
	s.entering.Lock()
	defer s.entering.Unlock()
	err := s.usable()
	if err == nil {
		s.inside.Add(1)
	}
	return err
}

// beside makes calls on an open socket that run concurrently with those in flight. Close waits for
// it.
func (s *guarded[C]) beside(calls func() error) error {
	if err := s.usable(); err != nil { // there may be an Export that does not come back
		return err
	}
	s.alone.RLock()
	defer s.alone.RUnlock()
	if err := s.enter(); err != nil {
		return err
	}
	defer s.inside.Done()
	return calls()
}

// guardBeside is guard beside the calls in flight.
func (s *guarded[C]) guardBeside(callback string, f func() error) error {
	return s.beside(func() error { return s.guard(callback, f) })
}

// within makes, once, a call that might wait for something (a hook, say). It leaves the call behind
// if that does not come back within a second of the end of ctx, or of Close.
func (s *guarded[C]) within(ctx context.Context, callback string, f func() error) error {
	return s.aside(ctx, callback, func(result *error) {
		*result = s.beside(func() error { return s.single(callback, f) })
	})
}

// aside lets a call run on a goroutine that can be left behind, unless it always comes back. See
// within.
func (s *guarded[C]) aside(ctx context.Context, callback string, call func(result *error)) error {
	if s.prompt {
		var err error
		call(&err)
		return err
	}
	done := make(chan error, 1)
	go func() {
		err := errExited
		defer func() { done <- err }()
		call(&err)
	}()
	// under NoWait the time of the call is over at once, and the callback has only its second
	if !IsNoWait(ctx) {
		select {
		case err := <-done:
			return s.exited(callback, err)
		case <-ctx.Done():
		case <-s.closing:
		}
	}
	t := time.NewTimer(s.patience)
	defer t.Stop()
	select {
	case err := <-done:
		return s.exited(callback, err)
	case <-t.C:
		return s.fail(&CallbackError{callback, ErrUnresponsive})
	}
}

// errExited stands for the result of a call that has ended its goroutine.
var errExited = errors.New("it has ended its goroutine: runtime.Goexit, or FailNow of a test")

// exited turns errExited into the error of a panic.
func (s *guarded[C]) exited(callback string, err error) error {
	if err == errExited {
		return s.fail(&CallbackError{callback, fmt.Errorf("%w: %w", ErrPanic, err)})
	}
	return err
}
