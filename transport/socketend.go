package transport

import (
	"errors"
	"time"
)

// close ends every call in flight at once, then closes C. An unresponsive callback keeps its C open until it comes back: the error says so.
func (s *socket[C]) close() error {
	return s.end("Close", s.cb.Close)
}

// release frees C with nothing said on the connection.
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
			if s.wait != nil {
				s.wait.close()
			}
			s.closeErr = s.finish(name, last)
			return
		}
		done := make(chan error, 1)
		go func() {
			if !s.quiesce() {
				done <- &CallbackError{s.calls.names(), ErrUnresponsive}
				s.calls.wait()
				_ = s.finish(name, last)
				return
			}
			done <- s.finish(name, last)
		}()
		t := time.NewTimer(2 * unresponsiveAfter)
		defer t.Stop()
		select {
		case s.closeErr = <-done:
		case <-t.C:
			s.closeErr = s.unresponsive(name)
		}
	})
	return s.closeErr
}

// finish makes the last call on C.
func (s *socket[C]) finish(name string, last func(C) error) error {
	var changed error
	if s.failure.Load() == nil && s.fd >= 0 {
		changed = s.sameFD(s.guard)
	}
	if err := s.guard(name, func() error { return last(s.c) }); err != nil {
		return err
	}
	return changed
}

// quiesce ends all calls in flight and reports whether they have returned.
func (s *socket[C]) quiesce() bool {
	waits := []func() bool{func() bool { return inTime(s.inside.Wait) }}
	if s.wait != nil {
		waits = append(waits, func() bool { return inTime(s.wait.close) }) // waits for a running callback
	}
	if s.full {
		waits = append(waits, func() bool { return s.in.stop(s) }, func() bool { return s.out.stop(s) })
	}
	returned := make(chan bool, len(waits))
	for _, wait := range waits {
		go func() { returned <- wait() }()
	}
	all := true
	for range waits {
		all = <-returned && all
	}
	return all
}

// inTime runs what waits for callbacks to return; false if they do not within their second.
func inTime(wait func()) bool {
	done := make(chan struct{})
	go func() { wait(); close(done) }()
	t := time.NewTimer(unresponsiveAfter)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// abandon closes a socket that never came to be used.
func (s *socket[C]) abandon() error {
	if err := s.end("Close", s.cb.Close); errors.Is(err, ErrUnresponsive) {
		return err
	}
	return nil
}

// disown frees an imported socket that cannot be used: nothing is said on the connection, which is somebody else's still. One that has the
// caller's own descriptor is left alone, for to free it would close that.
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
