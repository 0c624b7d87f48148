package nodes

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A strangeMessage takes some 500 times as much whole, and is for a process that does not exist.
type strangeMessage struct {
	counts bool // as undeliverable
	asks   bool // whether a rule lets the peer say so to such a process
	ctl    dist.Control
	raw    ei.Raw // the payload
}

// strangeMessages are those of a peer, p, for nobody.
func strangeMessages(t testing.TB, n *Node, p *wire, atoms int) map[string]strangeMessage {
	nobody := ei.Pid{Node: ei.Atom(n.Name()), ID: 1 << 20, Creation: n.Creation()}
	ref := ei.Ref{Node: ei.Atom(n.Name()), Creation: n.Creation(), Len: 3, ID: [5]uint32{1, 2, 3}}
	call := of(n.newCallRef()).must(t)
	large := longAtoms(atoms)
	raw := encode(t, large)
	late := encode(t, ei.Tuple{call, large})
	empty := encode(t, ei.List{})
	token := encode(t, ei.Tuple{ei.Int(1), large, ei.Int(1), p.Self, ei.Int(0)})
	return map[string]strangeMessage{
		"name":              {true, false, dist.Control{Op: dist.OpRegSend, From: p.Self, ToName: "nobody"}, raw},
		"pid":               {true, false, dist.Control{Op: dist.OpSend, To: nobody}, raw},
		"pid, with sender":  {true, false, dist.Control{Op: dist.OpSendSender, From: p.Self, To: nobody}, raw},
		"alias":             {true, false, dist.Control{Op: dist.OpAliasSend, From: p.Self, Ref: ref}, raw},
		"altact":            {true, false, dist.Control{Op: dist.OpAltactSigSend, Flags: dist.AltactName, From: p.Self, ToName: "nobody"}, raw},
		"late reply":        {true, false, dist.Control{Op: dist.OpSend, To: nobody}, late},
		"token":             {true, false, dist.Control{Op: dist.OpRegSend.Traced(), From: p.Self, ToName: "nobody", Token: token}, empty},
		"exit, in payload":  {false, false, dist.Control{Op: dist.OpPayloadExit, From: p.Self, To: nobody}, raw},
		"exit2, in payload": {false, true, dist.Control{Op: dist.OpPayloadExit2, From: p.Self, To: nobody}, raw},
		"down, in payload":  {false, false, dist.Control{Op: dist.OpPayloadMonitorPExit, From: p.Self, To: nobody, Ref: ref}, raw},
		"exit":              {false, false, dist.Control{Op: dist.OpExit, From: p.Self, To: nobody, Reason: raw}, nil},
		"exit2":             {false, true, dist.Control{Op: dist.OpExit2, From: p.Self, To: nobody, Reason: raw}, nil},
		"down":              {false, false, dist.Control{Op: dist.OpMonitorPExit, From: p.Self, To: nobody, Ref: ref, Reason: raw}, nil},
	}
}

// What a peer sends with references to its atom cache stays as it came if it is for nobody: small
// messages and large ones, whole and in fragments, with rules and without.
func TestReferencesForNobody(t *testing.T) {
	many, times := need.Fewer(1000, 20_000), need.Fewer(10, 50)
	allow := []Rule{{Allow: true}}
	deny := []Rule{{Permission: MaySend | MayExit, Target: "#Pid<*>"}, {Allow: true}}
	for _, tt := range []struct {
		atoms, fragment, times int
		rules                  []Rule
	}{
		{8, 0, need.Fewer(100, 500), nil}, {300, 0, times, nil}, {many, 0, 5, nil}, {many, 4000, 5, nil},
		{300, 0, times, allow}, {300, 0, times, deny},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			w := newWorld(t, "tcp")
			n, p := w.met("alice", func(cfg *Config) { cfg.Rules = tt.rules })
			b := registered(t, n, "somebody")
			behind := frame(t, dist.Control{Op: dist.OpRegSend, From: p.Self, ToName: "somebody"}, ei.Atom("behind"))
			for name, m := range strangeMessages(t, n, p, tt.atoms) {
				fragment := tt.fragment
				if m.raw == nil {
					fragment = 0
				}
				before := n.Stats()
				var sent protocol.SentAtoms
				first := packed(t, &sent, &m.ctl, m.raw, fragment)
				again := bytes.Repeat(packed(t, &sent, &m.ctl, m.raw, fragment), tt.times)
				require.NoError(t, p.Write(append(first, behind...)))
				term(t, b)
				used := allocatedBy(func() {
					require.NoError(t, p.Write(append(again, behind...)))
					term(t, b)
				})
				require.LessOrEqual(t, used, 8*len(again)+1<<20, "%s: of %d bytes that came", name, len(again))
				var lost, denied int64
				switch times := int64(tt.times + 1); {
				case m.asks && tt.rules != nil && !tt.rules[0].Allow:
					denied = times
				case m.counts:
					lost = times
				}
				after := n.Stats()
				require.Equal(t, lost, after.Undeliverable-before.Undeliverable, name)
				require.Equal(t, denied, after.Denied-before.Denied, name)
			}
		})
	}
}

// What is for somebody arrives whole.
func TestReferencesForSomebody(t *testing.T) {
	many := need.Fewer(400, 3000)
	for _, kind := range []string{"tcp", "packets"} {
		w := newWorld(t, kind)
		n, p := w.met("alice")
		c := w.conn(n, "wire@test")
		b := registered(t, n, "somebody", &MailboxOptions{TrapExit: true})
		alias := of(b.Alias(context.Background())).must(t)
		for _, fragment := range []int{0, 500} {
			for _, atoms := range []int{8, 300, many} {
				want := ei.Tuple{ei.Int(1), longAtoms(atoms)}
				for _, ctl := range []dist.Control{
					{Op: dist.OpRegSend, From: p.Self, ToName: "somebody"}, {Op: dist.OpSend, To: b.Pid()},
					{Op: dist.OpAliasSend, From: p.Self, Ref: alias}, {Op: dist.OpPayloadExit2, From: p.Self, To: b.Pid()},
					{Op: dist.OpExit2, From: p.Self, To: b.Pid(), Reason: encode(t, want)},
					{Op: dist.OpRegSend.Traced(), From: p.Self, ToName: "somebody", Token: encode(t, ei.Tuple{
						ei.Int(1), want, ei.Int(1), p.Self, ei.Int(0),
					})},
				} {
					var sent protocol.SentAtoms
					var payload ei.Raw
					if ctl.Op.HasPayload() {
						payload = encode(t, want)
					}
					if fragment > 0 && payload == nil {
						continue
					}
					for range 2 {
						require.NoError(t, p.Write(packed(t, &sent, &ctl, payload, fragment)))
						m, err := b.Receive(w.ctx())
						require.NoError(t, err, "%s %d %d %v %v", kind, fragment, atoms, ctl.Op, c.Err())
						raw := m.Payload
						if m.Op == dist.OpExit {
							raw = m.Reason
						}
						require.Zero(t, ei.Compare(want, of(raw.Decode()).must(t)), "%v", ctl.Op)
						if len(ctl.Token) > 0 {
							require.Equal(t, ctl.Token, m.Token)
						}
						m.Release()
					}
				}
			}
		}
	}
}
