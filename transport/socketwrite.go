package transport

import (
	"context"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport/internal/await"
)

// maxVector is the length of the longest vector that a Writev is given: IOV_MAX of writev(2), the
// same on all systems.
const maxVector = 1024

// write writes at least one byte of v, whose first buffer is not empty, or fails. If the plug-in
// returns both bytes and an error, the bytes count.
func (s *socket[C]) write(ctx context.Context, v [][]byte) (int64, error) {
	w := &s.wr
	if err := s.usable(); err != nil {
		return 0, err
	}
	if err := w.late; err != nil {
		w.late = nil
		return 0, err
	}
	w.v, w.n, w.err = v, 0, nil
	size := length(v)
	var err error
	if s.full {
		err = s.out.run(ctx, s, s.writer(v), false, func(tmo time.Duration) error {
			if w.n, w.err = s.callWrite(v, tmo); w.n != 0 {
				return nil // bytes count even beside a time-out
			}
			return w.err
		})
	} else {
		err = s.halvedError(reason(s, s.pair.Out.Do(ctx, s.tryWrite)))
	}
	if lost(err) {
		return 0, err
	}
	w.v = nil
	if err != nil && w.n == 0 {
		return 0, err
	}
	switch {
	case length(v) != size: // the caller still has to write the rest of it
		err := contractError(s.writer(v), "it has changed the vector (as net.Buffers.WriteTo does: give that a copy)")
		s.fail(err)
		return 0, err
	case w.n < 0 || w.n > size || w.n == 0 && w.err == nil:
		err := contractError(s.writer(v), "%d bytes written of %d", w.n, size)
		s.fail(err)
		return 0, err
	case w.n > 0:
		if await.CanPoll && s.pair != nil {
			s.pair.In.Wrote(w.n)
		}
		if !s.out.cut.Load() { // an error that shutdown(2) has caused is not the call's own
			w.late = s.lasting(&s.out, w.err)
		}
		return w.n, nil
	}
	return 0, s.timely(s.writer(v), w.err)
}

// halvedError makes EPIPE, which the plug-in would say, of the time-out with which CloseWrite ends
// the waits of writers.
func (s *socket[C]) halvedError(err error) error {
	if s.halved.Load() && isTimeout(err) {
		return syscall.EPIPE
	}
	return err
}

// writer is the callback that writes v.
func (s *socket[C]) writer(v [][]byte) string {
	if s.cb.Writev != nil && len(v) > 1 {
		return "Writev"
	}
	return "Write"
}

func (s *socket[C]) callWrite(v [][]byte, tmo time.Duration) (n int64, err error) {
	name := s.writer(v)
	defer s.caught(name, &err)
	err = errExited
	if !s.prompt {
		s.calls.begin(name)
		defer s.calls.end(name)
	}
	if name == "Writev" {
		n, err = s.cb.Writev(s.c, v[:min(len(v), maxVector)], tmo)
		return countOf(n, err), err
	}
	k, err := s.cb.Write(s.c, v[0], tmo)
	if k > len(v[0]) {
		return length(v) + 1, nil // out of range for the caller too
	}
	return int64(countOf(k, err)), err
}

// writeOnce is to write as readOnce is to read.
func (s *socket[C]) writeOnce() (done bool) {
	w := &s.wr
	for range maxRepeats {
		switch w.n, w.err = s.callWrite(w.v, 0); {
		case w.n != 0 || w.err == nil:
			return true
		case again(w.err):
			w.err = nil
			return false
		case !interrupted(w.err):
			return true
		}
	}
	w.err = s.endless(s.writer(w.v))
	return true
}
