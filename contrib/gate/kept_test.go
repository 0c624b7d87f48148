package gate_test

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/gate"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A brief says how much is in a BEAM's tables.
type brief struct{ exports, funs, nodes, chain int }

func tablesOf(t *testing.T, n *otp.Node) (b brief) {
	t.Helper()
	text := n.Do(t, "tables:brief()")
	_, err := fmt.Sscanf(text, "{%d,%d,%d,%d}", &b.exports, &b.funs, &b.nodes, &b.chain)
	require.NoError(t, err, text)
	return b
}

// manyExports is a list of n external funs.
func manyExports(n int) []byte {
	b := binary.BigEndian.AppendUint32([]byte{108}, uint32(n))
	for i := range n {
		b = join(b, encoded(ei.Export{Module: "kept_m", Function: ei.Atom(fmt.Sprintf("kept_f%d", i/256)), Arity: uint8(i)}))
	}
	return append(b, 106)
}

// manyClosures is a list of n closures of one hash value.
func manyClosures(n int, maker ei.Pid) []byte {
	b := binary.BigEndian.AppendUint32([]byte{108}, uint32(n))
	for i := range n {
		f := ei.Fun{Module: "kept_m", Arity: 1, Index: 1, OldIndex: 1, OldUniq: 1, Pid: maker}
		binary.BigEndian.PutUint32(f.Uniq[:], uint32(i))
		b = join(b, encoded(f))
	}
	return append(b, 106)
}

// Whatever carries it, a fun does not reach a BEAM for which no limit allows funs.
func TestFunsAreRefused(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		w, a := withGate(t, r, func(w *world) {
			w.cfg.Rules = append(w.cfg.Rules, gate.Rule{Op: gate.MayExit | gate.MaySend, Target: "*", Allow: true})
		})
		note := pidOf(t, w.secrets(t), "note")
		me, ref := a.pid(1), a.ref(1, 2, 3)
		ours := ei.Ref{Node: note.Node, Creation: note.Creation, Len: 3, ID: [5]uint32{1, 2, 3}}
		before := tablesOf(t, w.inner)
		for name, funs := range map[string][]byte{"exports": manyExports(500), "closures": manyClosures(500, me)} {
			type k = dist.Control
			tuple := func(parts ...[]byte) []byte { return join([]byte{104, byte(len(parts))}, join(parts...)) }
			request := func(tag []byte, what []byte) []byte {
				return tuple(encoded(ei.Atom("$gen_call")), tuple(encoded(me), tag), what)
			}
			for _, x := range []struct {
				what    string
				ctl     k
				payload []byte
				want    string
			}{
				{"a cast", k{Op: dist.OpRegSend, From: me, ToName: "till"}, tuple(encoded(ei.Atom("$gen_cast")), funs), ""},
				{"a call", k{Op: dist.OpRegSend, From: me, ToName: "till"}, request(encoded(ref), funs), "PAYLOAD_MONITOR_P_EXIT"},
				{"a tag", k{Op: dist.OpRegSend, From: me, ToName: "till"}, request(funs, encoded(ei.Atom("x"))), ""},
				{"a message", k{Op: dist.OpSendSender, From: me, To: note}, funs, ""},
				{"an alias's message", k{Op: dist.OpAliasSend, From: me, Ref: ours}, funs, ""},
				{"an exit", k{Op: dist.OpPayloadExit, From: me, To: note}, funs, ""},
				{"an old exit", k{Op: dist.OpExit, From: me, To: note, Reason: funs}, nil, ""},
				{"a traced exit", k{Op: dist.OpPayloadExit.Traced(), From: me, To: note, Token: funs}, encoded(ei.Atom("x")), ""},
				{"an old exit/2", k{Op: dist.OpExit2, From: me, To: note, Reason: funs}, nil, ""},
				{"an end", k{Op: dist.OpPayloadMonitorPExit, From: me, To: note, Ref: ours}, funs, ""},
				{"an old end", k{Op: dist.OpMonitorPExit, From: me, To: note, Ref: ours, Reason: funs}, nil, ""},
				{"an end of a name", k{Op: dist.OpMonitorPExit, FromName: "kept_name", To: note, Ref: ours, Reason: funs}, nil, ""},
				{"a token", k{Op: dist.OpRegSend.Traced(), From: me, ToName: "net_kernel", Token: funs},
					encoded(ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{me, ref}, ei.Tuple{ei.Atom("is_auth"), ei.Atom(a.name)}}), "SEND"},
				{"arguments", k{Op: dist.OpSpawnRequest, Ref: ref, From: me, GroupLeader: me, Module: "shop", Function: "quote", Arity: 1,
					Options: encoded(ei.List{ei.Atom("monitor")})}, join([]byte{108, 0, 0, 0, 1}, funs, []byte{106}), "SPAWN_REPLY"},
				{"options", k{Op: dist.OpSpawnRequest, Ref: ref, From: me, GroupLeader: me, Module: "shop", Function: "quote", Arity: 1,
					Options: join([]byte{108, 0, 0, 0, 1}, tuple(encoded(ei.Atom("reply_tag")), funs), []byte{106})},
					encoded(ei.List{ei.Int(1)}), "SPAWN_REPLY"},
				{"a spawned process", k{Op: dist.OpSpawnReply, Ref: ours, To: note, Flags: 1, Result: encoded(me)}, nil, ""},
			} {
				c := a.again(t)
				frame := frameFor(attackerFlags&^dist.FlagDistHdrAtomCache, &x.ctl, x.payload)
				ops, open := c.answers(a, frame)
				require.True(t, open, "%s in %s", name, x.what)
				require.Equal(t, x.want, strings.Join(ops, " "), "%s in %s", name, x.what)
				require.NoError(t, c.Close())
			}
			c := a.again(t) // in pieces, of which the first says nothing of funs
			_, open := c.answers(a, join(inPieces(9, &dist.Control{Op: dist.OpRegSend, From: me, ToName: "till"},
				tuple(encoded(ei.Atom("$gen_cast")), tuple(encoded(ei.Binary(make([]byte, 10_000))), funs)), 9000)...))
			require.False(t, open, "pieces have passed")
			require.NoError(t, c.Close())
		}
		after := tablesOf(t, w.inner)
		require.Less(t, after.exports-before.exports, 100)
		require.Less(t, after.funs-before.funs, 100)
		require.NotContains(t, w.inner.Log(), "kept_m")
	})
}

// Funs count by the name of a node, over its connections and the gate's moves, and those of all
// names together.
func TestFunsAreCounted(t *testing.T) {
	t.Parallel()
	r := otp.Releases(t)
	w := siege(t, r[len(r)-1], r[len(r)-1])
	w.cfg.Outside.Names, w.cfg.Limits.Funs = []string{"attacker*@127.0.0.1"}, 300
	g := w.start(t, nil)
	a := attacker{node: w.inner.Name(), cookie: "outer", name: "attacker@127.0.0.1", addr: g.Addr(w.inner.Name()).String()}
	cast := func(funs []byte) { // the call of casts comes behind it
		c := a.again(t)
		_, open := c.answers(a, frameFor(c.peer.Flags, &dist.Control{Op: dist.OpRegSend, From: a.pid(1), ToName: "till"},
			join([]byte{104, 2}, encoded(ei.Atom("$gen_cast")), funs)))
		require.True(t, open)
		require.NoError(t, c.Close())
	}
	casts := func() string { return w.inner.Do(t, "gen_server:call(till, casts)") }
	before := tablesOf(t, w.inner)
	cast(manyExports(200))
	w.inner.Becomes(t, "gen_server:call(till, casts)", "1")
	cast(manyExports(200)) // the same
	w.inner.Becomes(t, "gen_server:call(till, casts)", "2")
	cast(manyClosures(90, a.pid(1)))
	w.inner.Becomes(t, "gen_server:call(till, casts)", "3")
	g, _ = w.moves(t, g)
	defer func() { require.NoError(t, g.Close()) }()
	cast(manyExports(300))
	cast(manyClosures(150, a.pid(1)))
	require.Equal(t, "3", casts())
	a.name = "attacker_of_another_name@127.0.0.1"
	cast(manyExports(300))
	w.inner.Becomes(t, "gen_server:call(till, casts)", "4")
	after := tablesOf(t, w.inner)
	require.LessOrEqual(t, after.exports-before.exports, 400)
	require.LessOrEqual(t, after.funs-before.funs, 200)
}

// Pids of incarnations that never were fill no table inside.
func TestIncarnationsAreCounted(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		w, a := withGate(t, r, func(w *world) {
			w.cfg.Limits.Atoms = 500
			w.cfg.Rules = append(w.cfg.Rules, gate.Rule{Op: gate.MayExit, Target: "*", Allow: true})
		})
		before := tablesOf(t, w.inner)
		c := a.again(t)
		var b []byte
		send := func(ctl dist.Control, payload ...ei.Term) {
			var p []byte
			if len(payload) > 0 {
				p = encoded(payload[0])
			}
			b = append(b, frameFor(c.peer.Flags, &ctl, p)...)
		}
		for i := range uint32(2000) {
			third := ei.Pid{Node: "third@127.0.0.1", ID: 1, Creation: 100 + i}
			own, old := a.pid(1), ei.Pid{Node: ei.Atom(a.node), ID: 1, Creation: 1000 + i}
			own.Creation += i
			cast := func(t ei.Term) ei.Term { return ei.Tuple{ei.Atom("$gen_cast"), t} }
			till := dist.Control{Op: dist.OpRegSend, From: a.pid(1), ToName: "till"}
			send(till, cast(third))
			send(till, cast(ei.Port{Node: "third@127.0.0.1", ID: 1, Creation: 3100 + i}))
			send(till, cast(ei.Ref{Node: "third@127.0.0.1", Creation: 6100 + i, Len: 3}))
			send(dist.Control{Op: dist.OpRegSend, From: own, ToName: "till"}, cast(ei.Int(1)))
			send(dist.Control{Op: dist.OpPayloadExit2, From: a.pid(1), To: old}, ei.Export{Module: "m", Function: "f", Arity: 1})
			send(dist.Control{Op: dist.OpPayloadExit2, From: a.pid(1), To: old}, ei.Atom("x"))
		}
		_, open := c.answers(a, b)
		require.True(t, open)
		require.NoError(t, c.Close())
		require.Equal(t, "{ok,x}", w.inner.Do(t, "gen_server:call(till, x)"))
		require.LessOrEqual(t, tablesOf(t, w.inner).nodes-before.nodes, 500)
	})
}

// sameChain makes n atoms that are in one place of a BEAM's table of atoms, though each has a hash
// value of its own.
func sameChain(prefix string, n int) (atoms []ei.Atom) {
	want := gate.Place(prefix + "0")
	for i := 0; len(atoms) < n; i++ {
		if text := prefix + strconv.FormatInt(int64(i), 16); gate.Place(text) == want {
			atoms = append(atoms, ei.Atom(text))
		}
	}
	return atoms
}

// Atoms that a BEAM finds in one long chain only are refused: each look at one would take it as
// long as all of the chain. Some have one hash value, the others one place.
func TestAtomsOfOneChain(t *testing.T) {
	t.Parallel()
	onePlace := sameChain("place", 1400) // takes seconds
	otp.Each(t, func(t *testing.T, r otp.Release) {
		w, a := withGate(t, r, nil)
		oneHash := func(prefix string, n int, pairs [2]string) (atoms []ei.Atom) {
			for i := range n {
				text := prefix
				for k := range 11 {
					text += pairs[i>>k&1]
				}
				atoms = append(atoms, ei.Atom(text))
			}
			return atoms
		}
		// Each list is longer than the one before: a chain of its length is its own.
		for _, atoms := range [][]ei.Atom{
			oneHash("l", 1000, [2]string{"\u00c1\u00d0", "\u00c2\u00c0"}), // Latin-1
			oneHash("h", 1200, [2]string{"ap", "b`"}),
			onePlace,
		} {
			name := string(atoms[0][:1])
			// First what a BEAM makes of them: else the test would show nothing.
			list := ei.List{}
			for _, atom := range atoms {
				list = append(list, atom)
			}
			file := w.outer.Home() + "/atoms-" + name
			write(t, file, string(encoded(list)), 0o600)
			w.outer.Do(t, fmt.Sprintf("{ok, B} = file:read_file(%q), binary_to_term(<<131, B/binary>>), ok", file))
			require.GreaterOrEqual(t, tablesOf(t, w.outer).chain, len(atoms), name)

			c := a.again(t)
			var b []byte
			for _, atom := range atoms {
				b = append(b, frameFor(c.peer.Flags, &dist.Control{Op: dist.OpRegSend, From: a.pid(1), ToName: "till"},
					encoded(ei.Tuple{ei.Atom("$gen_cast"), atom}))...)
			}
			_, open := c.answers(a, b)
			require.True(t, open)
			require.NoError(t, c.Close())
			require.Equal(t, "{ok,x}", w.inner.Do(t, "gen_server:call(till, x)"))
			require.Less(t, tablesOf(t, w.inner).chain, 200, name)
		}
	})
}

// Incarnations of nodes that a BEAM would have in one place of its table are refused before it
// takes long to find one of them.
func TestPlacesOfNodes(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		w, a := withGate(t, r, nil)
		c := a.again(t)
		cast := func(node ei.Atom, creations func(cre uint32) bool) {
			var pids ei.List
			for cre := uint32(1000); len(pids) < 500; cre++ {
				if creations(cre) {
					pids = append(pids, ei.Pid{Node: node, ID: 1, Creation: cre})
				}
			}
			_, open := c.answers(a, frameFor(c.peer.Flags, &dist.Control{Op: dist.OpRegSend, From: a.pid(1), ToName: "till"},
				encoded(ei.Tuple{ei.Atom("$gen_cast"), pids})))
			require.True(t, open)
		}
		cast("crowd@h", func(cre uint32) bool { return gate.NodePlace("crowd@h", cre, 9) == 77 })
		require.Equal(t, "0", w.inner.Do(t, "gen_server:call(till, casts)"))
		cast("crowd@h", func(cre uint32) bool { return gate.NodePlace("crowd@h", cre, 9) != 77 })
		w.inner.Becomes(t, "gen_server:call(till, casts)", "1")
		text := w.inner.Do(t, `#{{hash, "node_table"} := T} = tables:all(), T`)
		var nodes, longest int
		_, err := fmt.Sscanf(text, "{%d,%d}", &nodes, &longest)
		require.NoError(t, err, text)
		require.Greater(t, nodes, 450)
		require.Less(t, longest, 64)
		require.NoError(t, c.Close())
	})
}
