package nodes

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// sysCall asks a process as module sys does.
func sysCall(t *testing.T, b *Mailbox, to ei.Pid, request any) string {
	t.Helper()
	ref := of(b.n.NewRef()).must(t)
	ctx := (&run{}).within(soon(t)) // does not wait for room
	require.NoError(t, b.Send(ctx, to, ei.T("system", ei.Tuple{b.Pid(), ref}, request)))
	answer := term(t, b).(ei.Tuple)
	require.Equal(t, ref, answer[0])
	return answer[1].String()
}

func debugging(kind ei.Atom, what any) any { return ei.T("debug", ei.T(kind, what)) }

func TestSysMessages(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		var total atomic.Int64
		total.Store(5)
		s := serve(t, there, "adder", Server{
			On: map[string]Func{"add": FuncOf(func(n int64) int64 { return total.Add(n) })},
			State: func() any {
				if total.Load() == 13 {
					return make(chan int)
				}
				return map[string]int64{"total": total.Load()}
			},
		})
		b := box(t, here)
		is := func(want string, request any) {
			t.Helper()
			require.Equal(t, want, sysCall(t, b, s.Pid(), request))
		}
		status := func(running, debug, events string) string {
			return fmt.Sprintf(`{status,%v,{module,gen_server},[[],%s,%v,%s,[{header,%s},`+
				`{data,[{%s,%s},{%s,%v},{%s,%s}]},{data,[{%s,#{<<"total">> => %d}}]}]]}`,
				s.Pid(), running, s.Pid(), debug, strconv.Quote("Status for generic server adder"), strconv.Quote("Status"), running,
				strconv.Quote("Parent"), s.Pid(), strconv.Quote("Logged events"), events, strconv.Quote("State"), total.Load())
		}
		is(`{ok,#{<<"total">> => 5}}`, ei.Atom("get_state"))
		is(status("running", "[]", "[]"), ei.Atom("get_status"))
		is("{error,{unknown_system_msg,what}}", ei.Atom("what"))
		is("{error,{unknown_system_msg,{terminate}}}", ei.T("terminate"))
		is("{error,{unknown_system_msg,undecodable}}", ei.Raw("t\x00\x00\x00\x02a\x01a\x01a\x01a\x01")) // a key twice
		is("{error,{unknown_system_msg,{change_code,m,1,x}}}", ei.T("change_code", ei.Atom("m"), 1, ei.Atom("x")))
		is("{error,{unknown_system_msg,{replace_state,f}}}", ei.T("replace_state", ei.Atom("f")))

		for _, tt := range []struct {
			want    string
			request any
		}{
			{"{ok,no_statistics}", debugging("statistics", ei.Atom("get"))},
			{"{ok,[]}", debugging("log", ei.Atom("get"))},
			{"ok", debugging("statistics", ei.Atom("true"))},
			{"ok", debugging("statistics", ei.Atom("true"))},
			{"ok", debugging("trace", ei.Atom("true"))},
			{"ok", debugging("log", ei.T("true", 3))},
			{"unknown_debug", debugging("log", ei.T("true", 0))},
			{"unknown_debug", debugging("log", ei.Atom("what"))},
			{"unknown_debug", debugging("trace", ei.Atom("what"))},
			{"unknown_debug", debugging("statistics", ei.Atom("what"))},
			{"unknown_debug", debugging("install", ei.Atom("f"))},
			{"unknown_debug", ei.T("debug", ei.Atom("what"))},
			{"ok", debugging("remove", ei.Atom("f"))},
			{"ok", debugging("log", ei.Atom("print"))},
			{"ok", debugging("log_to_file", ei.Atom("false"))},
			{"{error,open_file}", debugging("log_to_file", "/tmp/x")},
		} {
			is(tt.want, tt.request)
		}
		for range 2 {
			of(b.Call(w.ctx(), s.Pid(), ei.T("add", 1))).must(t)
		}
		require.NoError(t, b.Send(w.ctx(), s.Pid(), ei.Atom("hello")))
		stats := sysCall(t, b, s.Pid(), debugging("statistics", ei.Atom("get")))
		require.Contains(t, stats, "{messages_in,3},{messages_out,2}")
		events := sysCall(t, b, s.Pid(), debugging("log", ei.Atom("get")))
		require.Regexp(t, `^\{ok,\[\{in,\{'\$gen_call',.*,\{add,1\}\}\},\{out,7,.*\},\{in,hello\}\]\}$`, events)
		shown := sysCall(t, b, s.Pid(), ei.Atom("get_status"))
		require.Contains(t, shown, "{trace,true}")
		require.Contains(t, shown, "{log,3}")
		is("ok", ei.T("debug", ei.Atom("no_debug")))
		is(status("running", "[]", "[]"), ei.Atom("get_status"))

		// suspended
		is("ok", ei.Atom("suspend"))
		is("ok", ei.Atom("suspend"))
		called := async(func() (ei.Term, error) { return here.Call(w.ctx(), s.Pid(), ei.T("add", 6)) })
		require.NoError(t, b.Cast(w.ctx(), s.Pid(), ei.T("add", 100)))
		is(status("suspended", "[]", "[]"), ei.Atom("get_status"))
		is(`{ok,#{<<"total">> => 7}}`, ei.Atom("get_state"))
		is("ok", ei.Atom("resume"))
		answer := arrives(t, called, "the answer").must(t)
		require.Contains(t, []ei.Term{ei.Int(13), ei.Int(113)}, answer)
		is(`{ok,#{<<"total">> => 113}}`, ei.Atom("get_state"))

		of(b.Call(w.ctx(), s.Pid(), ei.T("add", -100))).must(t) // a state that is no term
		require.Contains(t, sysCall(t, b, s.Pid(), ei.Atom("get_state")), "{error,{callback_failed,{go,'State'},{error,{go_error,")
		is("ok", ei.Atom("suspend"))
		is("ok", ei.T("terminate", ei.Atom("enough")))
		require.Equal(t, ei.Atom("enough"), exited(t, s))
	})
}

// A suspended server takes what sys sends in the order in which it came, priority before the rest,
// and nothing is lost.
func TestSuspendKeepsMessages(t *testing.T) {
	n := newWorld(t, "memory").started("alice")
	var got []string
	s := serve(t, n, "srv", Server{
		Info:  func(_ context.Context, _ *Mailbox, m *Message) { v, _ := m.Term(); got = append(got, v.String()) },
		State: func() any { return len(got) },
	}, &MailboxOptions{Priority: true, Limit: 2000})
	alias := of(s.Alias(context.Background(), AliasPriority)).must(t)
	b := box(t, n)
	ctx := (&run{}).within(soon(t)) // does not wait for room
	ask := func(request ei.Atom) {
		require.NoError(t, b.Send(ctx, s.Pid(), ei.T("system", ei.Tuple{b.Pid(), ei.Atom("t")}, request)))
	}
	require.Equal(t, "ok", sysCall(t, b, s.Pid(), ei.Atom("suspend")))
	for i := range 100 {
		require.NoError(t, b.Send(ctx, s.Pid(), i))
	}
	require.NoError(t, b.SendPriority(ctx, alias, "urgent"))
	ask("get_state")
	require.NoError(t, b.Send(ctx, s.Pid(), 100))
	require.Equal(t, "{t,{ok,0}}", term(t, b).String())
	require.NoError(t, b.SendPriority(ctx, alias, ei.T("system", ei.Tuple{b.Pid(), ei.Atom("t")}, ei.Atom("get_state"))))
	require.Equal(t, "{t,{ok,0}}", term(t, b).String())
	require.NoError(t, b.Send(ctx, s.Pid(), 101))
	require.Equal(t, "{ok,0}", sysCall(t, b, s.Pid(), ei.Atom("get_state")))
	ask("resume")
	require.Equal(t, "{t,ok}", term(t, b).String())
	require.Equal(t, "{ok,103}", sysCall(t, b, s.Pid(), ei.Atom("get_state")))
	want := []string{`<<"urgent">>`}
	for i := range 102 {
		want = append(want, fmt.Sprint(i))
	}
	require.Equal(t, want, got)
	require.Zero(t, n.overflow.Held())

	require.Equal(t, "ok", sysCall(t, b, s.Pid(), ei.Atom("suspend")))
	require.NoError(t, b.Send(soon(t), s.Pid(), 1))
	require.NoError(t, n.Shutdown(soon(t)), "it does not wait for a suspended server")
}

// Terminate is called once, whatever the end, and before others hear of it if that can be.
func TestServerTerminate(t *testing.T) {
	n := newWorld(t, "memory").started("alice")
	parent := trapping(t, n)
	for name, tt := range map[string]struct {
		end    func(s *Mailbox)
		reason string
		after  bool // the end comes first
	}{
		"sys": {func(s *Mailbox) {
			require.Equal(t, "ok", sysCall(t, box(t, n), s.Pid(), ei.T("terminate", ei.Atom("stop"))))
		}, "stop", false},
		"panic":    {func(s *Mailbox) { require.NoError(t, parent.Send(soon(t), s.Pid(), ei.Atom("panic"))) }, `{go_panic,<<"a bug">>}`, false},
		"parent":   {func(s *Mailbox) { require.NoError(t, parent.SendExit(soon(t), s.Pid(), ei.Atom("shutdown"))) }, "shutdown", false},
		"stranger": {func(s *Mailbox) { require.NoError(t, box(t, n).SendExit(soon(t), s.Pid(), ei.Atom("kill"))) }, "killed", true},
		"Exit":     {func(s *Mailbox) { s.Exit(ei.Atom("x")) }, "x", true},
		"Close":    {func(s *Mailbox) { s.Close() }, "normal", true},
		"suspended": {func(s *Mailbox) {
			require.Equal(t, "ok", sysCall(t, box(t, n), s.Pid(), ei.Atom("suspend")))
			require.NoError(t, parent.Send(soon(t), s.Pid(), ei.Atom("panic")))
			require.NoError(t, parent.SendExit(soon(t), s.Pid(), ei.Atom("why")))
		}, "why", false},
	} {
		t.Run(name, func(t *testing.T) {
			type last struct {
				reason string
				err    error
				self   *Mailbox
				ctx    error
			}
			calls := make(chan last, 10)
			s := serve(t, n, "", Server{
				Info: func(_ context.Context, _ *Mailbox, m *Message) {
					if m.Op != dist.OpExit {
						panic("a bug")
					}
				},
				Terminate: func(ctx context.Context, reason ei.Term) {
					b := MailboxOf(ctx)
					calls <- last{reason.String(), b.Err(), b, ctx.Err()}
					panic("not again")
				},
			}, &MailboxOptions{TrapExit: true, Parent: parent.Pid()})
			tt.end(s)
			<-s.Done()
			l := arrives(t, calls, "the last call")
			require.Equal(t, tt.reason, l.reason)
			require.Same(t, s, l.self)
			require.Equal(t, tt.after, l.err != nil)
			require.Equal(t, tt.after, l.ctx != nil)
			require.Equal(t, tt.reason, exited(t, s).String())
			m := receive(t, parent)
			require.Equal(t, s.Pid(), m.From)
			reason := decode(t, m.Reason)
			require.Equal(t, tt.reason, reason.String(), "the parent hears of it")
			require.Empty(t, calls)
		})
	}
	// a parent that is gone
	s := serve(t, n, "orphan", Server{}, &MailboxOptions{TrapExit: true,
		Parent: ei.Pid{Node: "alice@test", ID: 1 << 20, Creation: n.Creation()}})
	require.Equal(t, ei.Atom("noproc"), exited(t, s))
	_, err := n.Serve("nowhere", Server{}, &MailboxOptions{Parent: ei.Pid{Node: "none@test", ID: 1, Creation: 1}})
	require.ErrorIs(t, err, ErrNoConnection)
	require.Nil(t, n.Whereis("nowhere"))
	// one that has not been ended by anybody
	ended := make(chan ei.Term, 1)
	serve(t, n, "last", Server{Terminate: func(_ context.Context, reason ei.Term) { ended <- reason }})
	require.NoError(t, n.Close())
	require.Equal(t, ei.Atom("shutdown"), arrives(t, ended, "the end"))
}

// With Recover a panic ends the request only.
func TestServerRecover(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		bug := func() int { panic("a bug") }
		s := serve(t, there, "srv", Server{
			On: map[string]Func{"bug": FuncOf(bug), "ok": FuncOf(func() int { return 1 })},
			Call: func(ctx context.Context, c *Call) (any, error) {
				if c.Request == ei.Atom("answered") {
					_ = c.Reply(ctx, 2)
				}
				panic("in Call")
			},
			Info:    func(context.Context, *Mailbox, *Message) { panic("in Info") },
			Recover: true,
		})
		b := box(t, here)
		ask := func(request any) string {
			v := of(b.Call(w.ctx(), s.Pid(), request)).must(t)
			return v.String()
		}
		require.NoError(t, b.Send(w.ctx(), s.Pid(), ei.Atom("bug")))
		require.NoError(t, b.Send(w.ctx(), s.Pid(), 7))
		require.Equal(t, `{error,{go_panic,<<"a bug">>}}`, ask(ei.Atom("bug")))
		require.Equal(t, `{error,{go_panic,<<"in Call">>}}`, ask(7))
		require.Equal(t, "2", ask(ei.Atom("answered")))
		require.Equal(t, "1", ask(ei.Atom("ok")))
		require.False(t, s.served.isAsked())
	})
}
