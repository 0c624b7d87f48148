package protocol

import (
	"crypto/subtle"
	"fmt"
	"slices"

	"github.com/cnode-go/cnode/nodes/dist"
)

// InitiateOptions is what the connecting side may decide; the zero value
// connects to any node that answers.
type InitiateOptions struct {
	// Want is the node name that must answer, else ErrWrongPeer. "" takes any.
	Want string

	// AliveAnswer is asked when the peer says that a connection between the two nodes exists: true
	// means that the old one is dead and the peer may replace it; false ends this attempt with
	// ErrAlive. peer is Want. nil answers true.
	AliveAnswer func(peer string) bool

	// CheckPeer may refuse the peer once its name is known, before our cookie's
	// digest goes out; its error is wrapped with ErrRefused. nil allows all.
	CheckPeer func(name string) error

	// Version5 announces the name in the old form, for a peer whose port mapper entry says version 5
	// only. Such a name cannot be dynamic. A peer of OTP 22 or older is ErrMissingFlags all the same.
	Version5 bool
}

// Initiate runs the connecting side of the handshake and returns once the
// peer has proven its cookie. It blocks as long as c does. Every error is a
// *HandshakeError, after which c is useless and should be closed.
//
// The peer's answers become errors as follows: nok is ErrNok (the peer's own
// attempt goes on, expect it), not_allowed is ErrNotAllowed, alive is ErrAlive
// if AliveAnswer says false. A peer that closes instead of sending the last
// message usually has another cookie; HandshakeError.Hint says so.
//
// See erl_dist_protocol, "Distribution Handshake"; ei_connect.
func Initiate(c PacketConn, s Self, o InitiateOptions) (dist.Peer, error) {
	x := exchange{conn: c, phase: PhaseConfig, peer: o.Want}
	peer, err := x.initiate(s, o)
	if err != nil {
		return dist.Peer{}, x.fail(err)
	}
	return peer, nil
}

func (x *exchange) initiate(s Self, o InitiateOptions) (dist.Peer, error) {
	if err := checkInitiate(s, o); err != nil {
		return dist.Peer{}, err
	}
	peer := dist.Peer{Version: dist.Version6, SelfName: s.Name, SelfCreation: s.Creation}
	if o.Version5 {
		peer.Version = dist.Version5
	}
	x.own = s.announced()
	packet, err := AppendName(nil, Name{Version: peer.Version, Flags: x.own, Creation: s.Creation, Name: s.Name})
	if err == nil {
		err = x.write(PhaseName, packet)
	}
	if err != nil {
		return dist.Peer{}, err
	}
	status, err := receive(x, PhaseStatus, ParseStatus)
	if err != nil {
		return dist.Peer{}, err
	}
	x.status, peer.Status = status.Status, status.Status
	if err := x.followStatus(status, s, o, &peer); err != nil {
		return dist.Peer{}, err
	}
	challenge, err := receive(x, PhaseChallenge, ParseChallenge)
	if err != nil {
		return dist.Peer{}, err
	}
	x.peer = challenge.Name
	if err := x.judgeChallenge(challenge, s, o, peer.SelfName); err != nil {
		return dist.Peer{}, err
	}
	if err := s.reflected(challenge.Challenge); err != nil {
		return dist.Peer{}, err
	}
	peer.Name, peer.Creation = challenge.Name, challenge.Creation
	peer.Announced, peer.Flags = challenge.Flags, x.own.Negotiate(challenge.Flags)
	if err := x.prove(s, o, challenge); err != nil {
		return dist.Peer{}, err
	}
	return peer, nil
}

// prove proves that this node knows the cookie, and sees whether the peer does.
func (x *exchange) prove(s Self, o InitiateOptions, c Challenge) error {
	cookie := s.cookie(c.Name)
	packets := [][]byte{AppendReply(nil, Reply{Challenge: s.Challenge, Digest: Digest(cookie, c.Challenge)})}
	if o.Version5 {
		packets = slices.Insert(packets, 0, AppendComplement(nil, Complement{Flags: x.own, Creation: s.Creation}))
	}
	if err := x.write(PhaseChallengeReply, packets...); err != nil {
		return err
	}
	digest, err := receive(x, PhaseChallengeAck, ParseAck)
	if err != nil {
		return err
	}
	want := Digest(cookie, s.Challenge)
	if subtle.ConstantTimeCompare(digest[:], want[:]) != 1 {
		return dist.ErrBadCookie
	}
	return nil
}

func checkInitiate(s Self, o InitiateOptions) error {
	if err := s.check(); err != nil {
		return err
	}
	if o.Want != "" {
		if err := dist.CheckName(o.Want); err != nil {
			return fmt.Errorf("%w: wanted peer: %w", dist.ErrConfig, err)
		}
	}
	switch {
	case o.Want == s.Name:
		return dist.ErrSelf
	case o.Version5 && s.Dynamic:
		return fmt.Errorf("%w: a version 5 name cannot be dynamic", dist.ErrConfig)
	case o.Version5 && !s.announced().Has(dist.FlagHandshake23):
		return fmt.Errorf("%w: a version 5 name needs DFLAG_HANDSHAKE_23", dist.ErrConfig)
	}
	return nil
}

// followStatus acts on the status: it returns nil if a challenge comes next.
func (x *exchange) followStatus(m StatusMessage, s Self, o InitiateOptions, peer *dist.Peer) error {
	switch m.Status {
	case StatusNok:
		return dist.ErrNok
	case StatusNotAllowed:
		return dist.ErrNotAllowed
	case StatusNamed:
		if !s.Dynamic {
			return fmt.Errorf("%w: a dynamic name that was not asked for", dist.ErrUnexpected)
		}
		if _, host, _ := dist.SplitName(m.Name); host != s.Name {
			return fmt.Errorf("%w: name %q given, of another host than %q", dist.ErrUnexpected, m.Name, s.Name)
		}
		if err := dist.CheckOwnName(m.Name); err != nil { // we could talk to this peer only
			return fmt.Errorf("%w: name given: %w", dist.ErrUnexpected, err)
		}
		peer.SelfName, peer.SelfCreation = m.Name, m.Creation
		return nil
	}
	if s.Dynamic {
		return fmt.Errorf("%w: no dynamic name given", dist.ErrUnexpected)
	}
	switch m.Status {
	case StatusOK, StatusOKSimultaneous:
		return nil
	case StatusAlive:
		answer := StatusTrue
		if o.AliveAnswer != nil && !o.AliveAnswer(o.Want) {
			answer = StatusFalse
		}
		packet, err := AppendStatus(nil, StatusMessage{Status: answer})
		if err != nil {
			return err
		}
		if err := x.write(PhaseAliveAnswer, packet); err != nil {
			return err
		}
		if answer == StatusFalse {
			return dist.ErrAlive
		}
		return nil
	}
	return fmt.Errorf("%w: unknown status", dist.ErrUnexpected)
}

// judgeChallenge decides whether the node that answered is one to talk to.
func (x *exchange) judgeChallenge(m Challenge, s Self, o InitiateOptions, self string) error {
	if o.Want != "" && m.Name != o.Want {
		return fmt.Errorf("%w %q", dist.ErrWrongPeer, o.Want)
	}
	if m.Name == self {
		return dist.ErrSelf
	}
	if err := x.demand(m.Flags, s.mandatory()); err != nil {
		return err
	}
	if m.Version == dist.Version5 {
		// A version 5 challenge belongs to the old handshake, in which no
		// complement can follow it, whatever its flags say.
		x.missing = dist.FlagHandshake23
		return dist.ErrMissingFlags
	}
	if o.CheckPeer != nil {
		if err := o.CheckPeer(m.Name); err != nil {
			return refusal(err)
		}
	}
	return nil
}
