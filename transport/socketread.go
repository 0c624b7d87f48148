package transport

import (
	"context"
	"io"
	"time"
)

func (s *socket[C]) midPacket(is bool) { s.spin.mid = is }

// read reads at least one byte into p, or fails; io.EOF is the end of the stream. The bytes count where both are given.
func (s *socket[C]) read(ctx context.Context, p []byte) (int, error) {
	r := &s.rd
	if err := s.usable(); err != nil {
		return 0, err
	}
	if err := r.late; err != nil {
		r.late = nil
		return 0, err
	}
	r.p, r.n, r.err, r.wait = p, 0, nil, false
	var err error
	if s.full {
		err = s.in.run(ctx, s, "Read", true, func(tmo time.Duration) error {
			if r.n, r.err = s.callRead(p, tmo); r.n != 0 {
				return nil // bytes count even beside a time-out
			}
			return r.err
		})
	} else {
		single := isSingle(ctx)
		r.keen, r.sits = canPoll && !single, canPoll && !single
		err = s.await(ctx, s.wait.reading(), s.readReady, &r.once, &r.wait)
		if canPoll {
			s.spin.end(r.n, s.poller)
		}
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
		err := contractError("Read", "%d bytes read into a buffer of %d%s", r.n, len(p), advice(int64(r.n)))
		s.fail(err)
		return 0, err
	case r.n > 0:
		r.late = s.lasting(ctx, &s.in, r.err)
		return r.n, nil
	case s.usable() != nil: // Close ends a call by shutdown(2), which looks like the end of the stream
		return 0, s.usable()
	case r.err != nil:
		return 0, r.err
	}
	return 0, io.EOF
}

// advice is for plug-ins that return what a system call has given.
func advice(n int64) string {
	if n == -1 {
		return " (where a system call gives -1 beside an error, return 0 and the error)"
	}
	return ""
}

func (s *socket[C]) callRead(p []byte, tmo time.Duration) (n int, err error) {
	defer s.caught("Read", &err)
	if !s.prompt {
		s.calls.begin("Read")
		defer s.calls.end("Read")
	}
	return s.cb.Read(s.c, p, tmo)
}

// tryRead is one try under the waiter; false asks it to wait.
func (s *socket[C]) tryRead(uintptr) bool {
	r := &s.rd
	for {
		r.n, r.err = s.callRead(r.p, 0)
		if r.n != 0 || r.err == nil {
			return true
		}
		if again(r.err) {
			if r.keen && s.helpRead() || r.sits && !r.once && s.sitRead() {
				return true
			}
			if canPoll && !r.once && s.wait.quiet(false) {
				continue // what came before that wakes nobody
			}
			r.wait, r.err = true, nil
			if !r.once {
				s.spin.slept, s.spin.spell = true, spell{}
			}
			return r.once
		}
		if !interrupted(r.err) {
			return true
		}
	}
}

// helpRead does without the Go poller for a while, where the pace of the peer promises something. That looks away meanwhile.
func (s *socket[C]) helpRead() bool {
	s.rd.keen = false
	habit := s.spin.begin()
	polls, soon := s.poller.limit > 0 && habit.due(), s.poller.short > 0 && s.spin.soon()
	if !polls && !soon || !s.poller.enter(&s.spin.spell, s.spin.began) {
		return false
	}
	defer s.poller.leave()
	came := polls && s.pollRead(habit) || soon && s.waitRead()
	if came {
		s.wait.quiet(true)
	}
	return came
}

// pollRead tries again and again, or naps.
func (s *socket[C]) pollRead(habit *pace) bool {
	limit := s.spin.patience(s.poller.limit)
	if habit == &s.spin.flow {
		nap(limit)
		limit = 0
	}
	pause := pollPause
	if habit == &s.spin.bulk { // what has gathered meanwhile is read in one piece
		pause = pollPauseBulk
		rest(pause)
	}
	came := false
	for began := time.Now(); ; rest(pause) {
		if came = s.readAgain(); came || time.Since(began) >= limit {
			break
		}
	}
	habit.polled(came)
	return came
}

// waitRead makes a short wait.
func (s *socket[C]) waitRead() bool {
	if awaitFD(s.fd, pollArrivals, s.poller.short) && s.readAgain() {
		return true
	}
	s.spin.first = pollFirst
	return false
}

// sitRead waits on a seat, where waits have lately been short.
func (s *socket[C]) sitRead() bool {
	s.rd.sits = false
	if !s.spin.sits.due() || !s.poller.enter(&s.spin.spell, s.spin.began) {
		return false
	}
	defer s.poller.leave()
	if s.spin.slept {
		s.spin.slept = false
		standIn()
	}
	if !s.wait.sit(false, &s.poller.seats) || !s.readAgain() {
		s.spin.sits = pace{}
		return false
	}
	if !s.spin.sits.hot {
		s.spin.sits = pace{hot: true}
	}
	s.wait.quiet(true)
	return true
}

// readAgain reports whether there is something to tell.
func (s *socket[C]) readAgain() bool {
	r := &s.rd
	r.n, r.err = s.callRead(r.p, 0)
	return r.n != 0 || !again(r.err) && !interrupted(r.err)
}
