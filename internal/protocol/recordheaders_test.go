package protocol

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// headers is what a recorder has for a connection with distribution headers.
type headers struct {
	in, out *Reader // of what the node sends, and of what we do
	sent    SentAtoms
	last    *heard // what the node's last frame has completed
}

// heard is a message of the node's.
type heard struct {
	ctl     dist.Control
	payload ei.Raw // in its whole form
}

// describeHeaded is describe for frames with headers.
func (r *recorder) describeHeaded(p []byte, ours bool) string {
	reader := r.in
	if ours {
		reader = r.out
	}
	var ctl dist.Control
	a, err := reader.ReadFrame(p, &ctl)
	require.NoError(r.t, err, "%x", p)
	text := a.Kind.String()
	if a.Sequence != 0 {
		text += fmt.Sprintf(" of %d", a.Sequence)
	}
	if !a.Complete {
		return text
	}
	h := heard{ctl: ctl}
	h.payload, err = a.Whole(nil, 1<<30)
	require.NoError(r.t, err)
	if !ours {
		r.last = &h
	}
	if control, err := AppendControl(nil, &ctl); err == nil {
		text += ", " + ctl.Op.String() + " " + ei.Raw(control).String()
	}
	if h.payload != nil {
		text += " " + h.payload.String()
	}
	if runes := []rune(text); len(runes) > 300 {
		text = string(runes[:300]) + "…"
	}
	return strings.ReplaceAll(text, "\n", " ")
}

// A headedMessage is one that is to be sent in frames.
type headedMessage struct {
	control []byte
	payload ei.Raw
	cut     Fragments
	refs    *AtomRefs
}

// pack makes a message ready; cut into pieces of size.
func (r *recorder) pack(sequence uint64, ctl dist.Control, term any, size int) headedMessage {
	control, err := AppendControl(nil, &ctl)
	require.NoError(r.t, err)
	m := headedMessage{refs: new(AtomRefs)}
	m.control, err = m.refs.Pack(nil, control)
	require.NoError(r.t, err)
	if term != nil {
		payload, err := ei.Append(nil, term)
		require.NoError(r.t, err)
		m.payload, err = m.refs.Pack(nil, payload)
		require.NoError(r.t, err)
	}
	m.cut = Cut(sequence, len(m.control), m.payload, size)
	return m
}

// sendHeaded sends a message in one frame.
func (r *recorder) sendHeaded(ctl dist.Control, term any) {
	m := r.pack(1, ctl, term, 1)
	frame, err := r.sent.AppendFrameHead(nil, m.refs, len(m.control)+len(m.payload))
	require.NoError(r.t, err)
	require.NoError(r.t, r.WritePackets(append(append(frame, m.control...), m.payload...)[4:]))
}

// sendPieces sends messages in fragments that take turns.
func (r *recorder) sendPieces(messages ...headedMessage) {
	for i := range messages {
		m := &messages[i]
		frame, piece := m.cut.AppendFirst(nil, &r.sent, m.refs, m.control)
		require.NoError(r.t, r.WritePackets(append(frame, piece...)[4:]))
	}
	for more := true; more; {
		more = false
		for i := range messages {
			if m := &messages[i]; m.cut.Next > 0 {
				frame, piece := m.cut.AppendNext(nil)
				require.NoError(r.t, r.WritePackets(append(frame, piece...)[4:]))
				more = true
			}
		}
	}
}

// opsOfHeaders is what the node sends in playHeaders.
var opsOfHeaders = []dist.Op{
	dist.OpRegSend, dist.OpSendSender, dist.OpSendSender.Traced(), dist.OpLink, dist.OpPayloadExit, dist.OpPayloadExit2, dist.OpSpawnRequest,
	dist.OpMonitorP,
	dist.OpPayloadMonitorPExit, dist.OpAliasSend,
}

// opsOfHeadersAltact is that of OTP 28 and later, which has no ALIAS_SEND for such a peer.
var opsOfHeadersAltact = []dist.Op{dist.OpRegSend, dist.OpSendSender, dist.OpAltactSigSend}

// playHeaders makes the node send messages with atoms old and new, long and many, and large ones,
// and sends such messages, which the node sends back.
func playHeaders(t testing.TB, r *recorder) {
	self := ei.Atom(r.scenario.self.Name)
	came := make(chan heard, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := r.ReadPacket(); err != nil {
				return
			}
			if h := r.last; h != nil {
				r.last = nil
				came <- *h
				if h.payload.String() == "done" {
					return
				}
			}
		}
	}()
	do := func(expr string) {
		t.Helper()
		r.node.Do(t, strings.ReplaceAll(expr, "Go", "'"+string(self)+"'"))
	}
	await := func(op dist.Op) heard {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for {
			select {
			case h := <-came:
				if h.ctl.Op == op {
					return h
				}
			case <-ctx.Done():
				require.FailNow(t, "no frame", "%v", op)
			}
		}
	}
	pid := ei.Pid{Node: self, ID: 7, Serial: 1, Creation: r.scenario.self.Creation}
	alias := ei.Ref{Node: self, Creation: r.scenario.self.Creation, Len: 3, ID: [5]uint32{1, 2, 3}}

	do(`{peer, Go} ! hello`)
	main := await(dist.OpRegSend).ctl.From
	to := dist.Control{Op: dist.OpSendSender, From: pid, To: main}
	r.sendHeaded(to, ei.Tuple{ei.Atom("go"), pid, alias})
	do(`receive {go, P, A} -> put(pid, P), put(alias, A) end`)
	// Each with the same term in another encoding.
	do(`put(check, fun(T) -> get(pid) ! {check, T, term_to_binary(T)} end)`)
	do(`put(atoms, fun(From, To) -> [list_to_atom("atom_" ++ integer_to_list(N)) || N <- lists:seq(From, To)] end)`)
	if r.scenario.self.announced().Has(dist.FlagAltactSig) {
		do(`[erlang:send(get(alias), {check, {priority, some}, term_to_binary({priority, some})}, [priority]) || _ <- [1, 2]]`)
		do(`exit(get(alias), {reason, some}, [priority]), (get(check))(binary:copy(<<7>>, 70000))`)
		do(`seq_trace:set_token(label, 17), seq_trace:set_token(send, true), erlang:send(get(alias), traced, [priority]),
			erlang:send(get(alias), binary:copy(<<8>>, 70000), [priority]), seq_trace:set_token([])`)
		do(`{peer, Go} ! done`)
		<-done
		return
	}
	do(`(get(check))([ok, {error, ok}, #{ok => error}])`)
	do(`(get(check))([ok, {error, ok}, #{ok => error}])`)
	do(`(get(check))((get(atoms))(1, 300))`)
	do(`[(get(check))((get(atoms))(N, N + 239)) || N <- lists:seq(1, 2400, 240)]`)
	do(`(get(check))((get(atoms))(1, 100))`)
	do(`(get(check))([list_to_atom(lists:duplicate(N, C)) || {N, C} <- [{255, 16#20AC}, {127, $a}, {128, 16#e9}, {0, $a}]])`)
	do(`(get(check))([list_to_atom(lists:duplicate(255, 16#20AC))])`)
	do(`B = some_atom, (get(check))({self(), make_ref(), hd(erlang:ports()), fun lists:map/2, fun(X) -> {B, X, atom} end})`)
	do(`get(alias) ! {check, aliased, term_to_binary(aliased)}`)
	do(`(get(check))(binary:copy(<<7>>, 300000))`)
	do(`(get(check))({(get(atoms))(1, 30), binary:copy(<<8>>, 100000), [{K, other} || K <- (get(atoms))(1, 30)]})`)
	do(`{P, C} = {get(pid), get(check)},
		[receive {'DOWN', M, _, _, _} -> ok end || {_, M} <- [spawn_monitor(fun() ->
			put(pid, P), C({N, binary:copy(<<N>>, 200000), end_of_it}) end) || N <- lists:seq(1, 5)]]`)
	do(`link(get(pid)), unlink(get(pid)), exit(get(pid), {because, 'of this'})`)
	do(`P = get(pid), spawn(fun() -> link(P), exit({shutdown, binary:copy(<<9>>, 70000)}) end)`)
	do(`spawn_request(Go, 'Elixir.Module', go, [#{}], [link, {monitor, [{alias, reply_demonitor}]}, {reply_tag, {my, tag}}])`)
	do(`demonitor(monitor(process, {peer, Go}))`)
	do(`seq_trace:set_token(label, 17), seq_trace:set_token(send, true), (get(check))(traced),
		(get(check))(binary:copy(<<10>>, 70000)), seq_trace:set_token([])`)
	r.sendHeaded(dist.Control{Op: dist.OpMonitorP, From: pid, ToName: "nobody", Ref: alias}, nil)

	// And back.
	echo := `receive {echo, T} -> {peer, Go} ! {echoed, T} end`
	atoms := make(ei.List, 300)
	for i := range atoms {
		atoms[i] = ei.Atom(fmt.Sprintf("atom_%d", 200+i))
	}
	long := ei.Atom(strings.Repeat("€", 255))
	for _, term := range []ei.Term{
		ei.Atom("ours"), ei.Atom("ours"), atoms, atoms, ei.Tuple{long, ei.Atom("ours"), ei.Atom("")}, ei.List{long, pid, alias},
		ei.Export{Module: "some_module", Function: "ours", Arity: 3},
	} {
		r.sendHeaded(to, ei.Tuple{ei.Atom("echo"), term})
		do(echo)
	}
	for i := 3000; i < 3750; i += 250 {
		many := make(ei.List, 250)
		for j := range many {
			many[j] = ei.Tuple{ei.Atom(fmt.Sprintf("atom_%d", i+j)), ei.Int(j)}
		}
		r.sendHeaded(to, ei.Tuple{ei.Atom("echo"), many})
		do(echo)
	}
	binary := ei.Binary(make([]byte, 150_000))
	r.sendPieces(
		r.pack(1, to, ei.Tuple{ei.Atom("echo"), ei.Tuple{binary, ei.Atom("one")}}, FragmentSize),
		r.pack(1<<63, to, ei.Tuple{ei.Atom("echo"), ei.Tuple{atoms, binary, atoms}}, 10_000),
		r.pack(3, to, ei.Tuple{ei.Atom("echo"), ei.Tuple{long, ei.Atom("ours")}}, 1), // no payload in the first
	)
	do(echo)
	do(echo)
	do(echo)
	do(`{peer, Go} ! done`)
	<-done
}

// replayHeaders reads every recorded frame, both ways. Each {check, T, Binary} must have T in
// Binary, and what was to be sent back must have come back. It reads twice: the second time by a
// Reader that continues after each frame in a new one.
func replayHeaders(t *testing.T, lines []line, flags dist.Flags, ops []dist.Op) {
	seen := map[dist.Op]bool{}
	kinds := map[FrameKind]int{}
	var echoes, echoed []string
	readers := map[bool]*Reader{true: NewReader(flags, Limits{}, nil), false: NewReader(flags, Limits{}, ei.NewAtomTable(0))}
	moved := map[bool]*Reader{true: NewReader(flags, Limits{}, nil), false: NewReader(flags, Limits{}, nil)}
	checks := 0
	for i, l := range lines {
		var ctl, again dist.Control
		a, err := readers[l.ours].ReadFrame(l.bytes, &ctl)
		require.NoError(t, err, "frame %d", i)
		b, err := moved[l.ours].ReadFrame(l.bytes, &again)
		require.NoError(t, err, "frame %d", i)
		a.Memory, b.Memory = nil, nil // how much there is depends on how it has come
		require.Equal(t, a, b)
		next := NewReader(flags, Limits{}, nil)
		require.NoError(t, next.Restore(moved[l.ours].Cached(), moved[l.ours].Incomplete()))
		moved[l.ours] = next
		if a.Kind == KindTick {
			continue
		}
		kinds[a.Kind]++
		if !a.Complete {
			continue
		}
		require.Equal(t, ctl, again)
		if !l.ours {
			seen[ctl.Op] = true
		}
		if control, err := AppendControl(nil, &ctl); err == nil { // it has no references
			c := ei.NewCursor(control)
			require.NoError(t, c.Skip())
		}
		if len(a.Payload) == 0 {
			continue
		}
		with := ei.NewCursor(a.Payload)
		with.CacheRefs = a.Refs
		term, err := with.Term()
		require.NoError(t, err)
		require.Zero(t, with.Len())
		whole := wholeOf(t, &a)
		c := ei.NewCursor(whole)
		same, err := c.Term()
		require.NoError(t, err)
		require.Equal(t, term, same)
		tuple, _ := term.(ei.Tuple)
		switch {
		case len(tuple) == 3 && tuple[0] == ei.Atom("check"):
			want, err := ei.Decode(tuple[2].(ei.Binary))
			require.NoError(t, err)
			require.Equal(t, want, tuple[1])
			checks++
		case len(tuple) == 2 && tuple[0] == ei.Atom("echo"):
			echoes = append(echoes, hex.EncodeToString(c.Rest())+tuple[1].String())
		case len(tuple) == 2 && tuple[0] == ei.Atom("echoed"):
			echoed = append(echoed, tuple[1].String())
		}
	}
	require.ElementsMatch(t, echoes, echoed)
	require.Positive(t, kinds[KindHeader])
	require.Zero(t, kinds[KindPassThrough])
	if flags.Has(dist.FlagAltactSig) {
		require.Equal(t, 5, kinds[KindFirstFragment]+checks) // 3 checks, 2 in fragments
	} else {
		require.GreaterOrEqual(t, len(echoes), 13)
		require.GreaterOrEqual(t, checks, 25)
		require.GreaterOrEqual(t, kinds[KindFirstFragment], 10)
		require.GreaterOrEqual(t, kinds[KindNextFragment], 30)
	}
	for _, r := range readers {
		require.Zero(t, r.Held())
	}
	for _, op := range ops {
		require.True(t, seen[op], "no %v in the dialogue", op)
	}
}
