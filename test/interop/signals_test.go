package interop

import (
	"context"
	"fmt"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/stretchr/testify/require"
)

// patient is an Erlang process that ends with the reason that it is sent.
const patient = `spawn(fun() -> receive {stop, Why} -> exit(Why) end end)`

func term(t testing.TB, text string) ei.Term {
	t.Helper()
	v, err := ei.Parse(text)
	require.NoError(t, err)
	return v
}

// We monitor processes of Erlang.
func TestMonitorErlang(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		m := newMeeting(t, r)
		ctx := background(t)
		b := m.mailbox(t, "B", nil)

		var last ei.Pid
		for _, why := range []string{"normal", "{shutdown,[1,\"two\"]}", "killed", "#{a => <<1,2:3>>}"} {
			last = m.pid(t, patient)
			ref, err := b.Monitor(ctx, last)
			require.NoError(t, err)
			again, err := b.Monitor(ctx, last)
			require.NoError(t, err)
			require.NoError(t, b.Send(ctx, last, term(t, "{stop,"+why+"}")))
			first, err := b.Receive(ctx)
			require.NoError(t, err)
			require.Contains(t, []ei.Ref{ref, again}, first.Ref)
			require.Equal(t, last, first.From)
			require.Equal(t, why, first.Reason.String())
			other := ref
			if first.Ref == ref {
				other = again
			}
			require.Equal(t, why, down(t, b, other))
		}
		ref, err := b.Monitor(ctx, last)
		require.NoError(t, err)
		require.Equal(t, "noproc", down(t, b, ref))
		ref, err = b.MonitorName(ctx, m.erl.Name(), "nobody")
		require.NoError(t, err)
		require.Equal(t, "noproc", down(t, b, ref))

		m.erl.Do(t, "register(somebody, "+patient+")")
		ref, err = b.MonitorName(ctx, m.erl.Name(), "somebody")
		require.NoError(t, err)
		require.NoError(t, b.SendName(ctx, m.erl.Name(), "somebody", term(t, "{stop,done}")))
		require.Equal(t, "done", down(t, b, ref))

		// A monitor that was taken back reports nothing: a message that is sent after that arrives
		// first.
		pid := m.pid(t, patient)
		ref, err = b.Monitor(ctx, pid)
		require.NoError(t, err)
		b.Demonitor(context.Background(), ref)
		require.NoError(t, b.Send(ctx, pid, term(t, "{stop,unheard}")))
		m.erl.Do(t, m.about("B ! after_it"))
		require.Equal(t, "after_it", receive(t, b))

		// With its node every monitored process goes.
		pid = m.pid(t, patient)
		ref, err = b.Monitor(ctx, pid)
		require.NoError(t, err)
		byName, err := b.MonitorName(ctx, m.erl.Name(), "init")
		require.NoError(t, err)
		m.erl.Kill()
		refs := map[ei.Ref]bool{}
		for range 2 {
			d, err := b.Receive(ctx)
			require.NoError(t, err)
			require.Equal(t, "noconnection", d.Reason.String())
			refs[d.Ref] = true
		}
		require.Equal(t, map[ei.Ref]bool{ref: true, byName: true}, refs)
	})
}

// Erlang processes monitor ours.
func TestMonitoredByErlang(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		m := newMeeting(t, r)
		for i, why := range []string{"normal", "kill", "{shutdown,[1,\"two\"]}", "#{a => <<1,2:3>>}"} {
			v := fmt.Sprintf("B%d", i)
			b := m.mailbox(t, v, nil)
			require.NoError(t, m.n.Register(t.Context(), "box", b))
			m.is(t, [][2]string{{`monitor(process, ` + v + `), monitor(process, {box, N}), demonitor(monitor(process, ` + v +
				`)), net_adm:ping(N)`, `pong`}})
			b.Exit(term(t, why))
			m.is(t, [][2]string{
				{`[receive {'DOWN', _, process, ` + v + `, W} -> W end, receive {'DOWN', _, process, {box, N}, X} -> X end]`, "[" + why + "," +
					why + "]"},
				{`R = monitor(process, ` + v + `), receive {'DOWN', R, process, ` + v + `, W} -> W end`, `noproc`},
				{`R = monitor(process, {box, N}), receive {'DOWN', R, process, {box, N}, W} -> W end`, `noproc`},
				{`receive X -> X after 0 -> nothing end`, `nothing`},
			})
		}
		m.mailbox(t, "Last", nil)
		m.is(t, [][2]string{{`monitor(process, Last), monitor(process, {rex, N}), net_adm:ping(N)`, `pong`}})
		require.NoError(t, m.n.Shutdown(background(t)))
		m.is(t, [][2]string{
			{`[receive {'DOWN', _, process, Last, W} -> W end, receive {'DOWN', _, process, {rex, N}, X} -> X end]`, `[shutdown,shutdown]`},
		})
	})
}

// Links that we make, and links that Erlang makes, end both ways.
func TestLinks(t *testing.T) {
	// The side that links.
	ours := func(t *testing.T, _ *meeting, b *nodes.Mailbox, pid ei.Pid) {
		require.NoError(t, b.Link(background(t), pid))
	}
	theirs := func(t *testing.T, m *meeting, b *nodes.Mailbox, pid ei.Pid) {
		require.NoError(t, b.Send(background(t), pid, term(t, "link")))
		require.Equal(t, "linked", receive(t, b))
	}
	both := func(t *testing.T, m *meeting, b *nodes.Mailbox, pid ei.Pid) {
		ours(t, m, b, pid)
		theirs(t, m, b, pid)
	}
	const partner = `(fun(Trap) -> spawn(fun() -> process_flag(trap_exit, Trap), (fun F() -> receive
			link -> link(B), B ! linked, F();
			unlink -> unlink(B), B ! unlinked, F();
			{stop, Why} -> exit(Why);
			{'EXIT', From, Why} -> persistent_term:get(shell) ! {partner, From, Why}, F()
		end end)() end) end)`
	otp.Together(t, func(t *testing.T, r otp.Release) {
		m := newMeeting(t, r)
		m.erl.Do(t, "persistent_term:put(shell, self())")
		for _, who := range []struct {
			name string
			link func(*testing.T, *meeting, *nodes.Mailbox, ei.Pid)
		}{{"ours", ours}, {"theirs", theirs}, {"both", both}} {
			t.Run(who.name, func(t *testing.T) {
				ctx := background(t)

				// Theirs ends: our process ends with it.
				b := m.mailbox(t, "B", nil)
				pid := m.pid(t, partner+"(false)")
				who.link(t, m, b, pid)
				require.NoError(t, b.Send(ctx, pid, term(t, "{stop,{because,[1]}}")))
				require.Equal(t, "{because,[1]}", ended(t, b))

				// The same with trap_exit, where a normal end is a message too.
				b = m.mailbox(t, "B", &nodes.MailboxOptions{TrapExit: true})
				for _, why := range []string{"normal", "{because,<<\"x\">>}", "kill"} {
					pid = m.pid(t, partner+"(false)")
					who.link(t, m, b, pid)
					require.NoError(t, b.Send(ctx, pid, term(t, "{stop,"+why+"}")))
					require.Equal(t, why, exit(t, b, pid))
				}

				// A normal end ends nobody else.
				b = m.mailbox(t, "B", nil)
				pid = m.pid(t, partner+"(false)")
				who.link(t, m, b, pid)
				require.NoError(t, b.Send(ctx, pid, term(t, "{stop,normal}")))
				m.eval(t, "B ! still")
				require.Equal(t, "still", receive(t, b))

				// Ours ends: theirs gets the exit signal, or ends with it.
				for _, why := range []string{"normal", "{because,<<\"x\">>}", "kill"} {
					b = m.mailbox(t, "B", nil)
					pid = m.pid(t, partner+"(true)")
					who.link(t, m, b, pid)
					b.Exit(term(t, why))
					m.is(t, [][2]string{{`receive {partner, B, Why} -> Why end`, why}})
				}
				b = m.mailbox(t, "B", nil)
				pid = m.pid(t, partner+"(false)")
				m.tell(t, "P", pid)
				who.link(t, m, b, pid)
				m.eval(t, `monitor(process, P)`)
				b.Exit(term(t, "over"))
				m.is(t, [][2]string{{`receive {'DOWN', _, process, P, Why} -> Why end`, `over`}})

				// A link that either side has taken back has no effect.
				for _, unlink := range []func(b *nodes.Mailbox, pid ei.Pid){
					func(b *nodes.Mailbox, pid ei.Pid) { require.NoError(t, b.Unlink(ctx, pid)) },
					func(b *nodes.Mailbox, pid ei.Pid) {
						require.NoError(t, b.Send(ctx, pid, term(t, "unlink")))
						require.Equal(t, "unlinked", receive(t, b))
					},
				} {
					b = m.mailbox(t, "B", &nodes.MailboxOptions{TrapExit: true})
					pid = m.pid(t, partner+"(true)")
					who.link(t, m, b, pid)
					unlink(b, pid)
					require.NoError(t, b.Send(ctx, pid, term(t, "{stop,unheard}")))
					m.eval(t, "B ! still")
					require.Equal(t, "still", receive(t, b))
					pid = m.pid(t, partner+"(true)")
					who.link(t, m, b, pid)
					unlink(b, pid)
					who.link(t, m, b, pid)
					unlink(b, pid)
					b.Exit(term(t, "unheard"))
					m.is(t, [][2]string{{`R = monitor(process, B), receive {'DOWN', R, process, B, noproc} -> ok end,
						receive X -> X after 0 -> nothing end`, `nothing`}})
				}
			})
		}
		// With the node every link breaks.
		b := m.mailbox(t, "B", &nodes.MailboxOptions{TrapExit: true})
		pid := m.pid(t, partner+"(true)")
		ours(t, m, b, pid)
		m.erl.Kill()
		require.Equal(t, "noconnection", exit(t, b, pid))
	})
}

// Links come and go on both sides at once, and at the end both sides agree about which are left.
func TestLinkRaces(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		m := newMeeting(t, r)
		ctx := background(t)
		b := m.mailbox(t, "B", &nodes.MailboxOptions{TrapExit: true})
		m.erl.Do(t, m.about(`persistent_term:put(racer, spawn(fun() ->
			process_flag(trap_exit, true), link(B), unlink(B),
			(fun F() -> receive go -> [begin link(B), unlink(B) end || _ <- lists:seq(1, 500)], link(B), B ! linked, F();
				{stop, Why} -> exit(Why) end end)() end))`))
		pid := m.pid(t, "persistent_term:get(racer)")
		for range 5 {
			require.NoError(t, b.Send(ctx, pid, term(t, "go")))
			for range 500 {
				require.NoError(t, b.Link(ctx, pid))
				require.NoError(t, b.Unlink(ctx, pid))
			}
			require.Equal(t, "linked", receive(t, b))
		}
		require.NoError(t, b.Link(ctx, pid))
		require.NoError(t, b.Send(ctx, pid, term(t, "{stop,over}")))
		require.Equal(t, "over", exit(t, b, pid))
		m.eval(t, "B ! nothing_else")
		require.Equal(t, "nothing_else", receive(t, b))
	})
}

// Exit signals that are sent with exit/2, without a link.
func TestExitSignals(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		m := newMeeting(t, r)
		ctx := background(t)
		plain := m.mailbox(t, "Plain", nil)
		m.is(t, [][2]string{{`exit(Plain, normal), Plain ! still, true`, `true`}})
		require.Equal(t, "still", receive(t, plain))
		m.is(t, [][2]string{{`exit(Plain, {go, "away"})`, `true`}})
		require.Equal(t, `{go,"away"}`, ended(t, plain))

		trapping := m.mailbox(t, "Trapping", &nodes.MailboxOptions{TrapExit: true})
		m.is(t, [][2]string{{`[exit(Trapping, X) || X <- [normal, {go, "away"}, killed]]`, `[true,true,true]`}})
		shell := m.pid(t, "self()")
		for _, why := range []string{"normal", `{go,"away"}`, "killed"} {
			require.Equal(t, why, exit(t, trapping, shell))
		}
		m.is(t, [][2]string{{`monitor(process, Trapping), exit(Trapping, kill)`, `true`}})
		require.Equal(t, "killed", ended(t, trapping))
		m.is(t, [][2]string{{`receive {'DOWN', _, process, Trapping, Why} -> Why end`, `killed`}})

		b := m.mailbox(t, "B", nil)
		for _, tt := range [][2]string{{`{go,"away"}`, `{go,"away"}`}, {"kill", "killed"}} {
			pid := m.pid(t, patient)
			m.tell(t, "P", pid)
			m.eval(t, `monitor(process, P)`)
			require.NoError(t, b.SendExit(ctx, pid, term(t, "normal")))
			require.NoError(t, b.SendExit(ctx, pid, term(t, tt[0])))
			m.is(t, [][2]string{{`receive {'DOWN', _, process, P, Why} -> Why end`, tt[1]}})
		}
		pid := m.pid(t, `S = self(), spawn(fun() -> process_flag(trap_exit, true), receive X -> S ! X end end)`)
		require.NoError(t, b.SendExit(ctx, pid, term(t, "please")))
		m.is(t, [][2]string{{`receive {'EXIT', B, Why} -> Why end`, `please`}})
	})
}

// nodedown of an Erlang node, in each way in which it may go.
func TestMonitorNode(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		n := startNode(t, config(port))
		for name, end := range map[string]func(erl *otp.Node){
			"stop":       func(erl *otp.Node) { erl.Stop(t) },
			"kill":       func(erl *otp.Node) { erl.Kill() },
			"disconnect": func(erl *otp.Node) { require.Equal(t, "true", erl.Eval(t, "disconnect_node('"+n.Name()+"')")) },
		} {
			t.Run(name, func(t *testing.T) {
				m := &meeting{erl: start(t, r, otp.Options{EpmdPort: port}), n: n}
				b := m.mailbox(t, "B", nil)
				require.NoError(t, b.MonitorNode(background(t), m.erl.Name()))
				require.NoError(t, b.MonitorNode(background(t), m.erl.Name()))
				c := n.Conn(m.erl.Name())
				end(m.erl)
				for range 2 {
					require.Equal(t, "{nodedown,'"+m.erl.Name()+"'}", receive(t, b))
				}
				await(t, c.Done())
				require.Error(t, c.Err())
			})
		}
		b, err := n.NewMailbox(nil)
		require.NoError(t, err)
		require.ErrorIs(t, b.MonitorNode(background(t), "nobody@127.0.0.1"), nodes.ErrNoConnection)
	})
}

// MonitorNodes reports the same about Erlang nodes, hidden and visible ones, as
// net_kernel:monitor_nodes/2 on another Erlang node.
func TestMonitorNodes(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		for _, visible := range []bool{false, true} {
			port := r.Epmd(t)
			var hidden []string
			if !visible {
				hidden = []string{"-hidden"}
			}
			judge := start(t, r, otp.Options{EpmdPort: port, ExtraArgs: hidden})
			cfg := config(port)
			cfg.Visible = visible
			n := startNode(t, cfg)
			b, err := n.NewMailbox(nil)
			require.NoError(t, err)
			_, err = b.MonitorNodes(context.Background(), nodes.AllNodes)
			require.NoError(t, err)
			require.Equal(t, "ok", judge.Eval(t, "net_kernel:monitor_nodes(true, [{node_type, all}])"))
			for _, args := range [][]string{nil, {"-hidden"}} {
				erl := start(t, r, otp.Options{EpmdPort: port, ExtraArgs: args})
				for _, what := range []string{"nodeup", "nodedown"} {
					if what == "nodeup" {
						for _, to := range []string{n.Name(), judge.Name()} {
							require.Equal(t, "pong", erl.Eval(t, "net_adm:ping('"+to+"')"))
						}
					} else {
						erl.Kill()
					}
					want := judge.Eval(t, "receive {"+what+", N, I} when N =:= '"+erl.Name()+"' -> {"+what+", N, I} after 20000 -> none end")
					require.Equal(t, want, receive(t, b))
				}
			}
		}
	})
}
