package transport

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport/internal/await"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

func (s *socket[C]) listen(addr Addr, backlog int) (bound Addr, err error) {
	err = s.guard("Listen", func() (err error) { bound, err = s.cb.Listen(s.c, addr, backlog); return err })
	if err != nil {
		return nil, err
	}
	if bound == nil {
		return nil, contractError("Listen", "no bound address")
	}
	return bound, s.ready(false)
}

// connect runs Connect and waits for its end.
func (s *socket[C]) connect(ctx context.Context, addr Addr) error {
	if s.full {
		if err := s.connectFull(ctx, addr); err != nil {
			return err
		}
		return s.ready(true)
	}
	pause := await.Backoff{First: time.Millisecond, Most: 50 * time.Millisecond}
	for {
		err := s.guard("Connect", func() error { return s.cb.Connect(s.c, addr, 0) })
		switch {
		case err == nil || errors.Is(err, syscall.EISCONN):
			return s.ready(true)
		case errors.Is(err, syscall.EINPROGRESS) || errors.Is(err, syscall.EALREADY):
			if err := s.ready(true); err != nil {
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
func (s *socket[C]) accept(ctx context.Context) (*socket[C], Addr, error) {
	if err := s.usable(); err != nil {
		return nil, nil, err
	}
	a := &s.acc
	a.err = nil
	var err error
	if s.full {
		a.err = errExited // unless the call returns something else
		s.in.late = s.acceptedLate
		err = s.in.run(ctx, s, "Accept", true, func(tmo time.Duration) error {
			a.c, a.addr, a.err = s.callAccept(tmo)
			return a.err
		})
	} else {
		if s.tryAccept == nil {
			s.tryAccept = s.acceptOnce
		}
		err = reason(s, s.pair.In.Wait(ctx, s.tryAccept))
	}
	if err == nil && a.err != nil {
		err = s.timely("Accept", a.err)
	}
	if err != nil {
		return nil, nil, err
	}
	n := newSocket(s.cb, s.prompt, s.policy)
	var none C
	n.c, a.c = a.c, none
	if err := n.begin(func() error { return n.ready(true) }, n.abandon); err != nil {
		if errors.Is(err, ErrContract) {
			s.fail(err)
		}
		return nil, nil, err
	}
	return n, a.addr, nil
}

// acceptedLate closes a connection that an Accept has brought after it was left behind.
func (s *socket[C]) acceptedLate() {
	if s.acc.err == nil {
		n := newSocket(s.cb, s.prompt, s.policy)
		n.c = s.acc.c
		_ = n.abandon()
	}
}

func (s *socket[C]) callAccept(tmo time.Duration) (c C, addr Addr, err error) {
	defer s.caught("Accept", &err)
	err = errExited
	if !s.prompt {
		s.calls.begin("Accept")
		defer s.calls.end("Accept")
	}
	return s.cb.Accept(s.c, tmo)
}

// acceptOnce makes one try under the watch. The try must not wait, so the listener is made
// non-blocking each time: another process that shares it may have put it into blocking mode.
func (s *socket[C]) acceptOnce(uintptr) bool {
	a := &s.acc
	for range maxRepeats {
		if a.err = sys.SetNonblock(s.fd, false); a.err != nil {
			return true
		}
		a.c, a.addr, a.err = s.callAccept(0)
		switch {
		case again(a.err):
			a.err = nil
			return false
		case !interrupted(a.err):
			return true
		}
	}
	a.err = s.endless("Accept")
	return true
}
