package protocol

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/dist"
)

// script is a peer that says what it was told to say, whatever it hears.
type script struct {
	in  [][]byte
	out [][]byte
	err error // after the last packet; nil is io.EOF
}

func (s *script) ReadPacket() ([]byte, error) {
	if len(s.in) == 0 {
		if s.err != nil {
			return nil, s.err
		}
		return nil, io.EOF
	}
	packet := s.in[0]
	s.in = s.in[1:]
	return packet, nil
}

func (s *script) WritePackets(p ...[]byte) error {
	for _, packet := range p {
		s.out = append(s.out, append([]byte(nil), packet...))
	}
	return nil
}

func packet(t testing.TB, m any) []byte {
	t.Helper()
	p, err := appendAs(nil, m)
	require.NoError(t, err)
	return p
}

func TestInitiateAgainstBadPeers(t *testing.T) {
	ok := packet(t, StatusMessage{Status: StatusOK})
	good := packet(t, Challenge{Version: 6, Flags: dist.FlagsDefault, Challenge: 5, Creation: 3, Name: "er@server.example"})
	long := []byte("s" + strings.Repeat("\x1b", MaxHandshakePacket-1))
	named := packet(t, StatusMessage{Status: StatusNamed, Name: "X@client.example", Creation: 9})
	tests := map[string]struct {
		in      [][]byte
		dynamic bool
		readErr error
		phase   string
		err     error
		text    string
	}{
		"closes at once":         {phase: PhaseStatus, err: io.EOF, text: "may refuse our handshake version"},
		"resets":                 {readErr: syscall.ECONNRESET, phase: PhaseStatus, err: syscall.ECONNRESET, text: "closed by peer"},
		"speaks http":            {in: [][]byte{[]byte("HTTP/1.1 400")}, phase: PhaseStatus, err: dist.ErrMalformed},
		"an empty packet":        {in: [][]byte{{}}, phase: PhaseStatus, err: dist.ErrMalformed},
		"an unknown status":      {in: [][]byte{[]byte("sokay")}, phase: PhaseStatus, err: dist.ErrUnexpected, text: `status "okay"`},
		"a status of 4 KiB":      {in: [][]byte{long}, phase: PhaseStatus, err: dist.ErrUnexpected, text: `status "\x1b`},
		"answers like A":         {in: [][]byte{[]byte("strue")}, phase: PhaseStatus, err: dist.ErrUnexpected},
		"names a named node":     {in: [][]byte{named}, phase: PhaseStatus, err: dist.ErrUnexpected},
		"names nobody":           {in: [][]byte{ok}, dynamic: true, phase: PhaseStatus, err: dist.ErrUnexpected},
		"a nameless one's alive": {in: [][]byte{[]byte("salive")}, dynamic: true, phase: PhaseStatus, err: dist.ErrUnexpected},
		"a name of another host": {
			in: [][]byte{packet(t, StatusMessage{Status: StatusNamed, Name: "X@evil", Creation: 9})}, dynamic: true,
			phase: PhaseStatus, err: dist.ErrUnexpected,
		},
		"a name that other nodes refuse": {
			in: [][]byte{packet(t, StatusMessage{Status: StatusNamed, Name: "x.\n@client.example", Creation: 9})}, dynamic: true,
			phase: PhaseStatus, err: dist.ErrInvalidName, text: dist.ErrUnexpected.Error(),
		},
		"gives its own name": {
			in: [][]byte{
				packet(t, StatusMessage{Status: StatusNamed, Name: "er@client.example", Creation: 9}),
				packet(t, Challenge{Version: 6, Flags: dist.FlagsDefault, Challenge: 5, Creation: 3, Name: "er@client.example"}),
			}, dynamic: true, phase: PhaseChallenge, err: dist.ErrSelf,
		},
		"closes after ok":       {in: [][]byte{ok}, phase: PhaseChallenge, err: io.EOF},
		"a malformed challenge": {in: [][]byte{ok, good[:20]}, phase: PhaseChallenge, err: dist.ErrMalformed},
		"a challenge with our name": {
			in:    [][]byte{ok, packet(t, Challenge{Version: 6, Flags: dist.FlagsDefault, Name: client().Name})},
			phase: PhaseChallenge, err: dist.ErrSelf,
		},
		"a node older than OTP 23": {
			in:    [][]byte{ok, packet(t, Challenge{Version: 5, Flags: dist.FlagsLibei & lowFlags, Name: "er@server.example"})},
			phase: PhaseChallenge, err: dist.ErrMissingFlags, text: "DFLAG_HANDSHAKE_23 (mandatory since OTP 25)",
		},
		"closes after our digest": {in: [][]byte{ok, good}, phase: PhaseChallengeAck, err: io.EOF, text: "most often a wrong cookie"},
		"a malformed digest":      {in: [][]byte{ok, good, make([]byte, 17)}, phase: PhaseChallengeAck, err: dist.ErrMalformed},
		"a wrong digest":          {in: [][]byte{ok, good, AppendAck(nil, [16]byte{})}, phase: PhaseChallengeAck, err: dist.ErrBadCookie},
		"our own digest reflected": {in: [][]byte{ok, good, AppendAck(nil, Digest("secret", 5))},
			phase: PhaseChallengeAck, err: dist.ErrBadCookie},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := client()
			if tt.dynamic {
				s.Name, s.Dynamic = "client.example", true
			}
			peer, err := Initiate(&script{in: tt.in, err: tt.readErr}, s, InitiateOptions{})
			require.Zero(t, peer)
			require.ErrorIs(t, err, tt.err)
			var he *dist.HandshakeError
			require.ErrorAs(t, err, &he)
			require.Equal(t, tt.phase, he.Phase)
			require.ErrorContains(t, err, tt.text)
			require.Less(t, len(err.Error()), 1000)
			require.Equal(t, errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET), he.Hint != "",
				"a hint is for closed connections, a time-out has its own reason")
		})
	}
}

func TestRespondAgainstBadPeers(t *testing.T) {
	name := Name{Version: 6, Flags: dist.FlagsDefault, Creation: 4, Name: "go@client.example"}
	old := Name{Version: 5, Flags: dist.FlagsDefault & lowFlags, Name: "go@client.example"}
	proof := AppendReply(nil, Reply{Challenge: 7, Digest: Digest("secret", server().Challenge)})
	alive := RespondOptions{Decide: decide(Verdict{Status: StatusAlive})}
	tests := map[string]struct {
		name  Name
		o     RespondOptions
		in    [][]byte
		phase string
		err   error
	}{
		"closes after the challenge": {name: name, phase: PhaseChallengeReply, err: io.EOF},
		"no reply":                   {name: name, in: [][]byte{proof[:20]}, phase: PhaseChallengeReply, err: dist.ErrMalformed},
		"a wrong digest": {name: name, in: [][]byte{AppendReply(nil, Reply{})},
			phase: PhaseChallengeReply, err: dist.ErrBadCookie},
		"a challenge of our own, reflected": {
			name: name, in: [][]byte{AppendReply(nil, Reply{Challenge: 4711, Digest: Digest("secret", server().Challenge)})},
			phase: PhaseChallengeReply, err: dist.ErrReflected,
		},
		"a complement nobody wants": {name: name, in: [][]byte{AppendComplement(nil, Complement{})}, phase: PhaseChallengeReply,
			err: dist.ErrMalformed},
		"version 5, no complement":     {name: old, in: [][]byte{proof}, phase: PhaseComplement, err: dist.ErrMalformed},
		"version 5, closes":            {name: old, phase: PhaseComplement, err: io.EOF},
		"alive, closes":                {name: name, o: alive, phase: PhaseAliveAnswer, err: io.EOF},
		"alive, answered with a proof": {name: name, o: alive, in: [][]byte{proof}, phase: PhaseAliveAnswer, err: dist.ErrMalformed},
		"alive, answered with ok":      {name: name, o: alive, in: [][]byte{[]byte("sok")}, phase: PhaseAliveAnswer, err: dist.ErrUnexpected},
		"a forwarded name of no version": {
			name: Name{Flags: dist.FlagsDefault, Name: "go@client.example"}, phase: PhaseConfig, err: dist.ErrConfig,
		},
		"a forwarded name that is none": {
			name: Name{Version: 6, Flags: dist.FlagsDefault, Name: "go"}, phase: PhaseConfig, err: dist.ErrInvalidName,
		},
		"version 5 without its flag": {
			name:  Name{Version: 5, Flags: (dist.Mandatory25 &^ dist.FlagHandshake23) & lowFlags, Name: "go@client.example"},
			phase: PhaseStatus, err: dist.ErrMissingFlags,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := &script{in: tt.in}
			self := server()
			self.IsOwn = func(challenge uint32) bool { return challenge == 4711 }
			peer, err := Respond(c, self, tt.name, tt.o)
			require.Zero(t, peer)
			require.ErrorIs(t, err, tt.err)
			var he *dist.HandshakeError
			require.ErrorAs(t, err, &he)
			require.Equal(t, tt.phase, he.Phase)
			for _, p := range c.out {
				require.NotEqual(t, byte('a'), p[0], "a peer without the cookie must get no acknowledgement")
			}
		})
	}
}

// TestVersion5NeedsItsFlag even where nothing else is mandatory: without it no
// complement would come.
func TestVersion5NeedsItsFlag(t *testing.T) {
	s := server()
	s.Mandatory = dist.FlagMapTag
	_, err := Respond(&script{}, s, Name{Version: 5, Flags: dist.FlagMapTag, Name: "go@client.example"}, RespondOptions{})
	require.ErrorIs(t, err, dist.ErrMissingFlags)
	require.ErrorContains(t, err, "DFLAG_HANDSHAKE_23")
}

func TestReadNameErrors(t *testing.T) {
	for _, tt := range []struct {
		c   *script
		err error
	}{
		{&script{}, io.EOF},
		{&script{in: [][]byte{[]byte("GET / HTTP/1.1")}}, dist.ErrMalformed},
		{&script{in: [][]byte{[]byte("n\x00\x05\x00\x00\x00\x00root")}}, dist.ErrInvalidName},
	} {
		_, err := ReadName(tt.c)
		var he *dist.HandshakeError
		require.ErrorAs(t, err, &he)
		require.Equal(t, PhaseName, he.Phase)
		require.ErrorIs(t, err, tt.err)
	}
}

// brokenWriter fails its nth WritePackets.
type brokenWriter struct {
	*packetPipe
	n int
}

func (w *brokenWriter) WritePackets(p ...[]byte) error {
	if w.n--; w.n < 0 {
		w.Close()
		return syscall.EPIPE
	}
	return w.packetPipe.WritePackets(p...)
}

// TestWriteErrors breaks every write of both sides in turn.
func TestWriteErrors(t *testing.T) {
	phases := map[bool][]string{
		true:  {PhaseName, PhaseAliveAnswer, PhaseChallengeReply},
		false: {PhaseStatus, PhaseChallenge, PhaseChallengeAck},
	}
	for initiator, list := range phases {
		for n, phase := range list {
			t.Run(phase, func(t *testing.T) {
				ca, cb := newPacketPipe()
				var a, b PacketConn = ca, cb
				if initiator {
					a = &brokenWriter{ca, n}
				} else {
					b = &brokenWriter{cb, n}
				}
				done := make(chan error)
				go func() {
					defer cb.Close()
					name, err := ReadName(b)
					if err == nil {
						_, err = Respond(b, server(), name, RespondOptions{Decide: decide(Verdict{Status: StatusAlive})})
					}
					done <- err
				}()
				_, err := Initiate(a, client(), InitiateOptions{})
				ca.Close()
				responderErr := <-done
				if !initiator {
					err = responderErr
				}
				var he *dist.HandshakeError
				require.ErrorAs(t, err, &he)
				require.Equal(t, phase, he.Phase)
				require.ErrorIs(t, err, syscall.EPIPE)
			})
		}
	}
	// A refusal that cannot be told keeps its own reason.
	ca, cb := newPacketPipe()
	defer ca.Close()
	defer cb.Close()
	_, err := Respond(&brokenWriter{cb, 0}, server(), Name{Version: 6, Name: "a@b"}, RespondOptions{})
	require.ErrorIs(t, err, dist.ErrMissingFlags)
	require.ErrorIs(t, err, syscall.EPIPE)
}

// TestCookieIsNotProvenToStrangers: the connecting side lets CheckPeer, Want
// and the flags decide before its digest goes out.
func TestCookieIsNotProvenToStrangers(t *testing.T) {
	challenge := Challenge{Version: 6, Flags: dist.FlagsDefault, Challenge: 5, Name: "er@server.example"}
	weak := challenge
	weak.Flags = dist.FlagsLibei &^ (dist.FlagMandatory25Digest | dist.FlagMapTag)
	for name, tt := range map[string]struct {
		c Challenge
		o InitiateOptions
	}{
		"CheckPeer": {challenge, InitiateOptions{CheckPeer: func(string) error { return io.ErrNoProgress }}},
		"Want":      {challenge, InitiateOptions{Want: "other@server.example"}},
		"flags":     {weak, InitiateOptions{}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &script{in: [][]byte{packet(t, StatusMessage{Status: StatusOK}), packet(t, tt.c)}}
			_, err := Initiate(c, client(), tt.o)
			require.Error(t, err)
			require.Len(t, c.out, 1, "only the name may have gone out")
		})
	}
}
