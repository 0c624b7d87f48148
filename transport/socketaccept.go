package transport

import (
	"context"
	"errors"
	"time"
)

// accept takes one connection.
func (s *socket[C]) accept(ctx context.Context) (*socket[C], Addr, error) {
	if err := s.usable(); err != nil {
		return nil, nil, err
	}
	a := &s.acc
	a.err, a.wait = nil, false
	var err error
	if s.full {
		err = s.in.run(ctx, s, "Accept", true, func(tmo time.Duration) error {
			a.c, a.addr, a.err = s.callAccept(tmo)
			return a.err
		})
	} else {
		err = s.await(ctx, &s.wait.in, s.acceptReady, &a.once, &a.wait)
	}
	if err == nil {
		err = a.err
	}
	if err != nil {
		return nil, nil, err
	}
	n := newSocket(s.cb, s.prompt, s.poller)
	n.c = a.c
	if err := n.ready(); err != nil {
		_ = n.abandon()
		if errors.Is(err, ErrContract) {
			s.fail(err)
		}
		return nil, nil, err
	}
	return n, a.addr, nil
}

func (s *socket[C]) callAccept(tmo time.Duration) (c C, addr Addr, err error) {
	defer s.caught("Accept", &err)
	if !s.prompt {
		s.calls.begin("Accept")
		defer s.calls.end("Accept")
	}
	return s.cb.Accept(s.c, tmo)
}

func (s *socket[C]) tryAccept(uintptr) bool {
	a := &s.acc
	for {
		a.c, a.addr, a.err = s.callAccept(0)
		switch {
		case again(a.err):
			a.wait, a.err = true, nil
			return a.once
		case !interrupted(a.err):
			return true
		}
	}
}
