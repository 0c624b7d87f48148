package protocol

import (
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/nodes/dist"
)

// RespondOptions is what the accepting side may decide; the zero value
// accepts any named peer, as the C library does.
type RespondOptions struct {
	// Decide chooses the status for the announced name; see Verdict. Its error
	// refuses the peer with not_allowed and is wrapped with ErrRefused. nil
	// gives ok to all, and not_allowed to a peer that asks for a name.
	Decide func(n Name) (Verdict, error)

	// CheckPeer may refuse the peer once its name is known: before Decide, or for a dynamic peer after
	// Decide has named it. Its error is wrapped with ErrRefused. nil allows all.
	CheckPeer func(name string) error

	// Proven may refuse the peer once it has proven its cookie, and before it
	// gets our proof. Its error is wrapped with ErrRefused. nil allows all.
	Proven func() error
}

// Verdict is the accepting side's answer to a name.
//
//   - StatusOK, StatusOKSimultaneous: the handshake goes on.
//   - StatusAlive: a connection to this node exists. If the peer answers that it is dead, the
//     handshake goes on, and Peer.Status is StatusAlive: now that the cookie is proven the caller
//     replaces the old connection. If the peer says that it lives, Respond ends with ErrAlive.
//   - StatusNamed: the only way to go on for a peer that asks for a name. Name
//     and Creation are what it gets.
//   - StatusNok, StatusNotAllowed: Respond sends it and ends with ErrNok or ErrNotAllowed.
type Verdict struct {
	Status   dist.Status // the answer
	Name     string      // StatusNamed only: alive@host, of the host that the peer announced
	Creation uint32      // StatusNamed only
}

// ReadName reads the first message of the connecting side, in version 6 or 5,
// and checks the name. Its errors are *HandshakeError.
//
// It is separate from Respond so that one process can read the name and
// another one, with its own PacketConn, answer it.
func ReadName(c PacketConn) (Name, error) {
	x := exchange{conn: c}
	n, err := receive(&x, PhaseName, ParseName)
	if err != nil {
		return Name{}, x.fail(err)
	}
	return n, nil
}

// Respond runs the accepting side of the handshake from the message after the name, which ReadName
// has read (here or in another process), and returns once it has proven its cookie to a peer that
// has proven its own. It blocks as long as c does. Every error is a *HandshakeError, after which c
// is useless and should be closed.
//
// The peer's digest is checked first: one with another cookie gets no acknowledgement, and Respond
// ends with ErrBadCookie. A peer that lacks mandatory flags, has our own name, or is refused by
// Decide or CheckPeer is told not_allowed.
//
// See erl_dist_protocol, "Distribution Handshake"; ei_accept.
func Respond(c PacketConn, s Self, n Name, o RespondOptions) (dist.Peer, error) {
	x := exchange{conn: c, phase: PhaseConfig, peer: n.Name}
	peer, err := x.respond(s, n, o)
	if err != nil {
		return dist.Peer{}, x.fail(err)
	}
	return peer, nil
}

func (x *exchange) respond(s Self, n Name, o RespondOptions) (dist.Peer, error) {
	if err := checkRespond(s, n); err != nil {
		return dist.Peer{}, err
	}
	verdict, err := x.judgeName(s, n, o)
	if err != nil {
		return dist.Peer{}, x.refuse(StatusNotAllowed, err)
	}
	x.status = verdict.Status
	switch verdict.Status {
	case StatusNok:
		return dist.Peer{}, x.refuse(StatusNok, dist.ErrNok)
	case StatusNotAllowed:
		return dist.Peer{}, x.refuse(StatusNotAllowed, dist.ErrNotAllowed)
	case StatusNamed:
		n.Name, n.Creation = verdict.Name, verdict.Creation
	}

	if err := x.challenge(s, verdict); err != nil {
		return dist.Peer{}, err
	}
	if n.Version == dist.Version5 {
		complement, err := receive(x, PhaseComplement, ParseComplement)
		if err != nil {
			return dist.Peer{}, err
		}
		n.Flags, n.Creation = n.Flags|complement.Flags, complement.Creation
		if err := x.demand(n.Flags, s.mandatory()); err != nil {
			return dist.Peer{}, err
		}
	}
	if err := x.acknowledge(s, n, o); err != nil {
		return dist.Peer{}, err
	}
	return dist.Peer{
		Name: n.Name, Creation: n.Creation, Version: n.Version, Status: verdict.Status,
		Announced: n.Flags, Flags: s.announced().Negotiate(n.Flags),
		SelfName: s.Name, SelfCreation: s.Creation,
	}, nil
}

// challenge tells the peer the verdict on its name, and has it prove that it knows the cookie.
func (x *exchange) challenge(s Self, verdict Verdict) error {
	status, err := AppendStatus(nil, StatusMessage(verdict))
	if err != nil {
		return err
	}
	flags := s.announced()
	x.own = flags
	if verdict.Status == StatusNamed {
		flags |= dist.FlagNameMe // OTP adopts the given name only if its own request is repeated here
	}
	challenge, err := AppendChallenge(nil, Challenge{
		Version: dist.Version6, Flags: flags, Challenge: s.Challenge, Creation: s.Creation, Name: s.Name,
	})
	switch {
	case err != nil:
		return err
	case verdict.Status != StatusAlive:
		return x.write(PhaseChallenge, status, challenge)
	}
	if err := x.askAlive(status); err != nil {
		return err
	}
	return x.write(PhaseChallenge, challenge)
}

// acknowledge sees whether the peer knows the cookie, and proves that this node does.
func (x *exchange) acknowledge(s Self, n Name, o RespondOptions) error {
	reply, err := receive(x, PhaseChallengeReply, ParseReply)
	if err != nil {
		return err
	}
	if err := s.reflected(reply.Challenge); err != nil {
		return err
	}
	cookie := s.cookie(n.Name)
	want := Digest(cookie, s.Challenge)
	if subtle.ConstantTimeCompare(reply.Digest[:], want[:]) != 1 {
		return dist.ErrBadCookie
	}
	if o.Proven != nil {
		if err := o.Proven(); err != nil {
			return refusal(err)
		}
	}
	return x.write(PhaseChallengeAck, AppendAck(nil, Digest(cookie, reply.Challenge)))
}

// checkRespond also checks the peer's name, which may come from another process.
func checkRespond(s Self, n Name) error {
	if s.Dynamic {
		return fmt.Errorf("%w: a node without a name cannot accept", dist.ErrConfig)
	}
	if err := s.check(); err != nil {
		return err
	}
	if n.Version != dist.Version5 && n.Version != dist.Version6 {
		return fmt.Errorf("%w: name of version %d", dist.ErrConfig, n.Version)
	}
	return n.check()
}

// judgeName finds the verdict on the announced name; an error refuses it.
func (x *exchange) judgeName(s Self, n Name, o RespondOptions) (Verdict, error) {
	x.phase = PhaseName
	if n.Name == s.Name {
		return Verdict{}, dist.ErrSelf
	}
	mandatory := s.mandatory()
	if n.Version == dist.Version5 {
		mandatory = mandatory&lowFlags | dist.FlagHandshake23
	}
	if err := x.demand(n.Flags, mandatory); err != nil {
		return Verdict{}, err
	}
	check := o.CheckPeer
	if check == nil {
		check = func(string) error { return nil }
	}
	if !n.Dynamic() {
		if err := check(n.Name); err != nil {
			return Verdict{}, refusal(err)
		}
	}

	verdict := Verdict{Status: StatusOK}
	if n.Dynamic() {
		verdict.Status = StatusNotAllowed
	}
	if o.Decide != nil {
		var err error
		if verdict, err = o.Decide(n); err != nil {
			return Verdict{}, refusal(err)
		}
	}
	if err := verdict.check(s, n); err != nil {
		return Verdict{}, err
	}
	if verdict.Status == StatusNamed {
		x.peer = verdict.Name
		if err := check(verdict.Name); err != nil {
			return Verdict{}, refusal(err)
		}
	}
	return verdict, nil
}

// check finds a verdict that does not fit the name.
func (v Verdict) check(s Self, n Name) error {
	switch v.Status {
	case StatusNok, StatusNotAllowed:
		return nil
	case StatusOK, StatusOKSimultaneous, StatusAlive:
		if n.Dynamic() {
			return fmt.Errorf("%w: verdict %q for a peer that asks for a name", dist.ErrConfig, string(v.Status))
		}
		return nil
	case StatusNamed:
		if !n.Dynamic() {
			return fmt.Errorf("%w: verdict %q for a peer that has a name", dist.ErrConfig, string(v.Status))
		}
		_, host, err := dist.SplitName(v.Name)
		switch {
		case err != nil:
			return fmt.Errorf("%w: given name: %w", dist.ErrConfig, err)
		case host != n.Name:
			return fmt.Errorf("%w: given name %q is not of host %q", dist.ErrConfig, v.Name, n.Name)
		case v.Name == s.Name:
			return fmt.Errorf("%w: given name %q is our own", dist.ErrConfig, v.Name)
		}
		return nil
	}
	return fmt.Errorf("%w: verdict %q", dist.ErrConfig, string(v.Status))
}

// refuse tells the peer a status that ends the handshake. reason is the error
// that counts; if the peer could not be told, that error is added to it.
func (x *exchange) refuse(status dist.Status, reason error) error {
	x.status = status
	packet, err := AppendStatus(nil, StatusMessage{Status: status})
	if err == nil {
		err = x.write(PhaseStatus, packet)
	}
	if err != nil {
		return errors.Join(reason, err)
	}
	return reason
}

// askAlive sends the status alive and reads the answer; nil means that the old connection is dead.
func (x *exchange) askAlive(status []byte) error {
	if err := x.write(PhaseStatus, status); err != nil {
		return err
	}
	answer, err := receive(x, PhaseAliveAnswer, ParseStatus)
	if err != nil {
		return err
	}
	switch answer.Status {
	case StatusTrue:
		return nil
	case StatusFalse:
		return dist.ErrAlive
	}
	return fmt.Errorf("%w: answer %q to alive", dist.ErrUnexpected, string(answer.Status))
}
