package tlstransport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A peer is what the handshake has told about the other side.
type peer struct {
	certificate *x509.Certificate // nil: the peer has sent none
	verified    bool              // against our authorities
}

// begin starts the handshake on a goroutine of its own, with its own time limit, so that a silent
// peer delays no other connection.
func (s *Socket) begin(r role, below *transport.Stream) {
	s.open(below)
	s.role = r
	s.begun.Store(true)
	ctx, cancel := context.WithTimeout(s.life, s.p.timeout)
	go func() {
		defer cancel()
		err := errGoexit // stays the error if shakeSafely does not return
		defer func() { s.shaken(err) }()
		err = s.shakeSafely(ctx)
	}()
}

// errGoexit is the error of a handshake whose goroutine was ended by a function of the
// configuration, as a test's FailNow does.
var errGoexit = errors.New("the configuration's functions call runtime.Goexit")

// shaken ends the handshake, successfully or not.
func (s *Socket) shaken(err error) {
	defer close(s.over)
	if err != nil {
		s.failure = s.peerError(err)
		s.linger()
		s.p.log.Debug("TLS handshake failed", "role", s.role.String(), "error", s.failure)
		return
	}
	s.mu.Lock()
	s.up.Store(true)
	halved := s.isHalved()
	s.mu.Unlock()
	if halved {
		_ = s.closeNotify() // on failure the connection's end will tell the peer
	}
}

// lingerLimit bounds how long a failed handshake waits for the peer to close.
const lingerLimit = 250 * time.Millisecond

// linger gives our alert, which says why the handshake has failed, time to arrive: if the
// connection were closed while bytes of the peer come in, the kernel would answer with a reset, and
// the peer would see that instead of the alert.
func (s *Socket) linger() {
	var e *PeerError
	if s.aborted() != nil || errors.As(s.failure, &e) && (e.ByPeer || e.Failure == FailureClosed || e.Failure == FailureTime) {
		return
	}
	_ = s.below.CloseWrite() // on failure the peer sees the end later
	ctx, cancel := context.WithTimeout(s.life, lingerLimit)
	defer cancel()
	var p [4 << 10]byte
	for {
		if _, err := s.receive(ctx, p[:]); err != nil {
			return
		}
	}
}

// shakeSafely makes a panic of the configuration's own functions an error of this session only.
func (s *Socket) shakeSafely(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the configuration's functions panic: %v", r)
		}
	}()
	return s.shake(ctx)
}

func (s *Socket) shake(ctx context.Context) error {
	s.tap = &tap{s: s, ctx: ctx, keys: keyLog{lines: map[string]logged{}}}
	if _, err := s.below.HandshakePacketHeaderSize(ctx); err != nil {
		return bare(err)
	}
	if s.below.KeepsPackets() {
		return fmt.Errorf("the transport below TLS keeps packets; TLS needs a stream of bytes: %w", errors.ErrUnsupported)
	}
	base, err := s.p.source.config(s.role, s.host())
	if err != nil {
		return err
	}
	s.p.tellInvalid(base, time.Now())
	keys := &s.tap.keys
	defer keys.forget()
	cfg := s.p.session(base, keys)
	if s.role == client {
		if base.MinVersion == 0 && base.EncryptedClientHelloConfigList != nil {
			cfg.MinVersion = tls.VersionTLS13 // crypto/tls requires it
		}
		s.conn = tls.Client(s.tap, cfg)
	} else {
		s.conn = tls.Server(s.tap, cfg)
	}
	if err := s.conn.Handshake(); err != nil {
		if late := s.aborted(); late != nil {
			return late
		}
		return err
	}
	state := s.conn.ConnectionState()
	if len(state.PeerCertificates) > 0 {
		s.peer = peer{state.PeerCertificates[0], len(state.VerifiedChains) > 0 || s.p.source.verifies(s.role)}
	}
	s.tls12 = state.Version == tls.VersionTLS12
	s.tap.shaken = true
	s.takeOver(&state, keys)
	return nil
}

// takeOver continues after the handshake with our own record protection, if it is certain to
// continue the session exactly; else the session stays with crypto/tls.
func (s *Socket) takeOver(state *tls.ConnectionState, keys *keyLog) {
	switch {
	case s.p.plain:
		s.stay = errors.New("Options.Plain keeps sessions with crypto/tls")
	case !s.tap.atBoundary() || state.DidResume || !state.HandshakeComplete:
		s.stay = errors.New("the handshake has not ended between two records")
	default:
		in, out, err := keys.halves(state, s.role, s.tap.hello)
		if err == nil {
			s.own = newSession(s, in, out)
			s.conn, s.tap = nil, nil
			return
		}
		s.stay = err
	}
	s.p.log.Debug("this TLS session cannot move", "addr", s.remote, "reason", s.stay)
}

// session makes the configuration of one handshake. Sessions share nothing (tickets, cache), so
// that the whole state of each is known and can move.
func (p *plugin) session(base *tls.Config, keys *keyLog) *tls.Config {
	c := base.Clone()
	keys.to(base.KeyLogWriter)
	c.KeyLogWriter = keys
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.SessionTicketsDisabled = true
	c.ClientSessionCache = nil
	c.Renegotiation = tls.RenegotiateNever
	if each := base.GetConfigForClient; each != nil {
		c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := each(hello)
			if chosen == nil || err != nil {
				return nil, err
			}
			chosen = p.session(chosen, keys)
			chosen.GetConfigForClient = nil
			return chosen, nil
		}
	}
	return c
}

// checkPeer calls Options.Checks for the peer, which calls itself name.
func (s *Socket) checkPeer(name string) error {
	if err := s.await(context.Background(), nil); err != nil {
		return err
	}
	s.name(name)
	if err := s.below.CheckPeer(context.Background(), name); err != nil {
		return bare(err)
	}
	for _, check := range s.p.checks {
		err := check(Peer{Name: name, Addr: s.remote, Certificate: s.peer.certificate, Verified: s.peer.verified})
		if err == nil {
			continue
		}
		return s.checked(FailureAllowed, fmt.Errorf("%w: %w", ErrNotAllowed, err))
	}
	return nil
}
