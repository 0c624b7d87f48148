package protocol

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/dist"
)

// A fuzzed handshake is one with a peer that sends the fuzz input. It is run in
// each of our roles, since some answers of the peer are legal in one role only.

var dynamicClient = Self{Name: "client.example", Dynamic: true, Cookie: "secret", Creation: 11, Challenge: 0x11111111}

// conversations are the peer's packets of whole handshakes, by target and name,
// in the form that packets cuts: the fuzz targets start from them.
func conversations(t testing.TB) map[string]map[string][]byte {
	said := func(messages ...any) (p []byte) {
		for _, m := range messages {
			b := packet(t, m)
			p = append(append(p, byte(len(b))), b...)
		}
		return p
	}
	me, you := client(), server()
	challenge := Challenge{Version: 6, Flags: flagsRecorded, Challenge: you.Challenge, Creation: you.Creation, Name: you.Name}
	ack := Digest("secret", me.Challenge)
	initiate := map[string][]byte{}
	for _, status := range []StatusMessage{
		{Status: StatusOK}, {Status: StatusOKSimultaneous}, {Status: StatusAlive},
		{Status: StatusNamed, Name: "X1@client.example", Creation: 5},
	} {
		initiate[strings.TrimSuffix(string(status.Status), ":")] = said(status, challenge, ack)
	}
	initiate["other cookie"] = said(StatusMessage{Status: StatusOK}, challenge, Digest("other", me.Challenge))

	name := Name{Version: 6, Flags: flagsRecorded, Creation: me.Creation, Name: me.Name}
	low, complement := name, Complement{Flags: flagsRecorded &^ lowFlags, Creation: me.Creation}
	low.Version, low.Flags, low.Creation = 5, flagsRecorded&lowFlags, 0
	unnamed := Name{Version: 6, Flags: flagsRecorded | dist.FlagNameMe, Name: "host"}
	reply := Reply{Challenge: me.Challenge, Digest: Digest("secret", you.Challenge)}
	return map[string]map[string][]byte{
		"FuzzInitiate": initiate,
		"FuzzRespond": {
			"ok":           said(name, reply),
			"ok 5":         said(low, complement, reply),
			"alive":        said(name, StatusMessage{Status: StatusTrue}, reply),
			"alive 5":      said(low, StatusMessage{Status: StatusTrue}, complement, reply),
			"named":        said(unnamed, reply),
			"other cookie": said(name, Reply{Challenge: me.Challenge, Digest: Digest("other", you.Challenge)}),
			"few flags 5":  said(low, Complement{Creation: me.Creation}, reply),
		},
	}
}

// packets cuts fuzz input into packets of up to 255 bytes.
func packets(p []byte) (cut [][]byte) {
	for len(p) > 0 {
		n := min(int(p[0]), len(p)-1)
		cut, p = append(cut, p[1:1+n]), p[1+n:]
	}
	return cut
}

// requireSound checks that the outcome of a handshake of s with a peer that
// sent p is one that is allowed whatever the peer sends.
func requireSound(t *testing.T, s Self, p []byte, peer dist.Peer, err error) {
	if err != nil {
		require.Zero(t, peer)
		var he *dist.HandshakeError
		require.ErrorAs(t, err, &he)
		require.NotEmpty(t, he.Phase)
		require.NotEmpty(t, err.Error())
		return
	}
	require.NoError(t, dist.CheckName(peer.Name))
	require.NoError(t, dist.CheckName(peer.SelfName))
	require.NotEqual(t, peer.Name, peer.SelfName)
	require.Zero(t, peer.Announced.Missing(s.mandatory()))
	require.Zero(t, peer.Flags&^peer.Announced.Expand())
	require.Contains(t, []int{dist.Version5, dist.Version6}, peer.Version)
	require.Equal(t, s.Dynamic, peer.SelfName != s.Name)
	proof := Digest(s.Cookie, s.Challenge)
	require.True(t, bytes.Contains(p, proof[:]), "the peer has not proven that it knows the cookie")
}

// initiateWith runs each role of the connecting side with a peer that answers p.
func initiateWith(t *testing.T, p []byte) (succeeded []dist.Status) {
	for _, s := range []Self{client(), dynamicClient} {
		for _, version5 := range []bool{false, true} {
			if s.Dynamic && version5 {
				continue
			}
			peer, err := Initiate(&script{in: packets(p)}, s, InitiateOptions{Version5: version5})
			requireSound(t, s, p, peer, err)
			if err == nil {
				require.Equal(t, s.Dynamic, peer.Status == StatusNamed)
				succeeded = append(succeeded, peer.Status)
			}
		}
	}
	return succeeded
}

// respondWith runs each role of the accepting side with a peer that asks p.
func respondWith(t *testing.T, mandatory dist.Flags, p []byte) (succeeded []dist.Status) {
	for _, v := range []Verdict{
		{Status: StatusOK}, {Status: StatusOKSimultaneous}, {Status: StatusAlive},
		{Status: StatusNamed, Name: "X@host", Creation: 1},
	} {
		c, s := &script{in: packets(p)}, server()
		s.Mandatory = mandatory
		name, err := ReadName(c)
		if err != nil {
			requireSound(t, s, p, dist.Peer{}, err)
			continue
		}
		peer, err := Respond(c, s, name, RespondOptions{Decide: decide(v)})
		requireSound(t, s, p, peer, err)
		if err == nil {
			require.Equal(t, v.Status, peer.Status)
			require.Equal(t, v.Status == StatusNamed, name.Dynamic())
			require.Equal(t, name.Version, peer.Version)
			succeeded = append(succeeded, peer.Status)
			continue
		}
		for _, out := range c.out {
			_, err := ParseAck(out)
			require.Error(t, err, "our proof went to a peer that failed")
		}
	}
	return succeeded
}

// FuzzInitiate is a peer that answers anything.
func FuzzInitiate(f *testing.F) {
	f.Fuzz(func(t *testing.T, p []byte) { initiateWith(t, p) })
}

// FuzzRespond is a peer that asks anything.
func FuzzRespond(f *testing.F) {
	f.Fuzz(func(t *testing.T, p []byte) {
		respondWith(t, dist.Mandatory25, p)
		respondWith(t, dist.Mandatory26, p)
	})
}

// TestFuzzConversationsSucceed shows that what the fuzz targets start from are handshakes
// that succeed, in every role, so that the fuzzer gets to the end of one.
func TestFuzzConversationsSucceed(t *testing.T) {
	all := conversations(t)
	require.Equal(t, []dist.Status{StatusOK, StatusOK}, initiateWith(t, all["FuzzInitiate"]["ok"]))
	require.Equal(t, []dist.Status{StatusOKSimultaneous, StatusOKSimultaneous},
		initiateWith(t, all["FuzzInitiate"]["ok_simultaneous"]))
	require.Equal(t, []dist.Status{StatusAlive, StatusAlive}, initiateWith(t, all["FuzzInitiate"]["alive"]))
	require.Equal(t, []dist.Status{StatusNamed}, initiateWith(t, all["FuzzInitiate"]["named"]))
	require.Empty(t, initiateWith(t, all["FuzzInitiate"]["other cookie"]))
	require.Empty(t, respondWith(t, dist.Mandatory25, all["FuzzRespond"]["other cookie"]))
	for _, version := range []string{"", " 5"} {
		require.Equal(t, []dist.Status{StatusOK, StatusOKSimultaneous},
			respondWith(t, dist.Mandatory26, all["FuzzRespond"]["ok"+version]))
		require.Equal(t, []dist.Status{StatusAlive}, respondWith(t, dist.Mandatory26, all["FuzzRespond"]["alive"+version]))
	}
	require.Equal(t, []dist.Status{StatusNamed}, respondWith(t, dist.Mandatory26, all["FuzzRespond"]["named"]))
	require.Equal(t, []dist.Status{StatusOK, StatusOKSimultaneous},
		respondWith(t, dist.Mandatory25, all["FuzzRespond"]["few flags 5"]))
	require.Empty(t, respondWith(t, dist.Mandatory26, all["FuzzRespond"]["few flags 5"]))
}
