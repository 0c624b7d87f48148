package tlstransport

import (
	"errors"
	"fmt"
)

// export gives the state of a session; that of a listener is nil. What is in the outbox stays there until the session is used again, here
// or where it has moved.
func (s *Socket) export() ([]byte, error) {
	if !s.begun.Load() {
		return nil, nil
	}
	switch err := s.movable(); {
	case err == nil:
	case s.remote != nil:
		return nil, fmt.Errorf("TLS with %s: %w: %w", s.remote, ErrNotMovable, err)
	default:
		return nil, fmt.Errorf("%w: %w", ErrNotMovable, err)
	}
	s.out.stop()
	s.asleep.Store(true)
	return s.state().append(nil), nil
}

// movable is why a session cannot move; nil: it can.
func (s *Socket) movable() error {
	select {
	case <-s.over:
	default:
		return errors.New("its handshake is under way")
	}
	switch {
	case s.failure != nil:
		return s.failure
	case s.own == nil:
		return s.stay
	case s.own.failed != nil:
		return s.own.failed
	case len(s.peerName()) > maxStateName || len(s.certificate()) > maxStateCert:
		return errors.New("the name or the certificate of its peer is too long")
	}
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	if s.out.err != nil {
		return s.peerError(s.out.err)
	}
	return nil
}

// adopt is the other end of an export. It does nothing that the peer could see.
func (p *plugin) adopt(fd int, exported []byte) (*Socket, error) {
	if exported == nil {
		if !p.has[server] {
			return nil, errNoServer
		}
		w, err := importWire(p.tcp, fd, true, p.polls)
		if err != nil {
			return nil, err
		}
		return newSocket(p, w), nil
	}
	t, err := parseState(exported)
	if err != nil {
		return nil, err
	}
	s := newSocket(p, nil)
	if err := s.resume(&t); err != nil {
		return nil, err
	}
	w, err := importWire(p.tcp, fd, false, p.polls)
	if err != nil {
		s.forget()
		return nil, err
	}
	s.wire, s.out.wire = w, w
	s.remote = w.remoteAddr()
	s.asleep.Store(true)
	s.begun.Store(true)
	s.up.Store(true)
	close(s.over)
	return s, nil
}

// release frees the socket in this process: nothing is said on the connection, and the keys are forgotten.
func (s *Socket) release() error {
	if s.begun.Load() {
		s.giveUp.Store(true)
		s.endHandshake()
		s.out.stop()
		s.forget()
	}
	return s.wire.close()
}
