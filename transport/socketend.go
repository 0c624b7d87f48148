package transport

import (
	"errors"
	"time"
)

// close ends every call in flight at once, then closes C. An unresponsive callback keeps its C open
// until it comes back: the error says so.
func (s *socket[C]) close() error {
	return s.end("Close", s.cb.Close)
}

// release frees C without sending anything on the connection.
func (s *socket[C]) release() error {
	if s.cb.Release == nil {
		return s.end("Close", s.cb.Close)
	}
	return s.end("Release", s.cb.Release)
}

func (s *socket[C]) end(name string, last func(C) error) error {
	s.closeOnce.Do(func() {
		s.entering.Lock()
		close(s.closing)
		s.entering.Unlock()
		if s.prompt {
			s.inside.Wait()
			if s.pair != nil {
				s.pair.Close()
			}
			s.finish(name, last, &s.closeErr)
			return
		}
		returned, left := s.quiesce()
		if !returned {
			s.closeErr = &CallbackError{s.calls.names(), ErrUnresponsive}
			go func() { left(); s.finish(name, last, new(error)) }()
			return
		}
		done := make(chan error, 1)
		go func() {
			var err error
			defer func() { done <- err }()
			s.finish(name, last, &err)
		}()
		t := time.NewTimer(unresponsiveAfter)
		defer t.Stop()
		select {
		case err := <-done:
			s.closeErr = s.exited(name, err)
		case <-t.C:
			s.closeErr = s.unresponsive(name)
		}
	})
	return s.closeErr
}

// finish makes the last call on C, and never repeats it: a close(2) that a signal interrupts has
// freed the descriptor's number all the same. It is made also where GetFD ends the goroutine
// before; the error is in *result even then.
func (s *socket[C]) finish(name string, last func(C) error, result *error) {
	*result = errExited
	changed := errExited
	defer func() {
		if err := s.single(name, func() error { return last(s.c) }); err != nil && !interrupted(err) {
			*result = err
		} else {
			*result = s.exited("GetFD", changed)
		}
	}()
	changed = s.unchanged()
}

// unchanged checks the descriptor of a socket without a fault, if it has one.
func (s *socket[C]) unchanged() error {
	if s.failure.Load() != nil || s.fd < 0 {
		return nil
	}
	return s.sameFD()
}

// begin makes a socket usable that nobody has yet. If f fails, or ends the goroutine, free is
// called: nothing is left behind.
func (s *socket[C]) begin(f, free func() error) (err error) {
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
	err = f()
	return err
}

// quiesce ends all calls in flight and reports whether they have returned within their second. left
// waits for those that have not, however long that takes: as long as one of them goes on it may
// still use C.
func (s *socket[C]) quiesce() (returned bool, left func()) {
	ends := []<-chan struct{}{beginning(s.inside.Wait)}
	if s.pair != nil {
		ends = append(ends, beginning(s.pair.Close)) // waits for a running callback
	}
	var inTime []func() bool
	for _, end := range ends {
		inTime = append(inTime, func() bool { return endsWithin(end, unresponsiveAfter) })
	}
	if s.full {
		inTime = append(inTime, func() bool { return s.in.stop(s) }, func() bool { return s.out.stop(s) })
	}
	results := make(chan bool, len(inTime))
	for _, wait := range inTime {
		go func() { results <- wait() }()
	}
	returned = true
	for range inTime {
		returned = <-results && returned
	}
	return returned, func() {
		for _, end := range ends {
			<-end
		}
		s.in.awaitLeft()
		s.out.awaitLeft()
		s.calls.wait() // for Interrupt
	}
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
func (s *socket[C]) abandon() error {
	if err := s.end("Close", s.cb.Close); errors.Is(err, ErrUnresponsive) {
		return err
	}
	return nil
}

// disown frees an imported socket that cannot be used. Nothing is sent on the connection, which
// still belongs to whoever handed it over. callers says that the socket has the caller's own
// descriptor: then the plug-in is not called, for it would close the descriptor.
func (s *socket[C]) disown(callers bool) error {
	free := s.release
	if callers {
		free = func() error { return s.end("Release", func(C) error { return nil }) }
	}
	if err := free(); errors.Is(err, ErrUnresponsive) {
		return err
	}
	return nil
}
