package interop

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// tellAlias makes an alias of a mailbox, which the Erlang node knows under the name of a variable.
func (m *meeting) tellAlias(t testing.TB, variable string, b *nodes.Mailbox, o ...nodes.AliasOption) ei.Ref {
	t.Helper()
	ref, err := b.Alias(context.Background(), o...)
	require.NoError(t, err)
	m.tell(t, variable, ref)
	return ref
}

// Erlang sends to aliases of our mailboxes, also to one that is a monitor.
func aliasOfOurs(t *testing.T, m *meeting) {
	b := m.mailbox(t, "B", nil)
	until := m.tellAlias(t, "Until", b)
	m.tellAlias(t, "Once", b, nodes.AliasReply)
	// OTP 28 and later send the new control message, others the old one
	flags := m.n.Conn(m.erl.Name()).Peer().Flags
	require.Equal(t, m.erl.Release().Number >= 28, flags.Has(dist.FlagAltactSig))
	require.True(t, flags.Has(dist.FlagAlias))

	m.erl.Do(t, m.about(`Until ! u1, Once ! o1, Once ! o2, erlang:send(Until, u2, [noconnect]), B ! last`))
	for _, want := range []string{"u1", "o1", "u2", "last"} {
		require.Equal(t, want, receive(t, b))
	}
	require.True(t, b.Unalias(until))
	m.erl.Do(t, m.about(`Until ! u3, B ! last`))
	require.Equal(t, "last", receive(t, b))
	require.Equal(t, int64(2), m.n.Stats().Undeliverable)

	watched := m.pid(t, patient)
	ref, err := b.Monitor(background(t), watched, nodes.AliasReply)
	require.NoError(t, err)
	m.tell(t, "Ref", ref)
	m.erl.Do(t, m.about(`Ref ! r1, Ref ! r2, B ! last`))
	require.Equal(t, "r1", receive(t, b))
	require.Equal(t, "last", receive(t, b))
	require.Eventually(t, func() bool {
		return m.eval(t, `element(2, process_info(persistent_term:get(pid), monitored_by))`) == "[]"
	}, otp.HandshakeTime, time.Millisecond)
	require.NoError(t, b.Send(background(t), watched, term(t, "{stop,unheard}")))
	m.erl.Do(t, m.about(`M = monitor(process, persistent_term:get(pid)), receive {'DOWN', M, _, _, _} -> B ! last end`))
	require.Equal(t, "last", receive(t, b))
}

// A server of Erlang replies after our call has been given up: the reply goes nowhere.
func lateReply(t *testing.T, m *meeting) {
	b := m.mailbox(t, "B", nil)
	m.erl.Do(t, `register(late, spawn(fun() -> receive {'$gen_call', From, wait} -> persistent_term:put(waits, true),
		receive go -> gen:reply(From, too_late) end end,
		(fun F() -> receive {'$gen_call', {_, Tag} = From2, _} -> gen:reply(From2, Tag), F() end end)() end))`)
	ctx, cancel := context.WithCancel(background(t))
	defer cancel()
	gaveUp := make(chan error, 1)
	go func() {
		_, err := b.CallName(ctx, m.erl.Name(), "late", ei.Atom("wait"))
		gaveUp <- err
	}()
	m.erl.Becomes(t, `persistent_term:get(waits, false)`, "true")
	cancel()
	require.ErrorIs(t, await(t, gaveUp), context.Canceled)
	m.erl.Do(t, `late ! go`)
	tag, err := m.n.CallName(background(t), m.erl.Name(), "late", ei.Atom("tag"))
	require.NoError(t, err)
	require.Contains(t, tag.String(), "[alias|#Ref<")
	require.NoError(t, b.Send(background(t), b.Pid(), ei.Atom("last")))
	require.Equal(t, "last", receive(t, b))
	require.Equal(t, int64(1), m.n.Stats().Undeliverable)
}

// Messages with priority, from OTP 28 and later to us and back, overtake those that wait; older
// releases send and take them as ordinary ones.
func priority(t *testing.T, m *meeting) {
	ctx := background(t)
	b := m.mailbox(t, "B", &nodes.MailboxOptions{Priority: true, TrapExit: true})
	m.tellAlias(t, "First", b, nodes.AliasPriority)
	m.tellAlias(t, "Plain", b)
	all := m.mailbox(t, "All", nil)
	const count = 1000
	ordinary := make([]string, count)
	for i := range ordinary {
		ordinary[i] = fmt.Sprint(i + 1)
	}
	fill, want := fmt.Sprintf(`[B ! I || I <- lists:seq(1, %d)], `, count), ordinary
	if m.erl.Release().Number >= 28 {
		fill += `erlang:send(First, p1, [priority]), erlang:send(Plain, plain, [priority]), First ! neither,
			exit(First, why, [priority]), erlang:send(First, p2, [priority]), `
		want = slices.Concat([]string{"p1", "why", "p2"}, ordinary, []string{"plain", "neither"})
	}
	m.erl.Do(t, m.about(fill+`First ! last, All ! there`))
	require.Equal(t, "there", receive(t, all))
	for _, want := range append(want, "last") {
		got, err := b.Receive(ctx)
		require.NoError(t, err)
		if got.Op == dist.OpExit {
			require.Equal(t, want, got.Reason.String())
			continue
		}
		term, err := got.Term()
		require.NoError(t, err)
		require.Equal(t, want, term.String())
	}

	// The other way.
	options := "[]"
	if m.erl.Release().Number >= 28 {
		options = "[priority]"
	}
	m.erl.Do(t, m.about(`spawn(fun() -> B ! alias(`+options+`), receive go -> ok end,
		B ! (fun F() -> receive X -> [X | F()] after 0 -> [] end end)() end)`))
	got, err := b.Receive(ctx)
	require.NoError(t, err)
	to, err := got.Term()
	require.NoError(t, err)
	alias, binary := to.(ei.Ref), ei.Binary(make([]byte, 64<<10))
	for i := range count {
		require.NoError(t, b.SendAlias(ctx, alias, i+1))
	}
	require.NoError(t, b.SendPriority(ctx, alias, ei.Atom("p1")))
	require.NoError(t, b.SendPriority(ctx, alias, binary)) // too large for priority
	require.NoError(t, b.SendPriority(ctx, alias, ei.Atom("p2")))
	require.NoError(t, b.SendAlias(ctx, alias, ei.Atom("go")))
	got, err = b.Receive(ctx)
	require.NoError(t, err)
	list, err := got.Term()
	require.NoError(t, err)
	large := binary.String()
	want = slices.Concat(ordinary, []string{"p1", large, "p2"})
	if m.erl.Release().Number >= 28 {
		want = slices.Concat([]string{"p1", "p2"}, ordinary, []string{large})
	}
	var texts []string
	for _, v := range list.(ei.List) {
		texts = append(texts, v.String())
	}
	require.Equal(t, want, texts)
}
