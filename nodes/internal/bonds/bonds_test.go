package bonds

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

var (
	self   = ei.Pid{Node: "here@h", ID: 1, Creation: 7}
	friend = ei.Pid{Node: "there@h", ID: 2, Creation: 8}
)

// The link protocol of erl_dist_protocol, step by step: what is sent, and whether there is a link
// afterwards.
func TestLinkProtocol(t *testing.T) {
	type step struct {
		do   func(b *Bonds, id *uint64) *dist.Control
		op   dist.Op // sent; 0: nothing
		is   bool    // linked afterwards
		none bool    // nothing is remembered
	}
	link := func(b *Bonds, _ *uint64) *dist.Control { return b.Link(self, friend) }
	unlink := func(way Way) func(b *Bonds, id *uint64) *dist.Control {
		return func(b *Bonds, id *uint64) *dist.Control {
			ctl := b.Unlink(self, friend, way)
			if ctl != nil {
				*id = ctl.ID
			}
			return ctl
		}
	}
	takes := func(f func(b *Bonds, id uint64)) func(b *Bonds, id *uint64) *dist.Control {
		return func(b *Bonds, id *uint64) *dist.Control { f(b, *id); return nil }
	}
	takeLink := takes(func(b *Bonds, _ uint64) { b.TakeLink(friend) })
	takeUnlink := takes(func(b *Bonds, _ uint64) { b.TakeUnlink(friend) })
	ack := takes(func(b *Bonds, id uint64) { b.TakeUnlinkAck(friend, id) })
	wrongAck := takes(func(b *Bonds, id uint64) { b.TakeUnlinkAck(friend, id+1) })
	for name, steps := range map[string][]step{
		"twice":               {{link, dist.OpLink, true, false}, {link, 0, true, false}},
		"from the other side": {{takeLink, 0, true, false}, {link, 0, true, false}, {takeUnlink, 0, false, true}},
		"acknowledged": {
			{link, dist.OpLink, true, false}, {unlink(Acknowledged), dist.OpUnlinkID, false, false}, {ack, 0, false, true},
		},
		"a LINK that was on its way": {
			{link, dist.OpLink, true, false}, {unlink(Acknowledged), dist.OpUnlinkID, false, false}, {takeLink, 0, false, false},
			{takeUnlink, 0, false, false}, {wrongAck, 0, false, false}, {ack, 0, false, true}, {takeLink, 0, true, false},
		},
		"linked anew before the acknowledgement": {
			{link, dist.OpLink, true, false}, {unlink(Acknowledged), dist.OpUnlinkID, false, false}, {link, dist.OpLink, true, false},
			{ack, 0, true, false},
		},
		"the old protocol":  {{link, dist.OpLink, true, false}, {unlink(Silent), dist.OpUnlink, false, true}},
		"without a way":     {{link, dist.OpLink, true, false}, {unlink(Lost), 0, false, false}, {link, dist.OpLink, true, false}},
		"no link to be cut": {{unlink(Acknowledged), 0, false, true}, {takeUnlink, 0, false, true}, {ack, 0, false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			var b Bonds
			var id uint64
			for i, s := range steps {
				ctl := s.do(&b, &id)
				if s.op == 0 {
					require.Nil(t, ctl, i)
				} else {
					require.Equal(t, s.op, ctl.Op, i)
					require.Equal(t, self, ctl.From, i)
					require.Equal(t, friend, ctl.To, i)
					require.Equal(t, s.op == dist.OpUnlinkID, ctl.ID != 0, i)
				}
				require.Equal(t, s.is, b.IsLinked(friend), i)
				require.Equal(t, s.none, b.None(), i)
			}
		})
	}
}
