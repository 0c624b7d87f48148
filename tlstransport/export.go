package tlstransport

import (
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/transport"
)

// export gives the state of a session, or nil for a listener. Records in the outbox stay there
// until the session is used again, here or where it has moved.
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
	switch state, ahead, err := s.below.Export(); {
	case err != nil:
		return nil, bare(err)
	case len(state)+len(ahead) > 0:
		return nil, fmt.Errorf("TLS with %s: %w: the transport below has a state of its own", s.remote, ErrNotMovable)
	}
	s.asleep.Store(true)
	t := s.state()
	// size first: growing would leave copies of keys behind
	return t.append(make([]byte, 0, t.size())), nil
}

// movable returns why a session cannot move; nil if it can.
func (s *Socket) movable() error {
	select {
	case <-s.over:
	default:
		if !s.up.Load() {
			return errors.New("its handshake is under way")
		}
		if s.own == nil {
			return s.stay
		}
		<-s.over // it is about to be closed
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

// adopt makes a new socket continue an exported session or listener. It does nothing that the peer
// could see.
func (s *Socket) adopt(fd int, exported []byte) error {
	listening := exported == nil
	if listening && !s.p.has[server] {
		return errNoServer
	}
	if listening {
		l, err := s.p.below.ImportListener(fd)
		if err != nil {
			return bare(err)
		}
		s.listens(l)
		return nil
	}
	t, err := parseState(exported)
	if err == nil {
		err = s.resume(&t)
	}
	var below *transport.Stream
	if err == nil {
		below, err = s.p.below.Import(fd, nil)
	}
	if err != nil {
		s.forget()
		return bare(err)
	}
	s.open(below)
	s.asleep.Store(true)
	s.begun.Store(true)
	s.up.Store(true)
	close(s.over)
	return nil
}

// release frees the socket in this process: it sends nothing on the connection, and zeroes the
// keys.
func (s *Socket) release() error {
	if s.listener != nil {
		return bare(s.listener.Release())
	}
	if !s.begun.Load() {
		return nil
	}
	s.endHandshake()
	s.out.stop()
	s.forget()
	return bare(s.below.Release())
}
