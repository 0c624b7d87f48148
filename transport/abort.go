package transport

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// Abort is Close, except that the peer sees a reset: ECONNRESET, and what was counted as written
// and is not yet there may be lost. Where the carrier cannot do that (UNIX sockets, in memory) the
// stream is closed all the same, the peer sees its end, and the error is errors.ErrUnsupported.
// After a Close, or a second time, the result is that of the first call.
func (s *Stream) Abort() error {
	s.state.Or(streamClosed)
	reset := true
	err := s.finish("abort", func() (err error) {
		reset, err = s.car.abort(func() bool { return resetOnClose(s.car) })
		return err
	})
	if err == nil && !reset {
		err = opError("abort", s.remote,
			fmt.Errorf("closed, but the peer sees no reset: %w", errors.ErrUnsupported))
	}
	return err
}

func (s *guarded[C]) abort(otherwise func() bool) (reset bool, err error) {
	if s.cb.Abort == nil {
		reset = otherwise()
		return reset, s.close()
	}
	var cannot atomic.Bool // a callback that is left behind may still write it
	err = s.end("Abort", func(c C) error {
		err := s.cb.Abort(c)
		if errors.Is(err, errors.ErrUnsupported) {
			cannot.Store(true)
			return nil
		}
		return err
	})
	return !cannot.Load(), err
}
