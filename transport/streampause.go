package transport

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport/internal/patience"
)

// ErrPaused is the error of operations in a paused direction: those in progress, and those that
// begin before Resume. It is a time-out, for nothing is wrong with the stream: bytes that a cut-off
// read has taken are there for the next one.
var ErrPaused = fmt.Errorf("paused for a hand-off: %w", os.ErrDeadlineExceeded)

// askAgain is how often an operation that is to end is told so: a plug-in may miss an Interrupt
// that comes just before it begins to wait.
const askAgain = 10 * time.Millisecond

// PauseRead stops the reading direction at a byte boundary: the read in progress ends with
// ErrPaused, what it had taken is put back, and later ones get ErrPaused until Resume. It waits
// until no read is in progress; when ctx ends before, the stream goes on and the error is ctx's. A
// write goes on meanwhile. ErrPaused if the direction is paused already, or another call is about
// to pause it.
func (s *Stream) PauseRead(ctx context.Context) error {
	return opError("pause", s.remote, s.pause(ctx, pausedRead, &s.reading))
}

// pauseWrite does the same for the writing direction; part of the bytes of the write in progress
// may be out. Only a Queue uses it.
func (s *Stream) pauseWrite(ctx context.Context) error { return s.pause(ctx, pausedWrite, &s.writing) }

func (s *Stream) pause(ctx context.Context, direction int32, busy *atomic.Bool) error {
	if err := s.usable(); err != nil {
		return err
	}
	if err := ended(ctx); err != nil {
		return err
	}
	// Or about to be: the call that pauses it may outlast ctx, so do not wait for the lock.
	if s.state.Load()&direction != 0 {
		return ErrPaused
	}
	s.pausing.Lock()
	defer s.pausing.Unlock()
	if s.state.Load()&direction != 0 {
		return ErrPaused
	}
	if s.idle == nil {
		s.idle = make(chan struct{}, 1)
	}
	s.state.Or(direction)
	err := settle(ctx, busy, s.idle, func() { s.car.halt(direction == pausedWrite) })
	if err != nil {
		s.resume(direction)
	}
	return err
}

// settle asks an operation to end, by halt, until the operation or ctx has ended. Under NoWait it
// succeeds only if there is no operation.
func settle(ctx context.Context, busy *atomic.Bool, idle <-chan struct{}, halt func()) error {
	if !busy.Load() {
		return nil
	}
	if IsNoWait(ctx) { // its end would take a moment
		return os.ErrDeadlineExceeded
	}
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		halt()
		for waiting := true; waiting; {
			if !busy.Load() {
				return nil
			}
			select {
			case <-idle:
			case <-again.C:
				waiting = false
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// Resume lets paused directions go on. After an Export, or Import, it also reads ahead what is
// there, without waiting: a plug-in that writes in the background goes on with that.
func (s *Stream) Resume() {
	s.pausing.Lock()
	defer s.pausing.Unlock()
	if s.state.Load()&pausedRead != 0 && s.asleep.CompareAndSwap(true, false) {
		s.car.resume(false)
		s.rouse()
	}
	s.resume(pausedRead)
}

// rouse makes a read, whose result is left for the next one; but not where the carrier keeps
// packets, for the end of one could not be left.
func (s *Stream) rouse() {
	if s.KeepsPackets() || s.claimPaused() != nil {
		return
	}
	defer s.endRead()
	p := make([]byte, readAheadMin)
	n, err := s.receive(NoWait(), p, false)
	if err != nil { // the next read asks again
		return
	}
	rest := slices.Clone(s.buf[s.r:s.w])
	s.r, s.w = 0, 0
	s.unread(rest, p[:n])
}

func (s *Stream) resume(direction int32) {
	if s.state.Load()&direction != 0 {
		s.car.resume(direction == pausedWrite)
		s.state.And(^direction)
	}
}

func (s *Stream) resumeWrite() {
	s.pausing.Lock()
	defer s.pausing.Unlock()
	s.resume(pausedWrite)
}

// wake tells a pause in progress that an operation has ended.
func (s *Stream) wake() {
	if s.state.Load()&(pausedRead|pausedWrite) != 0 {
		select {
		case s.idle <- struct{}{}:
		default:
		}
	}
}

// cutOff turns a time-out that a pause has caused into ErrPaused, even if the pause has been given
// up since.
func (s *Stream) cutOff(ctx context.Context, direction int32, err error) error {
	paused := s.state.Load()&direction != 0
	switch {
	case isTimeout(err) && (paused || patience.HasTime(ctx)):
	case paused && errors.Is(err, context.DeadlineExceeded):
	default:
		return err
	}
	if err := ended(ctx); err != nil {
		return err
	}
	return ErrPaused
}
