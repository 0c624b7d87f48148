package transport

import (
	"context"
	"errors"
	"io"
	"time"
)

func (s *socket[C]) midPacket(is bool) {
	if s.pair != nil {
		s.pair.In.RestOfPacket(is)
	}
}

// read reads at least one byte into p, or fails; io.EOF is the end of the stream. If the plug-in
// returns both bytes and an error, the bytes count.
func (s *socket[C]) read(ctx context.Context, p []byte) (int, error) {
	r := &s.rd
	if err := s.usable(); err != nil {
		return 0, err
	}
	if err := r.late; err != nil {
		r.late = nil
		return 0, err
	}
	r.p, r.n, r.err = p, 0, nil
	var err error
	if s.full {
		err = s.in.run(ctx, s, "Read", true, func(tmo time.Duration) error {
			if r.n, r.err = s.callRead(p, tmo); r.n != 0 {
				return nil // bytes count even beside a time-out
			}
			return r.err
		})
	} else {
		err = reason(s, s.pair.In.Do(ctx, s.tryRead))
	}
	if lost(err) { // the callback may still use r
		return 0, err
	}
	r.p = nil
	if err != nil && r.n == 0 { // bytes that came at the last moment are not lost
		return 0, err
	}
	switch {
	case r.n < 0 || r.n > len(p):
		err := contractError("Read", "%d bytes read into a buffer of %d", r.n, len(p))
		s.fail(err)
		return 0, err
	case r.n > 0:
		r.late = s.lasting(&s.in, r.err)
		return r.n, nil
	// Close ends a call by shutdown(2), which looks like the end of the stream
	case s.usable() != nil:
		return 0, s.usable()
	case r.err != nil:
		return 0, s.timely("Read", r.err)
	}
	return 0, io.EOF
}

// timely returns a callback's error. Where the SDK waits, a time-out breaks the contract: the SDK
// would not know when to try again.
func (s *socket[C]) timely(callback string, err error) error {
	if s.full || !isTimeout(err) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	err = contractError(callback, "%v: without FullImpl it is the SDK that waits, after EAGAIN", err)
	s.fail(err)
	return err
}

// countOf is the count of a callback that may return what its system call gave: -1 beside an error
// is no byte.
func countOf[N int | int64](n N, err error) N {
	if n == -1 && err != nil {
		return 0
	}
	return n
}

func (s *socket[C]) callRead(p []byte, tmo time.Duration) (n int, err error) {
	defer s.caught("Read", &err)
	err = errExited
	if !s.prompt {
		s.calls.begin("Read")
		defer s.calls.end("Read")
	}
	n, err = s.cb.Read(s.c, p, tmo)
	return countOf(n, err), err
}

// readOnce makes one try of the read in flight, repeated after EINTR.
func (s *socket[C]) readOnce() (n int, done bool) {
	r := &s.rd
	for range maxRepeats {
		switch r.n, r.err = s.callRead(r.p, 0); {
		case r.n != 0 || r.err == nil:
			return r.n, true
		case again(r.err):
			r.err = nil
			return 0, false
		case !interrupted(r.err):
			return 0, true
		}
	}
	r.err = s.endless("Read")
	return 0, true
}
