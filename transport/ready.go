package transport

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport/internal/await"
	"github.com/cnode-go/cnode/transport/internal/patience"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// A ready is the socket of a plug-in without FullImpl: the SDK waits until its descriptor is ready,
// and each callback is one try.
type ready[C any] struct {
	guarded[C]
	policy *await.Policy // shared with the Transport's other sockets
	pair   *await.Pair   // how the SDK waits; nil before establish
	halved atomic.Bool   // CloseWrite has succeeded

	tryRead   func() (n int, done bool)
	tryWrite  func() (done bool)
	tryAccept func(uintptr) (done bool) // made by the first accept
}

func newReady[C any](cb *Callbacks[C], patience time.Duration, prompt bool, p *await.Policy) *ready[C] {
	s := &ready[C]{guarded: guarded[C]{cb: cb, fd: -1, patience: patience, prompt: prompt, closing: make(chan struct{})}, policy: p}
	s.tryRead, s.tryWrite, s.quiesce = s.readOnce, s.writeOnce, s.endTries
	return s
}

// opened asks for the plug-in's descriptor, and makes it non-blocking.
func (s *ready[C]) opened() error {
	fd, err := s.getFD()
	if err != nil {
		return err
	}
	if fd < 0 {
		return &CallbackError{"GetFD", fmt.Errorf("%w: only a plug-in with FullImpl can do without a descriptor: %w",
			ErrContract, errors.ErrUnsupported)}
	}
	s.fd = fd
	return sys.SetNonblock(fd, s.prompt && !s.given)
}

// establish makes a connected or listening socket usable; polls says that its reader may poll.
func (s *ready[C]) establish(polls bool) error {
	confirm := s.sameFD
	if s.fd < 0 {
		confirm = s.opened
	}
	if err := confirm(); err != nil || s.pair != nil {
		return err
	}
	var err error
	s.pair, err = await.New(s.fd, s.policy, polls, s.prompt)
	if not := new(await.NotWaitableError); errors.As(err, &not) {
		return contractError("GetFD", "%v", not)
	}
	return err
}

// connect runs Connect and waits for its end.
func (s *ready[C]) connect(ctx context.Context, addr Addr) error {
	pause := patience.Backoff{First: time.Millisecond, Most: 50 * time.Millisecond}
	for {
		err := s.guard("Connect", func() error { return s.cb.Connect(s.c, addr, 0) })
		switch {
		case err == nil || errors.Is(err, syscall.EISCONN):
			return s.establish(true)
		case errors.Is(err, syscall.EINPROGRESS) || errors.Is(err, syscall.EALREADY):
			if err := s.establish(true); err != nil {
				return err
			}
			return s.pair.Connected(ctx)
		case !again(err):
			return err
		}
		// A UNIX connect on a full backlog: the poller would never wake for it.
		if err := pause.Wait(ctx, nil, nil); err != nil {
			return err
		}
	}
}

// accept takes one connection.
func (s *ready[C]) accept(ctx context.Context) (carrier, Addr, error) {
	if err := s.usable(); err != nil {
		return nil, nil, err
	}
	if s.tryAccept == nil {
		s.tryAccept = s.acceptOnce
	}
	s.acc.err = nil
	err := reason(s, s.pair.In.Wait(ctx, s.tryAccept))
	if err == nil {
		err = s.acc.err
	}
	if err != nil {
		return nil, nil, err
	}
	n := newReady(s.cb, s.patience, s.prompt, s.policy)
	if err := s.accepted(&n.guarded, func() error { return n.establish(true) }); err != nil {
		return nil, nil, err
	}
	return n, s.acc.addr, nil
}

// acceptOnce makes one try under the watch. The try must not wait, so the listener is made
// non-blocking each time: another process that shares it may have put it into blocking mode.
func (s *ready[C]) acceptOnce(uintptr) bool {
	a := &s.acc
	for range maxRepeats {
		if a.err = sys.SetNonblock(s.fd, false); a.err == nil {
			a.err = s.callAccept(0)
		}
		if !interrupted(a.err) {
			return s.judge("Accept", &a.err)
		}
	}
	a.err = s.endless("Accept")
	return true
}

func (s *ready[C]) read(ctx context.Context, p []byte) (int, error) {
	if err := s.startRead(p); err != nil {
		return 0, err
	}
	n, err := s.endRead(p, reason(s, s.pair.In.Do(ctx, s.tryRead)))
	if n > 0 {
		s.rd.late = lasting(s.rd.err, false)
	}
	return n, err
}

// readOnce makes one try of the read in flight, repeated after EINTR.
func (s *ready[C]) readOnce() (n int, done bool) {
	r := &s.rd
	for range maxRepeats {
		switch r.n, r.err = s.callRead(r.p, 0); {
		case r.n != 0 || r.err == nil:
			return r.n, true
		case !interrupted(r.err):
			return 0, s.judge("Read", &r.err)
		}
	}
	r.err = s.endless("Read")
	return 0, true
}

func (s *ready[C]) write(ctx context.Context, v [][]byte) (int64, error) {
	if err := s.startWrite(v); err != nil {
		return 0, err
	}
	size := length(v)
	n, err := s.endWrite(v, size, s.halvedError(reason(s, s.pair.Out.Do(ctx, s.tryWrite))))
	if n > 0 {
		if await.CanPoll {
			s.pair.In.Wrote()
		}
		s.wr.late = lasting(s.wr.err, false)
	}
	return n, err
}

// writeOnce is to write as readOnce is to read.
func (s *ready[C]) writeOnce() (done bool) {
	w := &s.wr
	for range maxRepeats {
		switch w.n, w.err = s.callWrite(w.v, 0); {
		case w.n != 0 || w.err == nil:
			return true
		case !interrupted(w.err):
			return s.judge(s.writer(w.v), &w.err)
		}
	}
	w.err = s.endless(s.writer(w.v))
	return true
}

// judge reports whether a try that returned *err is the last one: after EAGAIN, which it clears,
// the SDK waits for the next. A time-out breaks the contract: the SDK would not know when to try
// again.
func (s *ready[C]) judge(callback string, err *error) (done bool) {
	switch {
	case again(*err):
		*err = nil
		return false
	case isOverdue(*err):
		*err = s.fail(contractError(callback, "%v: without FullImpl it is the SDK that waits, after EAGAIN", *err))
	}
	return true
}

func (s *ready[C]) closeWrite() error {
	err := s.guarded.closeWrite()
	if err == nil { // the kernel wakes nobody who waits for room in a UNIX socket
		s.halved.Store(true)
		s.pair.Halt(true)
	}
	return err
}

// halvedError makes EPIPE, which the plug-in would say, of the time-out with which CloseWrite ends
// the waits of writers.
func (s *ready[C]) halvedError(err error) error {
	if s.halved.Load() && isTimeout(err) {
		return syscall.EPIPE
	}
	return err
}

func (s *ready[C]) pending() (int, error) {
	n, err := s.guarded.pending()
	if err != nil {
		return 0, err
	}
	k, err := s.pair.Pending()
	return n + k, reason(s, err)
}

func (s *ready[C]) connectionError() (err error) {
	_ = s.pair.RawConn().Control(func(fd uintptr) { err = sys.SocketError(int(fd)) })
	return err
}

func (s *ready[C]) syscallConn() (syscall.RawConn, error) {
	return streamConn[C]{rawConn{s, s.pair.RawConn()}, s}, nil
}

func (s *ready[C]) takesItsTime() bool         { return false }
func (s *ready[C]) midPacket(is bool)          { s.pair.In.RestOfPacket(is) }
func (s *ready[C]) halt(writing bool)          { s.pair.Halt(writing) }
func (s *ready[C]) resume(writing bool)        { s.pair.Allow(writing) }
func (s *ready[C]) prepare(writing bool) error { return s.pair.Prepare(writing) }
func (s *ready[C]) restFirst() error           { return s.pair.RestFirst() }

// endTries ends the waits, and waits for a try that is running.
func (s *ready[C]) endTries() (returned bool, left func()) {
	end := func() {
		if s.pair != nil {
			s.pair.Close()
		}
		s.inside.Wait()
	}
	if s.prompt {
		end()
		return true, nil
	}
	ended := beginning(end)
	return endsWithin(ended, s.patience), func() { <-ended }
}
