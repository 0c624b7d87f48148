package transport

import (
	"context"
	"errors"
	"time"
)

// close ends every call in flight at once, then closes C. An unresponsive callback keeps its C open
// until it comes back: the error says so.
func (s *guarded[C]) close() error { return s.end("Close", s.cb.Close) }

// release frees C without sending anything on the connection.
func (s *guarded[C]) release() error {
	if s.cb.Release == nil {
		return s.close()
	}
	return s.end("Release", s.cb.Release)
}

func (s *guarded[C]) end(name string, last func(C) error) error {
	s.closeOnce.Do(func() {
		s.entering.Lock()
		close(s.closing)
		s.entering.Unlock()
		finish := func(result *error) { s.finish(name, last, result) }
		if returned, left := s.quiesce(); !returned {
			s.closeErr = &CallbackError{s.calls.names(), ErrUnresponsive}
			go func() { left(); finish(new(error)) }()
			return
		}
		s.closeErr = s.aside(context.Background(), name, finish)
	})
	return s.closeErr
}

// finish makes the last call on C, and never repeats it: a close(2) that a signal interrupts has
// freed the descriptor's number all the same. It is made also where GetFD ends the goroutine
// before; the error is in *result even then.
func (s *guarded[C]) finish(name string, last func(C) error, result *error) {
	*result = errExited
	var changed error
	defer func() {
		if err := s.single(name, func() error { return last(s.c) }); err != nil && !interrupted(err) {
			*result = err
		} else {
			*result = s.exited("GetFD", changed)
		}
	}()
	if s.failure.Load() == nil && s.fd >= 0 {
		changed = errExited
		changed = s.sameFD()
	}
}

// begin makes a socket usable that nobody has yet. If use fails, or ends the goroutine, free is
// called: nothing is left behind.
func begin(use, free func() error) (err error) {
	err = errExited
	defer func() {
		switch {
		case err == nil:
		case errors.Is(err, ErrUnresponsive):
			go free() // a callback that comes back after all leaves nothing behind
		default:
			if late := free(); late != nil {
				err = errors.Join(err, late)
			}
		}
	}()
	err = use()
	return err
}

// beginning runs wait on a goroutine, and returns a channel that is closed when wait has ended.
func beginning(wait func()) <-chan struct{} {
	done := make(chan struct{})
	go func() { defer close(done); wait() }()
	return done
}

// endsWithin reports whether done is closed within limit.
func endsWithin(done <-chan struct{}, limit time.Duration) bool {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// abandon closes a socket that has never been used.
func (s *guarded[C]) abandon() error { return onlyLost(s.close()) }

// disown frees an imported socket that cannot be used. Nothing is sent on the connection, which
// still belongs to whoever handed it over. callers says that the socket has the caller's own
// descriptor: then the plug-in is not called, for it would close the descriptor.
func (s *guarded[C]) disown(callers bool) error {
	if callers {
		return onlyLost(s.end("Release", func(C) error { return nil }))
	}
	return onlyLost(s.release())
}

// onlyLost keeps the error of a callback that was left behind.
func onlyLost(err error) error {
	if errors.Is(err, ErrUnresponsive) {
		return err
	}
	return nil
}
