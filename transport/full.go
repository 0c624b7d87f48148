package transport

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// A full is the socket of a plug-in with FullImpl: the plug-in waits, and each callback is a whole
// operation, which may have to be ended, or left behind.
type full[C any] struct {
	guarded[C]
	in    side[C]      // runs Read, Accept
	out   side[C]      // runs Write, Writev, Connect
	asked atomic.Int64 // calls of Interrupt

	tryRead, tryWrite func(tmo time.Duration) error
}

func newFull[C any](cb *Callbacks[C], patience time.Duration) *full[C] {
	s := &full[C]{guarded: guarded[C]{cb: cb, fd: -1, patience: patience, closing: make(chan struct{})}}
	s.in.s, s.out.s, s.out.writing = s, s, true
	s.tryRead, s.tryWrite, s.quiesce = s.readWithin, s.writeWithin, s.stopSides
	return s
}

// opened does nothing: there may be no descriptor before the socket is connected.
func (s *full[C]) opened() error { return nil }

// establish makes a connected or listening socket usable.
func (s *full[C]) establish(bool) (err error) {
	s.fd, err = s.getFD()
	return err
}

// connect runs Connect.
func (s *full[C]) connect(ctx context.Context, addr Addr) error {
	if fd, err := s.getFD(); err == nil { // what shutdown needs to end the call
		s.fd = fd
	}
	var result error
	if err := s.out.run(ctx, "Connect", func(tmo time.Duration) error {
		result = s.single("Connect", func() error { return s.cb.Connect(s.c, addr, tmo) })
		return result
	}); err != nil {
		return err
	}
	s.fd = -1
	if again(result) {
		return os.ErrDeadlineExceeded
	}
	if result != nil {
		return result
	}
	return s.establish(true)
}

// accept takes one connection.
func (s *full[C]) accept(ctx context.Context) (carrier, Addr, error) {
	if err := s.usable(); err != nil {
		return nil, nil, err
	}
	a := &s.acc
	a.err = errExited // unless the call returns something else
	s.in.late = s.acceptedLate
	err := s.in.run(ctx, "Accept", func(tmo time.Duration) error {
		a.err = s.callAccept(tmo)
		return a.err
	})
	if err == nil {
		err = a.err
	}
	if err != nil {
		return nil, nil, err
	}
	n := newFull(s.cb, s.patience)
	if err := s.accepted(&n.guarded, func() error { return n.establish(true) }); err != nil {
		return nil, nil, err
	}
	return n, a.addr, nil
}

// acceptedLate closes a connection that an Accept has brought after it was left behind.
func (s *full[C]) acceptedLate() {
	if s.acc.err == nil {
		n := newFull(s.cb, s.patience)
		n.c = s.acc.c
		_ = n.abandon()
	}
}

func (s *full[C]) read(ctx context.Context, p []byte) (int, error) {
	if err := s.startRead(p); err != nil {
		return 0, err
	}
	n, err := s.endRead(p, s.in.run(ctx, "Read", s.tryRead))
	if n > 0 {
		s.rd.late = lasting(s.rd.err, s.in.passed)
	}
	return n, err
}

func (s *full[C]) readWithin(tmo time.Duration) error {
	r := &s.rd
	if r.n, r.err = s.callRead(r.p, tmo); r.n != 0 {
		return nil // bytes count even beside a time-out
	}
	return r.err
}

func (s *full[C]) write(ctx context.Context, v [][]byte) (int64, error) {
	if err := s.startWrite(v); err != nil {
		return 0, err
	}
	size := length(v)
	n, err := s.endWrite(v, size, s.out.run(ctx, s.writer(v), s.tryWrite))
	if n > 0 && !s.out.cut.Load() { // an error that shutdown(2) has caused is not the call's own
		s.wr.late = lasting(s.wr.err, s.out.passed)
	}
	return n, err
}

func (s *full[C]) writeWithin(tmo time.Duration) error {
	w := &s.wr
	if w.n, w.err = s.callWrite(w.v, tmo); w.n != 0 {
		return nil
	}
	return w.err
}

func (s *full[C]) side(writing bool) *side[C] {
	if writing {
		return &s.out
	}
	return &s.in
}

// halt ends the operation of one direction that is in flight, or is about to be. It is called again
// and again until there is none.
func (s *full[C]) halt(writing bool) {
	d := s.side(writing)
	// If the plug-in has no Interrupt, a read comes back by itself, and a write when it can.
	d.halted.Store(true)
	if s.canInterrupt() {
		d.prod()
	}
}

func (s *full[C]) resume(writing bool) { s.side(writing).halted.Store(false) }

func (s *full[C]) isDirect() bool { return s.cb.Flags&Direct != 0 }

func (s *full[C]) canInterrupt() bool { return s.cb.Interrupt != nil }

func (s *full[C]) takesItsTime() bool { return !s.isDirect() }

// The descriptor may hold other bytes than the stream's, and have other errors.

func (s *full[C]) connectionError() error { return nil }
func (s *full[C]) midPacket(bool)         {}
func (s *full[C]) prepare(bool) error     { return nil }
func (s *full[C]) restFirst() error       { return nil }

func (s *full[C]) syscallConn() (syscall.RawConn, error) {
	if _, err := s.descriptor(); err != nil {
		return nil, err
	}
	return controlled[C]{s}, nil
}

// hasty makes a socket dead whose callback returns nothing but time-outs.
func (s *full[C]) hasty(callback string) error {
	return s.fail(contractError(callback,
		"time-outs before their time, again and again: with FullImpl a callback waits by itself (leave the flag "+
			"out where the SDK is to wait on the descriptor), and goes on after a time-out (a decoder, or package tls, may keep the first error)"))
}

// unresponsive makes a socket dead whose callback does not come back.
func (s *full[C]) unresponsive(callback string) error {
	err := &CallbackError{callback, ErrUnresponsive}
	_, ofNet := any(s.c).(*netSocket)
	switch waits := callback == "Write" || callback == "Writev" || callback == "Connect"; {
	case ofNet && callback == "Connect":
		err.Err = fmt.Errorf("%w: Net.Dial has to end with its context", ErrUnresponsive)
	case ofNet && (waits || callback == "Read"):
		err.Err = fmt.Errorf("%w: a deadline of the net.Conn has to end it, also one that is set while it waits", ErrUnresponsive)
	case !s.canInterrupt() && s.fd < 0 && waits:
		err.Err = fmt.Errorf("%w: a carrier without a descriptor needs Interrupt", ErrUnresponsive)
	}
	return s.fail(err)
}

// stopSides ends the calls of both directions for good.
func (s *full[C]) stopSides() (returned bool, left func()) {
	inside := beginning(s.inside.Wait)
	results := make(chan bool, 3)
	for _, stop := range []func() bool{s.in.stop, s.out.stop, func() bool { return endsWithin(inside, s.patience) }} {
		go func() { results <- stop() }()
	}
	returned = true
	for range cap(results) {
		returned = <-results && returned
	}
	return returned, func() {
		<-inside
		s.in.awaitLeft()
		s.out.awaitLeft()
		s.calls.wait() // for Interrupt
	}
}
