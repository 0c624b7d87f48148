package protocol

import (
	"context"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/nodes/dist"
)

func client() Self {
	return Self{Name: "go@client.example", Cookie: "secret", Creation: 11, Challenge: 0x11111111}
}

func server() Self {
	return Self{Name: "er@server.example", Cookie: "secret", Creation: 22, Challenge: 0x22222222}
}

// outcome is what both sides of a handshake in memory came to.
type outcome struct {
	initiator, responder       dist.Peer
	initiatorErr, responderErr error
	initiatorWrites            int
	responderWrites            int
}

// shake joins both sides in memory. Each side closes its end when it fails,
// as the owner of a real connection does.
func shake(a Self, ao InitiateOptions, b Self, bo RespondOptions) (out outcome) {
	ca, cb := newPacketPipe()
	stuck := time.AfterFunc(time.Minute, func() { ca.Close() }) // both wait: let the test fail
	defer stuck.Stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var n Name
		if n, out.responderErr = ReadName(cb); out.responderErr == nil {
			out.responder, out.responderErr = Respond(cb, b, n, bo)
		}
		if out.responderErr != nil {
			cb.Close()
		}
	}()
	out.initiator, out.initiatorErr = Initiate(ca, a, ao)
	if out.initiatorErr != nil {
		ca.Close()
	}
	<-done
	out.initiatorWrites, out.responderWrites = ca.writes, cb.writes
	return out
}

func decide(v Verdict) func(Name) (Verdict, error) {
	return func(Name) (Verdict, error) { return v, nil }
}

func TestHandshakeOK(t *testing.T) {
	a, b := client(), server()
	b.Flags = dist.FlagsDefault | dist.FlagPublished | dist.FlagUnicodeIO
	knows := func(name string) error {
		if name != a.Name {
			return errors.New("another name")
		}
		return nil
	}
	for name, version5 := range map[string]bool{"version 6": false, "version 5": true} {
		t.Run(name, func(t *testing.T) {
			out := shake(a, InitiateOptions{Want: b.Name, Version5: version5}, b, RespondOptions{CheckPeer: knows})
			require.NoError(t, out.initiatorErr)
			require.NoError(t, out.responderErr)
			version := dist.Version6
			if version5 {
				version = dist.Version5
			}
			require.Equal(t, dist.Peer{
				Name: b.Name, Creation: 22, Flags: dist.FlagsDefault, Announced: b.Flags, Version: version,
				Status: StatusOK, SelfName: a.Name, SelfCreation: 11,
			}, out.initiator)
			require.Equal(t, dist.Peer{
				Name: a.Name, Creation: 11, Flags: dist.FlagsDefault, Announced: dist.FlagsDefault, Version: version,
				Status: StatusOK, SelfName: b.Name, SelfCreation: 22,
			}, out.responder)
			require.Equal(t, 2, out.initiatorWrites, "name; complement and reply")
			require.Equal(t, 2, out.responderWrites, "status and challenge; acknowledgement")
		})
	}
}

// A cookie for one peer takes precedence over the one for all, on either side, even if the peer's
// name becomes known only during the handshake.
func TestHandshakeCookies(t *testing.T) {
	for name, version5 := range map[string]bool{"version 6": false, "version 5": true} {
		t.Run(name, func(t *testing.T) {
			a, b := client(), server()
			a.Cookie, a.Cookies = "a's", map[string]string{b.Name: "for two"}
			out := shake(a, InitiateOptions{Version5: version5}, b, RespondOptions{})
			require.ErrorIs(t, out.responderErr, dist.ErrBadCookie)
			b.Cookie, b.Cookies = "b's", map[string]string{a.Name: "for two"}
			out = shake(a, InitiateOptions{Version5: version5}, b, RespondOptions{})
			require.NoError(t, out.initiatorErr)
			require.NoError(t, out.responderErr)
			b.Cookies = map[string]string{"other@client.example": "for two"}
			out = shake(a, InitiateOptions{Version5: version5}, b, RespondOptions{})
			require.ErrorIs(t, out.responderErr, dist.ErrBadCookie)
		})
	}
}

// Both sides say why there is no connection. What succeeds is in TestHandshakeProperty.
func TestHandshakeStatuses(t *testing.T) {
	dynamic := client()
	dynamic.Name, dynamic.Dynamic = "client.example", true
	for name, tt := range map[string]struct {
		a       Self
		verdict Verdict // none: that of a node that gives no names
		err     error
		status  dist.Status
	}{
		"nok":                                {client(), Verdict{Status: StatusNok}, dist.ErrNok, StatusNok},
		"not_allowed":                        {client(), Verdict{Status: StatusNotAllowed}, dist.ErrNotAllowed, StatusNotAllowed},
		"alive":                              {client(), Verdict{Status: StatusAlive}, dist.ErrAlive, StatusAlive},
		"a name asked for, nobody gives one": {dynamic, Verdict{}, dist.ErrNotAllowed, StatusNotAllowed},
		"a name asked for, nok":              {dynamic, Verdict{Status: StatusNok}, dist.ErrNok, StatusNok},
	} {
		t.Run(name, func(t *testing.T) {
			o := RespondOptions{}
			if tt.verdict.Status != "" {
				o.Decide = decide(tt.verdict)
			}
			out := shake(tt.a, InitiateOptions{AliveAnswer: func(string) bool { return false }}, server(), o)
			for _, err := range []error{out.initiatorErr, out.responderErr} {
				require.ErrorIs(t, err, tt.err)
				var he *dist.HandshakeError
				require.ErrorAs(t, err, &he)
				require.Equal(t, tt.status, he.Status)
			}
		})
	}
	// only version 5 needs the flag of the newer handshake
	old := Self{Name: client().Name, Cookie: "secret", Challenge: 1, Flags: dist.FlagsLibei &^ dist.FlagHandshake23}
	out := shake(old, InitiateOptions{}, server(), RespondOptions{})
	require.NoError(t, out.initiatorErr)
	require.NoError(t, out.responderErr)
}

// TestHandshakeRefusals has handshakes that one side ends on its own. phase is
// where the deciding side stops; the other side sees otherErr.
func TestHandshakeRefusals(t *testing.T) {
	mine := errors.New("certificate of another node")
	refuse := func(string) error { return mine }
	edit := func(s Self, change func(*Self)) Self { change(&s); return s }
	dynamic := edit(client(), func(s *Self) { s.Name, s.Dynamic = "client.example", true })
	tests := map[string]struct {
		a         Self
		ao        InitiateOptions
		b         Self
		bo        RespondOptions
		responder bool // the responder decides
		err       error
		phase     string
		otherErr  error
		hint      string // of the other side
		missing   dist.Flags
		text      string // part of the deciding side's text
	}{
		"B has another cookie": {
			a: client(), b: edit(server(), func(s *Self) { s.Cookie = "other" }), responder: true,
			err: dist.ErrBadCookie, phase: PhaseChallengeReply, otherErr: io.EOF, hint: "most often a wrong cookie",
		},
		"B has our own name": {
			a: client(), b: edit(server(), func(s *Self) { s.Name = client().Name }), responder: true,
			err: dist.ErrSelf, phase: PhaseStatus, otherErr: dist.ErrNotAllowed,
		},
		"A asks for its own name": {
			a: client(), ao: InitiateOptions{Want: client().Name}, b: server(), err: dist.ErrSelf, phase: PhaseConfig, otherErr: io.EOF,
		},
		"B is another node": {
			a: client(), ao: InitiateOptions{Want: "third@server.example"}, b: server(),
			err: dist.ErrWrongPeer, phase: PhaseChallenge, otherErr: io.EOF, hint: "may refuse our name",
			text: `with "er@server.example": challenge: another node than the expected one "third@server.example"`,
		},
		"A lacks a flag": {
			a: edit(client(), func(s *Self) { s.Flags = dist.FlagsLibei &^ (dist.FlagMapTag | dist.FlagMandatory25Digest) }), b: server(),
			responder: true, err: dist.ErrMissingFlags, phase: PhaseStatus, otherErr: dist.ErrNotAllowed, missing: dist.FlagMapTag,
			text: `with "go@client.example": status: mandatory distribution flags are missing: DFLAG_MAP_TAG (mandatory since OTP 25)`,
		},
		"A lacks a flag that only we demand": {
			a: edit(client(), func(s *Self) { s.Flags = dist.FlagsLibei &^ dist.FlagUnlinkID }),
			b: edit(server(), func(s *Self) { s.Mandatory = dist.Mandatory26 }), responder: true,
			err: dist.ErrMissingFlags, phase: PhaseStatus, otherErr: dist.ErrNotAllowed, missing: dist.FlagUnlinkID,
			text: "DFLAG_UNLINK_ID (mandatory since OTP 26)",
		},
		"A lacks a high flag": {
			a: edit(client(), func(s *Self) { s.Flags = dist.FlagsLibei &^ dist.FlagV4NC }),
			b: edit(server(), func(s *Self) { s.Mandatory = dist.Mandatory26 }), responder: true,
			err: dist.ErrMissingFlags, phase: PhaseStatus, otherErr: dist.ErrNotAllowed, missing: dist.FlagV4NC,
		},
		"B lacks a flag": {
			a: client(), b: edit(server(), func(s *Self) { s.Flags = dist.FlagsLibei &^ (dist.FlagMapTag | dist.FlagMandatory25Digest) }),
			err: dist.ErrMissingFlags, phase: PhaseChallenge, otherErr: io.EOF, missing: dist.FlagMapTag,
		},
		"A lacks a high flag, told by the complement": {
			a: edit(client(), func(s *Self) { s.Flags = dist.FlagsLibei &^ dist.FlagV4NC }), ao: InitiateOptions{Version5: true},
			b: edit(server(), func(s *Self) { s.Mandatory = dist.Mandatory26 }), responder: true,
			err: dist.ErrMissingFlags, phase: PhaseComplement, otherErr: io.EOF, hint: "most often a wrong cookie", missing: dist.FlagV4NC,
		},
		"A is refused by its name": {
			a: client(), b: server(), bo: RespondOptions{CheckPeer: refuse}, responder: true,
			err: mine, phase: PhaseStatus, otherErr: dist.ErrNotAllowed,
		},
		"A is refused by the name it is given": {
			a: dynamic, b: server(), responder: true, err: mine, phase: PhaseStatus, otherErr: dist.ErrNotAllowed,
			bo:   RespondOptions{CheckPeer: refuse, Decide: decide(Verdict{Status: StatusNamed, Name: "X@client.example", Creation: 1})},
			text: `with "X@client.example"`,
		},
		"A is refused by Decide": {
			a: client(), b: server(), responder: true, err: mine, phase: PhaseStatus, otherErr: dist.ErrNotAllowed,
			bo: RespondOptions{Decide: func(Name) (Verdict, error) { return Verdict{}, mine }},
		},
		"A is refused though it has the cookie": {
			a: client(), b: server(), responder: true, err: mine, phase: PhaseChallengeReply, otherErr: io.EOF,
			bo: RespondOptions{Proven: func() error { return mine }},
		},
		"B is refused by its name": {
			a: client(), ao: InitiateOptions{CheckPeer: refuse}, b: server(),
			err: mine, phase: PhaseChallenge, otherErr: io.EOF,
		},
		"no verdict": {
			a: client(), b: server(), bo: RespondOptions{Decide: decide(Verdict{})}, responder: true,
			err: dist.ErrConfig, phase: PhaseStatus, otherErr: dist.ErrNotAllowed,
		},
		"ok for a peer that asks for a name": {
			a: dynamic, b: server(), bo: RespondOptions{Decide: decide(Verdict{Status: StatusOK})}, responder: true,
			err: dist.ErrConfig, phase: PhaseStatus, otherErr: dist.ErrNotAllowed,
		},
		"a name for a peer that has one": {
			a: client(), b: server(), responder: true, err: dist.ErrConfig, phase: PhaseStatus, otherErr: dist.ErrNotAllowed,
			bo:   RespondOptions{Decide: decide(Verdict{Status: StatusNamed, Name: "X@client.example", Creation: 1})},
			text: "for a peer that has a name",
		},
		"a given name of another host": {
			a: dynamic, b: server(), responder: true, err: dist.ErrConfig, phase: PhaseStatus, otherErr: dist.ErrNotAllowed,
			bo: RespondOptions{Decide: decide(Verdict{Status: StatusNamed, Name: "X@other.example", Creation: 1})},
		},
		"a given name that is none": {
			a: dynamic, b: server(), responder: true, err: dist.ErrInvalidName, phase: PhaseStatus, otherErr: dist.ErrNotAllowed,
			bo: RespondOptions{Decide: decide(Verdict{Status: StatusNamed, Name: "client.example", Creation: 1})},
		},
		"our own name given away": {
			a: edit(dynamic, func(s *Self) { s.Name = "server.example" }), b: server(), responder: true,
			err: dist.ErrConfig, phase: PhaseStatus, otherErr: dist.ErrNotAllowed,
			bo: RespondOptions{Decide: decide(Verdict{Status: StatusNamed, Name: "er@server.example", Creation: 1})},
		},
		"A's name is none": {
			a: edit(client(), func(s *Self) { s.Name = "client" }), b: server(), err: dist.ErrConfig, phase: PhaseConfig, otherErr: io.EOF,
			text: "nothing", hint: "it gave no name",
		},
		"A's host is a name": {
			a: edit(client(), func(s *Self) { s.Dynamic = true }), b: server(), err: dist.ErrInvalidName, phase: PhaseConfig, otherErr: io.EOF,
		},
		"A has no challenge": {
			a: edit(client(), func(s *Self) { s.Challenge = 0 }), b: server(), err: dist.ErrConfig, phase: PhaseConfig, otherErr: io.EOF,
		},
		"A wants a node with a bad name": {
			a: client(), ao: InitiateOptions{Want: "er"}, b: server(), err: dist.ErrInvalidName, phase: PhaseConfig, otherErr: io.EOF,
		},
		"a dynamic name in version 5": {
			a: dynamic, ao: InitiateOptions{Version5: true}, b: server(), err: dist.ErrConfig, phase: PhaseConfig, otherErr: io.EOF,
		},
		"version 5 without its flag": {
			a:  edit(client(), func(s *Self) { s.Flags = dist.FlagsLibei &^ dist.FlagHandshake23 }),
			ao: InitiateOptions{Version5: true}, b: server(), err: dist.ErrConfig, phase: PhaseConfig, otherErr: io.EOF,
		},
		"B has no challenge": {
			a: client(), b: edit(server(), func(s *Self) { s.Challenge = 0 }), responder: true,
			err: dist.ErrConfig, phase: PhaseConfig, otherErr: io.EOF, hint: "refuse our handshake version or flags",
		},
		"B has no name": {
			a: client(), b: edit(server(), func(s *Self) { s.Name, s.Dynamic = "server.example", true }), responder: true,
			err: dist.ErrConfig, phase: PhaseConfig, otherErr: io.EOF,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out := shake(tt.a, tt.ao, tt.b, tt.bo)
			err, other := out.initiatorErr, out.responderErr
			if tt.responder {
				err, other = other, err
			}
			require.Zero(t, out.initiator)
			require.Zero(t, out.responder)
			require.ErrorIs(t, err, tt.err)
			var he *dist.HandshakeError
			require.ErrorAs(t, err, &he)
			require.Equal(t, tt.phase, he.Phase)
			require.Equal(t, tt.missing, he.Missing)
			if tt.text != "" && tt.text != "nothing" {
				require.ErrorContains(t, err, tt.text)
			}
			if tt.err == mine {
				require.ErrorIs(t, err, dist.ErrRefused)
			}
			require.ErrorIs(t, other, tt.otherErr)
			if tt.hint != "" {
				require.ErrorContains(t, other, tt.hint)
			}
		})
	}
}

// TestHandshakeProperty runs both sides with anything that may differ between
// two nodes, and compares the outcomes of both sides.
func TestHandshakeProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		extra := rapid.Uint64()
		a := Self{
			Name: "a" + drawOwnName(t, "a"), Cookie: rapid.String().Draw(t, "cookie"), Creation: rapid.Uint32().Draw(t, "a creation"),
			Challenge: rapid.Uint32Min(1).Draw(t, "a challenge"), Flags: dist.FlagsLibei | dist.Flags(extra.Draw(t, "a flags")),
		}
		b := Self{
			Name: "b" + drawOwnName(t, "b"), Cookie: a.Cookie, Creation: rapid.Uint32().Draw(t, "b creation"),
			Challenge: rapid.Uint32Min(1).Draw(t, "b challenge"), Flags: dist.FlagsLibei | dist.Flags(extra.Draw(t, "b flags")),
			Mandatory: rapid.SampledFrom([]dist.Flags{0, dist.Mandatory25, dist.Mandatory26}).Draw(t, "mandatory"),
		}
		ao := InitiateOptions{}
		verdict := Verdict{Status: rapid.SampledFrom([]dist.Status{StatusOK,
			StatusOKSimultaneous, StatusAlive, StatusNamed}).Draw(t, "status")}
		if verdict.Status == StatusNamed {
			a.Name, a.Dynamic = "host", true
			verdict.Name, verdict.Creation = "X1@host", rapid.Uint32().Draw(t, "given")
		} else {
			ao.Version5 = rapid.Bool().Draw(t, "version 5")
		}
		out := shake(a, ao, b, RespondOptions{Decide: decide(verdict)})
		require.NoError(t, out.initiatorErr)
		require.NoError(t, out.responderErr)
		require.Equal(t, out.initiator.SelfName, out.responder.Name)
		require.Equal(t, out.initiator.SelfCreation, out.responder.Creation)
		require.Equal(t, out.responder.SelfName, out.initiator.Name)
		require.Equal(t, out.responder.SelfCreation, out.initiator.Creation)
		require.Equal(t, out.initiator.Flags, out.responder.Flags)
		require.Equal(t, out.initiator.Status, out.responder.Status)
		require.Equal(t, out.initiator.Version, out.responder.Version)
		require.Equal(t, b.Flags&^dist.FlagNameMe, out.initiator.Announced&^dist.FlagNameMe)
		// the request comes back with the name
		require.Equal(t, a.Dynamic, out.initiator.Announced.Has(dist.FlagNameMe))
		require.Equal(t, a.Flags&^dist.FlagNameMe, out.responder.Announced&^dist.FlagNameMe)

		a.Cookie += "x"
		out = shake(a, ao, b, RespondOptions{Decide: decide(verdict)})
		require.ErrorIs(t, out.responderErr, dist.ErrBadCookie)
		require.ErrorIs(t, out.initiatorErr, io.EOF)
	})
}

// A side that is refused learns which mandatory flags it does not announce itself.
func TestRefusedForOurFlags(t *testing.T) {
	const want = "this side does not announce DFLAG_MAP_TAG (mandatory since OTP 25), DFLAG_V4_NC (mandatory since OTP 26)"
	few := dist.FlagsDefault &^ (dist.FlagMapTag | dist.FlagMandatory25Digest | dist.FlagV4NC)
	for _, answer := range [][][]byte{{packet(t, StatusMessage{Status: StatusNotAllowed})},
		{packet(t, StatusMessage{Status: StatusOK})},
		nil} {
		s := client()
		s.Flags = few
		_, err := Initiate(&script{in: answer}, s, InitiateOptions{})
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), ": ; ")
		s.Flags = dist.FlagsDefault
		_, err = Initiate(&script{in: answer}, s, InitiateOptions{})
		require.NotContains(t, err.Error(), "announce")
	}
	s := server()
	s.Flags = few
	_, err := Respond(&script{}, s, Name{Version: 6, Flags: dist.FlagsDefault, Creation: 4, Name: "go@client.example"}, RespondOptions{})
	require.ErrorContains(t, err, hint(PhaseChallengeReply)+"; "+want)

	// A side that has announced nothing yet, or whose flags were accepted, was not refused for its
	// flags.
	_, err = ReadName(&script{})
	require.ErrorContains(t, err, hint(PhaseName))
	require.NotContains(t, err.Error(), "announce")
	a := client()
	a.Flags = few
	// for other reasons
	for _, answer := range []StatusMessage{{Status: StatusNok}, {Status: "later"}} {
		_, err = Initiate(&script{in: [][]byte{packet(t, answer)}}, a, InitiateOptions{})
		require.NotContains(t, err.Error(), "announce")
	}
	in := [][]byte{packet(t, StatusMessage{Status: StatusOK}),
		packet(t, Challenge{Version: 6, Flags: dist.FlagsDefault, Challenge: 5, Creation: 3, Name: "er@server.example"})}
	_, err = Initiate(&script{in: in}, a, InitiateOptions{})
	require.ErrorContains(t, err, hint(PhaseChallengeAck))
	require.NotContains(t, err.Error(), "announce")
}

// An error says nothing of what is not known.
func TestErrorsSayOnlyWhatIsKnown(t *testing.T) {
	require.EqualError(t, &dist.HandshakeError{Phase: PhaseName, Err: io.EOF}, "dist: handshake: name: EOF")
	require.EqualError(t, &dist.ControlError{Offset: -1, Err: io.EOF}, "dist: control message: EOF")
}

// ErrNoProof matches only if the peer has closed in place of its last message, and then no other
// error matches.
func TestNoProof(t *testing.T) {
	for _, closed := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		last, earlier := &dist.HandshakeError{Phase: PhaseChallengeAck,
			Err: closed}, &dist.HandshakeError{Phase: PhaseStatus, Err: closed}
		require.ErrorIs(t, last, dist.ErrNoProof)
		require.ErrorIs(t, last, closed)
		require.NotErrorIs(t, earlier, dist.ErrNoProof)
		for _, other := range []error{dist.ErrBadCookie, dist.ErrNotAllowed, context.Canceled} {
			require.NotErrorIs(t, last, other)
			require.NotErrorIs(t, earlier, other)
		}
	}
	require.NotErrorIs(t, &dist.HandshakeError{Phase: PhaseChallengeAck, Err: dist.ErrBadCookie}, dist.ErrNoProof)
}
