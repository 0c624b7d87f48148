package packed

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

var known = &Known{Peer: "peer@test", Creation: 77, To: ei.Pid{Node: "here@test", ID: 5, Creation: 99}}

// peerPid is a process of the peer.
var peerPid = ei.Pid{Node: "peer@test", ID: 300, Serial: 1, Creation: 77}

// A packed message is the one that it was.
func TestPack(t *testing.T) {
	names := rapid.SampledFrom([]ei.Atom{"peer@test", "here@test", "third@test", ""})
	pids := rapid.OneOf(rapid.Just(ei.Pid{}), rapid.Just(peerPid), rapid.Just(known.To), rapid.Custom(func(t *rapid.T) ei.Pid {
		return ei.Pid{
			Node: names.Draw(t, "node"), ID: rapid.Uint32().Draw(t, "id"), Serial: rapid.Uint32().Draw(t, "serial"),
			Creation: rapid.SampledFrom([]uint32{77, 99, 1, 1<<32 - 1}).Draw(t, "creation"),
		}
	}))
	raws := rapid.SampledFrom([]ei.Raw{nil, {}, {97, 1}, make(ei.Raw, 200), make(ei.Raw, 5000)})
	rapid.Check(t, func(t *rapid.T) {
		ctl, payload := dist.Control{
			Op:   rapid.SampledFrom([]dist.Op{dist.OpSend, dist.OpRegSend, dist.OpAliasSend, dist.OpExit}).Draw(t, "op"),
			From: pids.Draw(t, "from"), To: pids.Draw(t, "to"), Reason: raws.Draw(t, "reason"), Token: raws.Draw(t, "token"),
			Flags: rapid.SampledFrom([]uint64{0, dist.AltactPrio}).Draw(t, "flags"),
		}, raws.Draw(t, "payload")
		if rapid.Bool().Draw(t, "named") {
			ctl.ToName = ei.Atom(rapid.StringN(1, 255, 255).Draw(t, "name"))
		}
		if rapid.Bool().Draw(t, "aliased") {
			ctl.Ref = ei.Ref{Node: names.Draw(t, "node"), Creation: rapid.Uint32().Draw(t, "creation"), Len: 5}
			for i := range ctl.Ref.ID {
				ctl.Ref.ID[i] = rapid.Uint32().Draw(t, "word")
			}
		}
		packed := Pack(&ctl, payload, known)
		require.Equal(t, Size(&ctl, payload, known), len(packed))
		var got dist.Control
		var term ei.Raw
		room := 0
		Unpack(packed, known, &got, &term, func(n int) []byte { room = n; return make([]byte, n) })
		require.Equal(t, ctl, got)
		require.Equal(t, payload, term)
		require.Equal(t, len(ctl.Reason)+len(ctl.Token)+len(payload), room)
	})
}

// What is usual takes a few bytes beside its term; what has more than is packed is not.
func TestSize(t *testing.T) {
	payload := make(ei.Raw, 100)
	for want, ctl := range map[int]dist.Control{
		105: {Op: dist.OpSend, From: peerPid, To: known.To},
		110: {Op: dist.OpRegSend, From: peerPid, ToName: "name"},
	} {
		require.Equal(t, want, Size(&ctl, payload, known), ctl.Op)
	}
	require.Zero(t, Size(&dist.Control{Op: dist.OpSpawnReply}, nil, known))
}
