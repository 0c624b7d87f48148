package protocol

import (
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/nodes/dist"
)

// MaxHandshakePacket is the size in bytes beyond which a PacketConn may refuse a handshake packet:
// several times what any known node sends, so that a stranger cannot make us keep more.
const MaxHandshakePacket = 4096

// Phases of a handshake, in their order: HandshakeError.Phase.
const (
	PhaseConfig         = "config"          // before the first message: the caller's own data
	PhaseName           = "name"            // send_name
	PhaseStatus         = "status"          // the accepting side's status
	PhaseAliveAnswer    = "alive_answer"    // the connecting side's answer to "alive"
	PhaseComplement     = "complement"      // the other half of a version 5 name
	PhaseChallenge      = "challenge"       // the accepting side's challenge
	PhaseChallengeReply = "challenge_reply" // the connecting side's digest
	PhaseChallengeAck   = "challenge_ack"   // the accepting side's digest
)

// PacketConn carries whole handshake packets; it takes care of the length
// prefix (2 bytes over TCP, 4 over TLS) and of every time limit.
type PacketConn interface {
	// ReadPacket returns the next packet, valid until the next call.
	ReadPacket() ([]byte, error)
	// WritePackets writes the packets in order, in one write where it can.
	WritePackets(p ...[]byte) error
}

// Self is what a node says about itself.
type Self struct {
	Name      string     // alive@host; only the host when Dynamic
	Flags     dist.Flags // announced to the peer; 0 means FlagsDefault
	Mandatory dist.Flags // required of the peer; 0 means Mandatory25
	Creation  uint32     // which incarnation of the name this is
	Cookie    string     // the shared secret
	Challenge uint32     // a fresh random number for every handshake; 0 is refused, as probably forgotten
	Dynamic   bool       // Initiate only: ask the peer for a name (FlagNameMe)

	// IsOwn reports whether a challenge is one that this node has made for a handshake in progress:
	// if a peer sends such a challenge as its own, the handshake ends with ErrReflected. nil: this
	// is not checked.
	IsOwn func(challenge uint32) bool

	// Cookies are the secrets shared with single peers, by their names, in place of Cookie:
	// erlang:set_cookie(Node, Cookie).
	Cookies map[string]string
}

// reflected refuses a peer's challenge that this node itself has made.
func (s Self) reflected(challenge uint32) error {
	if s.IsOwn != nil && s.IsOwn(challenge) {
		return dist.ErrReflected
	}
	return nil
}

// cookie gives the secret shared with a peer.
func (s Self) cookie(peer string) string {
	if c, ok := s.Cookies[peer]; ok {
		return c
	}
	return s.Cookie
}

// mandatory gives the flags demanded of a peer.
func (s Self) mandatory() dist.Flags {
	if s.Mandatory == 0 {
		return dist.Mandatory25
	}
	return s.Mandatory
}

// announced gives the flags to send. The request for a name follows Dynamic
// alone, so that a word copied from a peer cannot smuggle it in.
func (s Self) announced() dist.Flags {
	f := s.Flags
	if f == 0 {
		f = dist.FlagsDefault
	}
	if s.Dynamic {
		return f | dist.FlagNameMe
	}
	return f &^ dist.FlagNameMe
}

// check finds what would make a handshake fail for reasons of our own.
func (s Self) check() error {
	err := dist.CheckOwnName(s.Name)
	if s.Dynamic {
		err = dist.CheckOwnHost(s.Name)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: own name: %w", dist.ErrConfig, err)
	case s.Challenge == 0:
		return fmt.Errorf("%w: Challenge is 0, it must be random", dist.ErrConfig)
	}
	return nil
}

// exchange is one handshake in progress. All but conn is for the error: how far it got.
type exchange struct {
	conn    PacketConn
	phase   string
	peer    string
	status  dist.Status
	missing dist.Flags
	own     dist.Flags // what this side has announced; 0 before that
}

// receive reads the message of a phase.
func receive[T any](x *exchange, phase string, parse func(packet []byte) (T, error)) (m T, err error) {
	x.phase = phase
	packet, err := x.conn.ReadPacket()
	if err != nil {
		return m, err
	}
	return parse(packet)
}

func (x *exchange) write(phase string, p ...[]byte) error {
	x.phase = phase
	return x.conn.WritePackets(p...)
}

// demand checks that f, the peer's flags, has the mandatory ones.
func (x *exchange) demand(f, mandatory dist.Flags) error {
	if x.missing = f.Missing(mandatory); x.missing != 0 {
		return dist.ErrMissingFlags
	}
	return nil
}

// fail turns err into the *HandshakeError of the current phase.
func (x *exchange) fail(err error) error {
	e := &dist.HandshakeError{Phase: x.phase, Peer: x.peer, Status: x.status, Missing: x.missing, Err: err}
	if e.ClosedByPeer() {
		e.Hint = hint(x.phase)
	}
	if lack := x.lack(e); lack != 0 {
		if e.Hint != "" {
			e.Hint += "; "
		}
		e.Hint += "this side does not announce " + lack.Wanted()
	}
	return e
}

// lack gives the mandatory flags that this side does not announce, if they may be why the peer has
// refused it: with not_allowed, or by closing before the cookies are compared.
func (x *exchange) lack(e *dist.HandshakeError) dist.Flags {
	if x.own == 0 || x.phase == PhaseChallengeAck || !e.ClosedByPeer() && !errors.Is(e.Err, dist.ErrNotAllowed) {
		return 0
	}
	return x.own.Missing(dist.Mandatory26)
}

// hint says what a peer most likely means by closing instead of answering;
// the protocol has no other way to refuse in these phases.
func hint(phase string) string {
	const closed = "connection closed by peer: "
	switch phase {
	case PhaseName:
		return closed + "it gave no name"
	case PhaseStatus:
		return closed + "it may refuse our handshake version or flags, speak TLS only, or not be an Erlang node"
	case PhaseAliveAnswer:
		return closed + "it may not know the answer to alive (the C library does not)"
	case PhaseChallenge, PhaseComplement, PhaseChallengeReply:
		return closed + "it may refuse our name or flags"
	case PhaseChallengeAck:
		return closed + "most often a wrong cookie"
	}
	return ""
}

// refusal joins ErrRefused with the reason, so that both can be found with errors.Is.
func refusal(err error) error { return fmt.Errorf("%w: %w", dist.ErrRefused, err) }
