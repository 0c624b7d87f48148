package transport

import (
	"context"
	"time"
)

// write writes at least one byte of v, whose first buffer is not empty, or fails. The bytes count where both are given.
func (s *socket[C]) write(ctx context.Context, v [][]byte) (int64, error) {
	w := &s.wr
	if err := s.usable(); err != nil {
		return 0, err
	}
	if err := w.late; err != nil {
		w.late = nil
		return 0, err
	}
	w.v, w.n, w.err, w.wait = v, 0, nil, false
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
		single := isSingle(ctx)
		w.keen, w.sits = canPoll && !single, canPoll && !single
		err = s.await(ctx, s.wait.writing(), s.writeReady, &w.once, &w.wait)
		if !w.began.IsZero() {
			d := time.Since(w.began)
			w.room.slept(d <= 4*s.poller.limit)
			w.seat.waited(d <= sitsFor)
			w.began = time.Time{}
		}
	}
	if lost(err) {
		return 0, err
	}
	w.v = nil
	if err != nil && w.n == 0 {
		return 0, err
	}
	switch {
	case length(v) != size: // what is left of it is to be written
		err := contractError(s.writer(v), "it has changed the vector (as net.Buffers.WriteTo does: give that a copy)")
		s.fail(err)
		return 0, err
	case w.n < 0 || w.n > size || w.n == 0 && w.err == nil:
		err := contractError(s.writer(v), "%d bytes written of %d%s", w.n, size, advice(w.n))
		s.fail(err)
		return 0, err
	case w.n > 0:
		if canPoll {
			s.spin.written(w.n)
		}
		if !s.out.cut.Load() { // what shutdown(2) has made of the call is not its result
			w.late = s.lasting(ctx, &s.out, w.err)
		}
		return w.n, nil
	}
	return 0, w.err
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
	if !s.prompt {
		s.calls.begin(name)
		defer s.calls.end(name)
	}
	if name == "Writev" {
		return s.cb.Writev(s.c, v, tmo)
	}
	k, err := s.cb.Write(s.c, v[0], tmo)
	if k > len(v[0]) {
		return length(v) + 1, nil // out of range for the caller too
	}
	return int64(k), err
}

func (s *socket[C]) tryWrite(uintptr) bool {
	w := &s.wr
	for {
		w.n, w.err = s.callWrite(w.v, 0)
		if w.n != 0 || w.err == nil {
			return true
		}
		if again(w.err) {
			if w.keen && s.pollWrite() || w.sits && !w.once && s.sitWrite() {
				return true
			}
			w.wait, w.err = true, nil
			if !w.once {
				w.slept, w.spell = true, spell{}
			}
			return w.once
		}
		if !interrupted(w.err) {
			return true
		}
	}
}

// pollWrite tries again and again, where room has lately come soon.
func (s *socket[C]) pollWrite() bool {
	w := &s.wr
	w.keen, w.began = false, time.Now()
	if s.poller.limit == 0 || !w.room.due() || !s.poller.enter(&w.spell, w.began) {
		return false
	}
	defer s.poller.leave()
	came := false
	for !came && time.Since(w.began) < s.poller.limit {
		rest(4 * pollPause)
		came = s.writeAgain()
	}
	w.room.polled(came)
	return came
}

// sitWrite waits on a seat, where waits have lately been short.
func (s *socket[C]) sitWrite() bool {
	s.wr.sits = false
	if !s.wr.seat.due() || !s.poller.enter(&s.wr.spell, s.wr.began) {
		return false
	}
	defer s.poller.leave()
	if s.wr.slept {
		s.wr.slept = false
		standIn()
	}
	if !s.wait.sit(true, &s.poller.seats) || !s.writeAgain() {
		s.wr.seat = pace{}
		return false
	}
	if !s.wr.seat.hot {
		s.wr.seat = pace{hot: true}
	}
	return true
}

// writeAgain reports whether there is something to tell.
func (s *socket[C]) writeAgain() bool {
	w := &s.wr
	w.n, w.err = s.callWrite(w.v, 0)
	return w.n != 0 || !again(w.err) && !interrupted(w.err)
}
