package gate_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/gate"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A rawAttack is something written on a connection of its own.
type rawAttack struct {
	name   string
	frames []byte
	want   string // the answers; "closed" if the gate may end the connection; "either" if it may do both
}

// rawAttacks are frames that a BEAM does not make. note is a process inside.
func rawAttacks(a attacker, note ei.Pid) []rawAttack {
	type k = dist.Control
	me, ref := a.pid(1), a.ref(1, 2, 3)
	inner := ei.Atom(a.node)
	other := ei.Pid{Node: "other@127.0.0.1", ID: 1, Creation: 7}
	theirRef := ei.Ref{Node: inner, Creation: note.Creation, Len: 3, ID: [5]uint32{1, 2, 3}}
	hit := func(s string) []byte { return encoded(ei.Tuple{ei.Atom("hit"), ei.Atom(s)}) }
	f := func(ctl k, payload ...[]byte) []byte {
		return frameFor(attackerFlags&^dist.FlagDistHdrAtomCache, &ctl, join(payload...))
	}
	till := func(payload ...[]byte) []byte { return f(k{Op: dist.OpRegSend, From: me, ToName: "till"}, payload...) }
	spawn := func(m, name ei.Atom, arity uint8, options ei.Term, args ...[]byte) []byte {
		return f(k{Op: dist.OpSpawnRequest, Ref: ref, From: me, GroupLeader: me, Module: m, Function: name, Arity: arity,
			Options: encoded(options)}, args...)
	}
	monitor := ei.List{ei.Atom("monitor")}
	pieces := func(a, b ei.Term) []byte { // [a | [b]], which is [a, b]
		return join([]byte{108, 0, 0, 0, 1}, encoded(a), encoded(ei.List{b}))
	}
	cast := encoded(ei.Atom("$gen_cast"))
	ping := encoded(ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{me, ref}, ei.Tuple{ei.Atom("is_auth"), ei.Atom(a.name)}})
	long := encoded(ei.Binary(make([]byte, 9<<10)))
	system := encoded(ei.Tuple{ei.Atom("system"), ei.Tuple{me, ref}, ei.Tuple{ei.Atom("terminate"), ei.Atom("hit")}})
	// fragments cuts a message for till into pieces of size.
	fragments := func(sequence uint64, payload []byte, size int) (frames [][]byte) {
		return inPieces(sequence, &k{Op: dist.OpRegSend, From: me, ToName: "till"}, payload, size)
	}
	number := func(b []byte, at, size int, v uint64) []byte { // a copy in which a number is another one
		b = slices.Clone(b)
		for i := range size {
			b[at+i] = byte(v >> (8 * (size - 1 - i)))
		}
		return b
	}
	return []rawAttack{
		// signals for what was never begun
		{"exit without a link", f(k{Op: dist.OpPayloadExit, From: me, To: note}, encoded(ei.Atom("kill"))), ""},
		{"old exit without a link", f(k{Op: dist.OpExit, From: me, To: note, Reason: encoded(ei.Atom("kill"))}), ""},
		{"exit of another node's process", f(k{Op: dist.OpPayloadExit, From: other, To: note}, encoded(ei.Atom("kill"))), "closed"},
		{"exit/2", f(k{Op: dist.OpPayloadExit2, From: me, To: note}, encoded(ei.Atom("kill"))), ""},
		{"old exit/2", f(k{Op: dist.OpExit2, From: me, To: note, Reason: encoded(ei.Atom("kill"))}), ""},
		{"down without a monitor", f(k{Op: dist.OpPayloadMonitorPExit, From: me, To: note, Ref: theirRef}, encoded(ei.Atom("x"))), ""},
		{"demonitor", f(k{Op: dist.OpDemonitorP, From: me, To: note, Ref: ref}), ""},
		{"unlink", f(k{Op: dist.OpUnlinkID, From: me, To: note, ID: 5}), "either"}, // who is asked may acknowledge
		{"acknowledged unlink", f(k{Op: dist.OpUnlinkIDAck, From: me, To: note, ID: 5}), ""},
		{"spawn reply that nobody waits for", f(k{Op: dist.OpSpawnReply, Ref: theirRef, To: note, Flags: 3, Result: encoded(me)}), ""},
		{"group leader", f(k{Op: dist.OpGroupLeader, From: me, To: note}), ""},
		{"link", f(k{Op: dist.OpLink, From: me, To: note}), "PAYLOAD_EXIT"},
		// messages
		{"answer with a guessed reference", f(k{Op: dist.OpSendSender, From: me, To: note}, encoded(ei.Tuple{theirRef, ei.Atom("hit")})), ""},
		{"send", f(k{Op: dist.OpSendSender, From: me, To: note}, hit("send")), ""},
		{"send of another node's process", f(k{Op: dist.OpSendSender, From: other, To: note}, hit("forged")), "closed"},
		{"send of a process inside", f(k{Op: dist.OpSendSender, From: note, To: note}, hit("forged_inside")), "closed"},
		{"send to another node's process", f(k{Op: dist.OpSendSender, From: me, To: other}, hit("elsewhere")), "closed"},
		{"old send", f(k{Op: dist.OpSend, To: note}, hit("old_send")), ""},
		{"priority message to a name", f(k{Op: dist.OpAltactSigSend, Flags: dist.AltactName, From: me, ToName: "note"}, hit("alt_name")), ""},
		{"priority message to a pid", f(k{Op: dist.OpAltactSigSend, Flags: dist.AltactPrio, From: me, To: note}, hit("alt_pid")), ""},
		{"priority exit", f(k{Op: dist.OpAltactSigSend, Flags: dist.AltactPrio | dist.AltactExit, From: me, To: note}, hit("alt_exit")), ""},
		{"alias", f(k{Op: dist.OpAliasSend, From: me, Ref: theirRef}, hit("alias")), ""},
		{"traced send", f(k{Op: dist.OpSendSender.Traced(), From: me, To: note,
			Token: encoded(ei.Tuple{ei.Int(1), ei.Int(1), ei.Int(1), me, ei.Int(1)})}, hit("traced")), ""},
		// functions
		{"arity in pieces", spawn("erpc", "execute_call", 4, monitor, []byte{108, 0, 0, 0, 4}, encoded(ref), encoded(ei.Atom("shop")),
			encoded(ei.Atom("quote")), pieces(ei.Int(1), ei.Int(2)), []byte{106}), "SPAWN_REPLY"},
		{"arguments in pieces", spawn("erpc", "execute_call", 4, monitor, []byte{108, 0, 0, 0, 2}, encoded(ref), encoded(ei.Atom("note")),
			encoded(ei.List{ei.Atom("w"), ei.List{ei.Atom("hit_pieces")}})), "SPAWN_REPLY"},
		{"three arguments and a tail", spawn("erpc", "execute_call", 3, monitor, []byte{108, 0, 0, 0, 3}, encoded(ref), encoded(ei.Atom("note")),
			encoded(ei.Atom("w")), encoded(ei.List{ei.List{ei.Atom("hit_tail")}})), "SPAWN_REPLY"},
		{"an arity that lies", spawn("note", "w", 0, monitor, encoded(ei.List{ei.Atom("hit_arity")})), "SPAWN_REPLY"},
		{"arguments that are no list", spawn("erpc", "execute_call", 4, monitor, encoded(ei.Atom("x"))), "SPAWN_REPLY"},
		{"improper arguments", spawn("shop", "quote", 1, monitor, []byte{108, 0, 0, 0, 1}, encoded(ei.Int(1)), encoded(ei.Int(2))),
			"SPAWN_REPLY"},
		// terms
		{"compressed", till([]byte{80, 0, 0, 0, 3, 1, 2, 3}), "either"},
		{"malformed", till([]byte{104, 2}, cast, []byte{104, 9}), "either"},
		{"more elements than bytes", till([]byte{104, 2}, cast, []byte{105, 0xff, 0xff, 0xff, 0xff}), "either"},
		{"a long binary that is not there", till([]byte{104, 2}, cast, []byte{109, 0xff, 0xff, 0xff, 0xff, 1}), "either"},
		{"deeper than any stack", till([]byte{104, 2}, cast, slices.Repeat([]byte{104, 1}, 1<<20), []byte{106}), "either"},
		{"a rest after a term", till(encoded(ei.Tuple{ei.Atom("$gen_cast"), ei.Int(1)}), []byte{0xff, 0xff}), "either"},
		{"no payload", f(k{Op: dist.OpRegSend, From: me, ToName: "till"}), "either"},
		{"an atom that is not UTF-8", till([]byte{104, 2}, cast, []byte{119, 2, 0xff, 0xfe}), "either"},
		{"a tag of the atom cache", till([]byte{104, 2}, cast, []byte{82, 0}), "either"},
		// frames
		{"an unknown operation", []byte{0, 0, 0, 8, 131, 68, 0, 104, 2, 97, 99, 106}, "closed"},
		{"pass-through", func() []byte {
			b, err := protocol.AppendFrame(nil, &k{Op: dist.OpRegSend, From: me, ToName: "note"}, hit("pass_through"))
			if err != nil {
				panic(err)
			}
			return b
		}(), "either"},
		{"atom cache that was not agreed on", []byte{0, 0, 0, 12, 131, 68, 1, 0x08, 0, 4, 'n', 'o', 't', 'e', 106, 106}, "closed"},
		{"a piece without the first", join([]byte{0, 0, 0, 19, 131, 70}, number(make([]byte, 16), 15, 1, 1), []byte{106}), "closed"},
		{"a first piece of one byte", join(fragments(77, system, 1)...), "PAYLOAD_MONITOR_P_EXIT"},
		{"pieces of two messages by turns", func() (b []byte) {
			x, y := fragments(1, system, 3), fragments(2, join([]byte{104, 2}, cast, encoded(ei.Atom("hit"))), 3)
			for i := range max(len(x), len(y)) {
				if i < len(x) {
					b = append(b, x[i]...)
				}
				if i < len(y) {
					b = append(b, y[i]...)
				}
			}
			return b
		}(), "PAYLOAD_MONITOR_P_EXIT"},
		{"a first piece again", func() []byte { x := fragments(1, system, 3); return join(x[0], join(x...)) }(), "closed"},
		{"a piece left out", func() []byte { x := fragments(1, system, 3); return join(x[0], join(x[2:]...)) }(), "closed"},
		{"a control message in pieces", join([]byte{0, 0, 0, 22, 131, 69}, number(make([]byte, 16), 15, 1, 2), []byte{0, 104, 2, 97},
			[]byte{0, 0, 0, 19, 131, 70}, number(make([]byte, 16), 15, 1, 1), []byte{106}), "closed"},
		{"as many pieces as there are numbers", number(fragments(1, system, 3)[0], 14, 8, 1<<63), "either"},
		{"a token that is none", f(k{Op: dist.OpRegSend.Traced(), From: me, ToName: "net_kernel", Token: encoded(ei.Atom("x"))}, ping), "either"},
		{"a spawn with a token that is none", f(k{Op: dist.OpSpawnRequest.Traced(), Ref: ref, From: me, GroupLeader: me, Module: "shop",
			Function: "quote", Arity: 1, Options: encoded(monitor), Token: encoded(ei.Int(1))}, encoded(ei.List{ei.Int(1)})), "SPAWN_REPLY"},
		{"atoms where nothing is read", func() []byte {
			atoms := binary.BigEndian.AppendUint32([]byte{108}, 50_000)
			for i := range 50_000 {
				atoms = append(atoms, encoded(ei.Atom(fmt.Sprintf("unused%d", i)))...)
			}
			body := join([]byte{131, 68, 0, 104, 4}, encoded(ei.Int(6)), encoded(me), atoms, []byte{106}, encoded(ei.Atom("net_kernel")), ping)
			return join(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body)
		}(), "either"},
		{"a message in one piece of number 0", number(fragments(0, join([]byte{104, 2}, cast, long), 64<<10)[0], 21, 1, 2), "closed"},
		{"more pieces than a message may have", number(fragments(9, join([]byte{104, 2}, cast, long, long), 9<<10)[0], 14, 8, 1<<40), ""},
		{"a closure of old", till([]byte{104, 2}, cast, []byte{117, 0, 0, 0, 0}, encoded(me), encoded(ei.Atom("m")), encoded(ei.Int(0)),
			encoded(ei.Int(0))), "either"},
		{"4 GB", []byte{0xff, 0xff, 0xff, 0xff, 131, 68}, "closed"},
		{"another protocol", []byte("GET / HTTP/1.1\r\nHost: gate\r\n\r\n"), "closed"},
	}
}

// raw makes all attacks, each on a connection of its own.
func raw(t *testing.T, a attacker, note ei.Pid) {
	for _, x := range rawAttacks(a, note) {
		c := a.again(t)
		ops, open := c.answers(a, x.frames)
		got := strings.Join(ops, " ")
		t.Logf("%s: answers %q, open %v", x.name, got, open)
		switch {
		case x.want == "closed" && open:
			t.Errorf("%s: the connection is open, answers %q", x.name, got)
		case x.want != "closed" && x.want != "either" && (!open || got != x.want):
			t.Errorf("%s: answers %q, want %q; open %v", x.name, got, x.want, open)
		}
		require.NoError(t, c.Close())
	}
}

// withGate starts a world whose gate an attacker may come to.
func withGate(t *testing.T, r otp.Release, change func(w *world)) (w *world, a attacker) {
	w = siege(t, r, r)
	a = attacker{node: w.inner.Name(), cookie: "outer", name: "attacker@127.0.0.1"}
	w.cfg.Outside.Names = []string{"attacker*@127.0.0.1"}
	if change != nil {
		change(w)
	}
	g := w.start(t, nil)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	a.addr = g.Addr(w.inner.Name()).String()
	return w, a
}

// Frames that no BEAM makes do nothing inside.
func TestRawFrames(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		w, a := withGate(t, r, nil)
		secrets, before := w.secrets(t), w.inner.Do(t, "inside:state()")
		atoms := w.atoms(t)
		raw(t, a, pidOf(t, secrets, "note"))
		w.untouched(t, before)
		require.Less(t, w.atoms(t)-atoms, 1000)
		require.Equal(t, "{ok,x}", w.inner.Do(t, "gen_server:call(till, x)"))

		c, request := a.again(t), encoded(ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{a.pid(1), a.ref(1)}, ei.Atom("in_pieces")})
		_, err := c.Write(join(inPieces(1, &dist.Control{Op: dist.OpRegSend, From: a.pid(1), ToName: "till"}, request, 1)...))
		require.NoError(t, err)
		answer, err := c.next()
		require.NoError(t, err, "what is allowed may come in pieces of one byte")
		require.Contains(t, []string{"SEND", "SEND_SENDER"}, answer.Op.String())
		require.NoError(t, c.Close())
	})
}

// Nobody comes in without a name that may come and the cookie, and none of it makes the BEAM keep
// anything.
func TestRawHandshakes(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		w, a := withGate(t, r, nil)
		for _, tt := range []struct {
			name   string
			change func(s *protocol.Self, o *protocol.InitiateOptions)
		}{
			{"another cookie", func(s *protocol.Self, _ *protocol.InitiateOptions) { s.Cookie = "nope" }},
			{"no cookie", func(s *protocol.Self, _ *protocol.InitiateOptions) { s.Cookie = "" }},
			{"the cookie inside", func(s *protocol.Self, _ *protocol.InitiateOptions) { s.Cookie = "inner" }},
			{"a name that may not come", func(s *protocol.Self, _ *protocol.InitiateOptions) { s.Name = "stranger@127.0.0.1" }},
			{"the name of the node behind", func(s *protocol.Self, _ *protocol.InitiateOptions) { s.Name = a.node }},
			{"the name of a node outside that may not come", func(s *protocol.Self, _ *protocol.InitiateOptions) { s.Name = w.outer.Name() }},
			{"no name", func(s *protocol.Self, _ *protocol.InitiateOptions) {
				s.Name, s.Dynamic, s.Flags = "127.0.0.1", true, attackerFlags|dist.FlagNameMe
			}},
			{"another node behind", func(_ *protocol.Self, o *protocol.InitiateOptions) { o.Want = "elsewhere@127.0.0.1" }},
		} {
			c, err := a.dial(tt.change)
			if err == nil {
				_ = c.Close()
			}
			require.Error(t, err, tt.name)
		}
		before := w.inner.Do(t, "erlang:system_info(atom_count)")
		for i := range 300 {
			_, err := a.dial(func(s *protocol.Self, _ *protocol.InitiateOptions) {
				s.Name = fmt.Sprintf("nobody%d@127.0.0.%d", i, i%250)
			})
			require.Error(t, err)
		}
		require.Equal(t, before, w.inner.Do(t, "erlang:system_info(atom_count)"))

		first := a.again(t)
		// The answer to a handshake comes before the node says that the connection is up; one that comes
		// before that is taken for simultaneous.
		w.inner.Becomes(t, fmt.Sprintf("net_kernel:node_info('%s', state)", a.name), "{ok,up}")
		_, err := a.dial(func(s *protocol.Self, o *protocol.InitiateOptions) {
			o.AliveAnswer = func(string) bool { return false }
		})
		require.ErrorIs(t, err, dist.ErrAlive)
		_, err = a.dial(func(s *protocol.Self, _ *protocol.InitiateOptions) { s.Cookie = "nope" })
		require.Error(t, err)
		ops, open := first.answers(a, nil)
		require.True(t, open, "neither one who gives up, nor one without the cookie, ends another's connection")
		require.Empty(t, ops)
		second := a.again(t) // the attempts before it are over in a moment
		_, err = first.next()
		require.Error(t, err, "one who has the cookie does")
		require.NoError(t, errors.Join(first.Close(), second.Close()))
	})
}

// A peer with the cookie cannot fill the atom table of the node inside, by connections after
// connections, nor by names.
func TestAtomsAreCounted(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		w, a := withGate(t, r, func(w *world) { w.cfg.Limits.Atoms, w.cfg.Limits.Names = 500, 20 })
		count := func() (n int) {
			_, err := fmt.Sscan(w.inner.Do(t, "erlang:system_info(atom_count)"), &n)
			require.NoError(t, err)
			return n
		}
		require.NoError(t, a.again(t).Close())
		before := count()
		for i := range 5 {
			c := a.again(t)
			var b []byte
			for j := range 4000 {
				b = append(b, frameFor(c.peer.Flags, &dist.Control{Op: dist.OpRegSend, From: a.pid(1), ToName: "till"},
					encoded(ei.Tuple{ei.Atom("$gen_cast"), ei.Atom(fmt.Sprintf("flood%d_%d", i, j))}))...)
				b = append(b, frameFor(c.peer.Flags, &dist.Control{Op: dist.OpRegSend, From: a.pid(1), ToName: ei.Atom(fmt.Sprintf("to%d_%d", i, j))},
					encoded(ei.Atom(fmt.Sprintf("refused%d_%d", i, j))))...)
			}
			_, open := c.answers(a, b)
			require.True(t, open)
			require.NoError(t, c.Close())
		}
		require.Less(t, count()-before, 1000)
		for i := range 60 {
			c, err := a.dial(func(s *protocol.Self, _ *protocol.InitiateOptions) { s.Name = fmt.Sprintf("attacker%d@127.0.0.1", i) })
			if err == nil {
				_ = c.Close()
			}
		}
		require.Less(t, count()-before, 1200)
		require.Equal(t, "[]", w.inner.Do(t, "note:all()"))
	})
}

// Names together bring no more atoms than the node has room for.
func TestAtomsOfAllNames(t *testing.T) {
	t.Parallel()
	r := otp.Releases(t)
	w, a := withGate(t, r[len(r)-1], func(w *world) { w.cfg.Limits.Atoms, w.cfg.Limits.AllAtoms = 500, 600 })
	require.NoError(t, a.again(t).Close()) // the first one has the node load modules
	before := w.atoms(t)
	for i := range 5 {
		a.name = fmt.Sprintf("attacker%d@127.0.0.1", i)
		c := a.again(t)
		var b []byte
		for j := range 400 {
			b = append(b, frameFor(c.peer.Flags, &dist.Control{Op: dist.OpRegSend, From: a.pid(1), ToName: "till"},
				encoded(ei.Tuple{ei.Atom("$gen_cast"), ei.Atom(fmt.Sprintf("all%d_%d", i, j))}))...)
		}
		_, open := c.answers(a, b)
		require.True(t, open)
		require.NoError(t, c.Close())
	}
	require.Equal(t, "{ok,x}", w.inner.Do(t, "gen_server:call(till, x)"))
	require.Less(t, w.atoms(t)-before, 800)
}

// Who may send anything to any process cannot have the system's own processes run a function.
func TestNothingRunsBySystemProcesses(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		w, a := withGate(t, r, func(w *world) {
			w.cfg.Rules = []gate.Rule{
				{Op: gate.MaySend | gate.MayRequest, Target: "*", Allow: true}, {Op: gate.MayCall, Target: "shop:quote/1", Allow: true},
			}
		})
		secrets := w.secrets(t)
		me, ref, atom := a.pid(1), a.ref(1, 2, 3), func(s string) ei.Atom { return ei.Atom(s) }
		from := ei.Tuple{me, ref}
		call := func(what ...ei.Term) ei.Term { return ei.Tuple{atom("$gen_call"), from, ei.Tuple(what)} }
		cast := func(what ...ei.Term) ei.Term { return ei.Tuple{atom("$gen_cast"), ei.Tuple(what)} }
		io := func(what ...ei.Term) ei.Term { return ei.Tuple{atom("io_request"), me, ref, ei.Tuple(what)} }
		note, w1, hit := atom("note"), atom("w"), ei.List{atom("hit")}
		const refusedCall = "PAYLOAD_MONITOR_P_EXIT"
		for _, tt := range []struct {
			name, pid string // of who gets it; without pid by its name
			message   ei.Term
			want      string
		}{
			{"", "net_kernel", call(atom("spawn"), note, w1, hit, me), refusedCall},
			{"", "net_kernel", call(atom("spawn_link"), note, w1, hit, me), refusedCall},
			{"", "net_kernel", cast(atom("spawn"), note, w1, hit, me), ""},
			{"", "rex", call(atom("call"), note, w1, hit, me), refusedCall},
			{"", "rex", call(atom("block_call"), note, w1, hit, me), refusedCall},
			{"", "rex", cast(atom("cast"), note, w1, hit, atom("user")), ""},
			{"rex", "", call(atom("call"), atom("shop"), atom("quote"), ei.List{ei.Int(1)}, pidOf(t, secrets, "note")), refusedCall},
			{"", "kernel_sup", call(atom("start_child"), ei.Tuple{atom("x"), ei.Tuple{note, w1, hit}, atom("temporary"), ei.Int(1),
				atom("worker"), ei.List{note}}), refusedCall},
			{"user", "", io(atom("put_chars"), atom("unicode"), note, w1, hit), "SEND"},
			{"", "user", io(atom("put_chars"), atom("unicode"), note, w1, hit), "SEND"},
			{"", "user", io(atom("put_chars"), note, w1, hit), "SEND"},
			{"", "file", io(atom("put_chars"), atom("unicode"), note, w1, hit), "SEND"},
			{"", "file", io(atom("get_until"), atom("unicode"), atom(""), note, w1, hit), "SEND"},
			{"user", "", io(atom("requests"), ei.List{ei.Tuple{atom("put_chars"), atom("unicode"), note, w1, hit}}), "SEND"},
			{"", "file", io(atom("put_chars"), atom("unicode"), ei.Binary("hello")), "SEND_SENDER"},
			{"", "rex", ei.Tuple{me, ei.Tuple{atom("call"), note, w1, hit, me}}, ""},
			{"", "rex", ei.Tuple{me, ei.Tuple{atom("send"), note, atom("hit")}}, ""},
			{"", "file", ei.Tuple{atom("io_request"), pidOf(t, secrets, "note"), ref, ei.Tuple{atom("get_geometry"), atom("rows")}}, ""},
		} {
			ctl := dist.Control{Op: dist.OpRegSend, From: me, ToName: atom(tt.name)}
			if tt.pid != "" {
				ctl = dist.Control{Op: dist.OpSendSender, From: me, To: pidOf(t, secrets, tt.pid)}
			}
			for _, size := range []int{0, 1} { // whole, and with a first piece of one byte
				c := a.again(t)
				b := frameFor(c.peer.Flags, &ctl, encoded(tt.message))
				if size > 0 {
					b = join(inPieces(7, &ctl, encoded(tt.message), size)...)
				}
				_, err := c.Write(b)
				require.NoError(t, err)
				if tt.want == "SEND_SENDER" { // the file answers when it likes
					answer, err := c.next()
					require.NoError(t, err)
					require.Contains(t, []string{"SEND_SENDER", "SEND"}, answer.Op.String())
				} else {
					ops, open := c.answers(a, nil)
					require.True(t, open, "%v", tt.message)
					require.Equal(t, tt.want, strings.Join(ops, " "), "%v", tt.message)
				}
				require.NoError(t, c.Close())
			}
		}
		require.Equal(t, "[]", w.inner.Do(t, "note:all()"))
	})
}

// Messages whose rest never comes take no memory beyond what the limits say.
func TestPiecesAreBounded(t *testing.T) {
	for _, l := range []gate.Limits{{Held: 4 << 20, Message: 2 << 20}, {Memory: 4 << 20, Message: 2 << 20}} {
		t.Run(fmt.Sprintf("%+v", l), func(t *testing.T) { bounded(t, l) })
	}
}

func bounded(t *testing.T, l gate.Limits) {
	r := otp.Releases(t)
	_, a := withGate(t, r[len(r)-1], func(w *world) {
		w.cfg.Limits = l
		w.cfg.Rules = []gate.Rule{{Allow: true}}
	})
	c := a.again(t)
	control, err := protocol.AppendControl(nil, &dist.Control{Op: dist.OpRegSend, From: a.pid(1), ToName: "note"})
	require.NoError(t, err)
	piece := make([]byte, protocol.FragmentSize)
	closed := false
	for i := uint64(1); i < 1000 && !closed; i++ { // 64 MB
		f := protocol.Cut(i, len(control), join(piece, piece), len(piece))
		head, part := f.AppendFirst(nil, nil, nil, control)
		_, err := c.Write(join(head, part))
		closed = err != nil
	}
	if !closed {
		_, closed = c.answers(a, nil)
		closed = !closed
	}
	require.True(t, closed)
	require.NoError(t, c.Close())
	require.NoError(t, a.again(t).Close())
}
