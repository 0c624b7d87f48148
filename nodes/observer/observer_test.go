package observer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/observer"
)

// A scene is a node with an observer, shop@host, and one that looks at it, ops@host.
type scene struct {
	t         testing.TB
	ctx       context.Context
	shop, ops *nodes.Node
	box       *nodes.Mailbox // of ops
	start     func(name string, rules []nodes.Rule, setup func(n *nodes.Node) error) *nodes.Node
}

// newScene gives shop@host the rules.
func newScene(t testing.TB, o *observer.Options, rules ...nodes.Rule) *scene {
	s := &scene{t: t, ctx: expect.Context(t)}
	w := cluster.New(t)
	s.start = func(name string, rules []nodes.Rule, setup func(n *nodes.Node) error) *nodes.Node {
		cfg := w.Config(name)
		cfg.Rules, cfg.Setup, cfg.ProfileLabels = rules, setup, true
		return w.Start(cfg)
	}
	s.shop = s.start("shop@host", rules, func(n *nodes.Node) error { return observer.Serve(n, o) })
	s.ops = s.start("ops@host", nil, func(n *nodes.Node) error {
		n.Expose("erlang", "system_info", nodes.FuncOf(func(ei.Atom) ei.String { return "29" }))
		return nil
	})
	s.box = s.mailbox(s.ops)
	return s
}

func (s *scene) mailbox(n *nodes.Node) *nodes.Mailbox {
	s.t.Helper()
	b := cluster.Mailbox(s.t, n, &nodes.MailboxOptions{TrapExit: true})
	return b
}

// call is erpc:call(shop, Module, Function, Args), as text; the exception, if there is one.
func (s *scene) call(function string, args ...any) string {
	s.t.Helper()
	module, name, _ := strings.Cut(function, ":")
	v, err := s.ops.ERPC(s.ctx, "shop@host", module, name, args...)
	if raise := new(nodes.Raise); errors.As(err, &raise) {
		return raise.Reason.String()
	}
	require.NoError(s.t, err, function)
	return v.String()
}

func (s *scene) message() ei.Term {
	s.t.Helper()
	v := cluster.Receive(s.t, s.box)
	return v
}

func (s *scene) spawn(function string, args ...any) ei.Pid {
	s.t.Helper()
	module, name, _ := strings.Cut(function, ":")
	pid, err := s.box.SpawnLink(s.ctx, "shop@host", module, name, args...)
	require.NoError(s.t, err)
	return pid
}

// What is refused by Options, and not by rules, says so; what was meant has its own arity.
func TestWhyRefused(t *testing.T) {
	s := newScene(t, nil)
	for function, want := range map[string]string{
		"init:stop": "since observer.Options.Stop is not set", "erlang:halt": "since observer.Options.Stop is not set",
		"os:getpid": "since observer.Options.Stop is not set", "Elixir.System:pid": "since observer.Options.Stop is not set",
		"init:restart": "a node of Go is not started anew", "erlang:wheris": "did you mean erlang:whereis/1?",
	} {
		module, name, _ := strings.Cut(function, ":")
		_, err := s.ops.ERPC(s.ctx, "shop@host", module, name)
		raise := new(nodes.Raise)
		require.ErrorAs(t, err, &raise, function)
		require.Contains(t, ei.Brief(raise.Stack, 1000), fmt.Sprintf("[{file,%q}", want), function)
	}
}

func a(name string) ei.Atom { return ei.Atom(name) }

// What a BEAM has and Go has not is answered as one answers that has none of it.
func TestNothingCrashes(t *testing.T) {
	s := newScene(t, nil)
	gone := cluster.Mailbox(t, s.shop, nil)
	gone.Close()
	for _, tt := range []struct {
		want, function string
		args           []any
	}{
		{"badarg", "erlang:memory", []any{a("what")}},
		{"badarg", "erlang:memory", []any{[]any{a("total"), a("what")}}},
		{"badarg", "erlang:statistics", []any{a("what")}},
		{"badarg", "erlang:system_info", []any{a("what")}},
		{"badarg", "erlang:system_info", []any{ei.Tuple{a("allocator_sizes"), a("what")}}},
		{"badarg", "erlang:system_info", []any{ei.Tuple{a("allocator_sizes"), ei.List{a("heap"), a("what")}}}},
		{"badarg", "application_master:get_child", []any{gone.Pid()}},
		{"badarg", "erlang:nodes", []any{a("what")}},
		{"badarg", "erlang:nodes", []any{[]any{a("this"), a("what")}}},
		{"badarg", "erlang:nodes", []any{a("this"), map[ei.Atom]bool{"what": true}}},
		{"[]", "erlang:nodes", []any{[]any{}}},
		{"badarg", "c:memory", []any{a("what")}},
		{"badarg", "erlang:system_flag", []any{a("what"), true}},
		{"badarg", "erlang:process_info", []any{gone.Pid(), a("what")}},
		{"badarg", "erlang:process_info", []any{s.box.Pid(), a("links")}},
		{"undef", "erlang:process_info", nil},
		{"undef", "erlang:what", nil},
		{"undef", "recon:proc_count", []any{a("memory"), 3}},
		{"undefined", "erlang:process_info", []any{gone.Pid()}},
		{"undefined", "erlang:process_info", []any{gone.Pid(), a("links")}},
		{"undefined", "erlang:whereis", []any{a("nobody")}},
		{"undefined", "proc_lib:get_label", []any{gone.Pid()}},
		{"undefined", "proc_lib:translate_initial_call", []any{gone.Pid()}},
		{"false", "erlang:is_process_alive", []any{gone.Pid()}},
		{"nil", "Elixir.Process:info", []any{gone.Pid()}},
		{"nil", "Elixir.Process:whereis", []any{a("nobody")}},
		{"undefined", "ets:info", []any{a("t")}},
		{"[]", "ets:all", nil},
		{"[]", "erlang:ports", nil},
		{"[]", "observer_backend:get_port_list", nil},
		{"[]", "observer_backend:get_table_list", []any{a("ets"), []any{}}},
		{"{error,nofile}", "code:ensure_loaded", []any{a("rb")}},
		{"{error,badfile}", "code:load_binary", []any{a("recon"), "recon.erl", []byte("FOR1")}},
		{"false", "code:is_loaded", []any{a("recon")}},
		{"false", "erlang:function_exported", []any{a("rb"), a("log_list"), 0}},
		{"true", "erlang:function_exported", []any{a("observer_backend"), a("procs_info"), 1}},
		{"false", "erlang:function_exported", []any{a("observer_backend"), a("procs_info"), 2}},
		{"undefined", "application:get_env", []any{a("kernel"), a("x")}},
		{"7", "application:get_env", []any{a("kernel"), a("x"), 7}},
		{"{noproc,{sys,get_status,[nobody,200]}}", "sys:get_status", []any{a("nobody"), 200}},
		{"error", "Elixir.Phoenix.LiveDashboard.SystemInfo:process_info_callback", []any{gone.Pid()}},
		{"error", "Elixir.Phoenix.LiveDashboard.SystemInfo:app_tree_callback", []any{a("what")}},
		{"badarg", "Elixir.Phoenix.LiveDashboard.SystemInfo:processes_callback", []any{a("nil"), a("what"), a("asc"), 1, map[string]int{}}},
		{"eacces", "init:stop", nil},
		{"eacces", "erlang:halt", nil},
		{"eacces", "init:restart", nil},
		{"eacces", "os:getpid", nil},
		{"false", "os:getenv", []any{[]int{'P', 'A', 'T', 'H'}}},
	} {
		require.Equal(t, tt.want, s.call(tt.function, tt.args...), "%s %v", tt.function, tt.args)
	}
	require.NoError(t, s.shop.Err())
}

// Each item of process_info is there for each kind of process.
func TestProcessInfo(t *testing.T) {
	s := newScene(t, nil)
	till, err := s.shop.Serve("till", nodes.Server{
		Call: func(context.Context, *nodes.Call) (any, error) { return 1, nil }, State: func() any { return 7 },
	}, nil)
	require.NoError(t, err)
	b := cluster.Mailbox(t, s.shop, &nodes.MailboxOptions{Parent: till.Pid()})
	require.NoError(t, b.SetLabel(ei.Tuple{a("job"), ei.Int(1)}))
	require.NoError(t, s.box.Send(s.ctx, b.Pid(), a("hello")))
	_, err = s.box.Monitor(s.ctx, b.Pid())
	require.NoError(t, err)
	require.Eventually(t, func() bool { d, _ := s.shop.Process(b.Pid()); return d.Queue == 1 }, expect.Limit, time.Millisecond)
	for item, want := range map[string]string{
		"registered_name": "[]", "message_queue_len": "{message_queue_len,1}", "messages": "{messages,[hello]}",
		"label": "{label,{job,1}}", "parent": fmt.Sprintf("{parent,%v}", till.Pid()), "links": fmt.Sprintf("{links,[%v]}", till.Pid()),
		"monitored_by": fmt.Sprintf("{monitored_by,[%v]}", s.box.Pid()), "status": "{status,waiting}", "reductions": "{reductions,0}",
		"initial_call": "{initial_call,{nodes,mailbox,0}}", "current_stacktrace": "{current_stacktrace,[]}",
	} {
		require.Equal(t, want, s.call("erlang:process_info", b.Pid(), a(item)), item)
	}
	require.Equal(t, `[{{dictionary,'$process_label'},{job,1}},{{dictionary,x},undefined}]`, s.call("erlang:process_info", b.Pid(),
		[]any{ei.Tuple{a("dictionary"), a("$process_label")}, ei.Tuple{a("dictionary"), a("x")}}))
	require.Equal(t, "[{links,[]},{registered_name,[]}]", s.call("erlang:process_info", s.spawnSleeper(), []any{a("links"),
		a("registered_name")}))

	// the stack of a server, and what module sys says of it
	require.Contains(t, s.call("erlang:process_info", till.Pid(), a("current_stacktrace")), "'(*Server).run',0,[{file,")
	require.Contains(t, s.call("erlang:process_info", till.Pid()), "{registered_name,till}")
	require.Equal(t, "7", s.call("sys:get_state", a("till")))
	require.True(t, strings.HasPrefix(s.call("sys:get_status", till.Pid(), 60_000), "{status,"))
	require.Equal(t, fmt.Sprintf("{timeout,{sys,get_status,[%v,20]}}", b.Pid()), s.call("sys:get_status", b.Pid(), 20))
}

// spawnSleeper makes a process of a function that sleeps.
func (s *scene) spawnSleeper() ei.Pid {
	s.shop.Expose("p", "sleep", nodes.FuncOf(func(ctx context.Context) { <-ctx.Done() }))
	pid, err := s.box.Spawn(s.ctx, "shop@host", "p", "sleep")
	require.NoError(s.t, err)
	return pid
}

// Only a program that says so can be stopped, and then once, in good order.
func TestStop(t *testing.T) {
	var s *scene
	s = newScene(t, &observer.Options{Stop: func(ctx context.Context) error { return s.shop.Shutdown(ctx) }})
	require.NotEqual(t, "eacces", s.call("os:getpid"))
	require.Equal(t, "ok", s.call("init:stop"))
	expect.Returns(t, s.shop.Done())
	require.ErrorIs(t, s.shop.Err(), nodes.ErrClosed)
}

// With the rules of Rules, who matches may look, and nobody else.
func TestRules(t *testing.T) {
	s := newScene(t, nil, append(observer.Rules("ops@*"), nodes.Rule{})...)
	require.Contains(t, s.call("observer_backend:sys_info"), "uptime")
	require.Contains(t, s.call("appmon_info:start_link2", s.box.Pid(), s.box.Pid(), []any{}), "{ok,")
	// what the program exposes itself is not among what they may call, whatever its module
	for _, module := range []string{"erlang", "logger", "c", "shop"} {
		s.shop.Expose(module, "set", nodes.FuncOf(func() int { return 1 }))
		require.Equal(t, "eacces", s.call(module+":set"), module)
	}
	other := newScene(t, nil, append(observer.Rules("admin@*"), nodes.Rule{})...)
	require.Equal(t, "eacces", other.call("observer_backend:sys_info"))
	require.Positive(t, other.shop.Stats().Denied)
}

// ends is the reason with which a process of a function ends.
func (s *scene) ends(function string, args ...any) string {
	s.t.Helper()
	module, name, _ := strings.Cut(function, ":")
	_, ref, err := s.box.SpawnMonitor(s.ctx, "shop@host", module, name, args...)
	require.NoError(s.t, err)
	for {
		m, err := s.box.Receive(s.ctx)
		require.NoError(s.t, err)
		if m.Op == dist.OpMonitorPExit && m.Ref == ref {
			reason, err := m.Reason.Decode()
			require.NoError(s.t, err)
			return reason.String()
		}
	}
}

// Who may look has the node send to nobody else, link with nobody else, and connect to nobody:
// unless another rule lets him send there.
func TestRulesLetLookOnly(t *testing.T) {
	for name, rules := range map[string][]nodes.Rule{"as they are": nil, "with more": {
		{Permission: nodes.MaySend, Target: "till", Allow: true}, {Permission: nodes.MaySend, Target: "@ops2@host", Allow: true},
	}} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nil, slices.Concat(observer.Rules("ops*@*"), rules, []nodes.Rule{{}})...)
			other := s.start("ops2@host", nil, nil)
			_, err := s.shop.Connect(s.ctx, other.Name())
			require.NoError(t, err)
			far := s.mailbox(s.start("far@host", nil, nil))
			till, there := s.mailbox(s.shop), s.mailbox(other)
			require.NoError(t, s.shop.Register(t.Context(), "till", till))
			for _, to := range []*nodes.Mailbox{till, there, far} {
				for _, f := range []struct {
					name string
					args []any
				}{
					{"observer_backend:procs_info", []any{to.Pid()}}, {"observer_backend:etop_collect", []any{to.Pid()}},
					{"observer_backend:fetch_stats", []any{to.Pid(), 10}}, {"dbg:do_relay", []any{to.Pid(), 0}},
					{"dbg:do_relay", []any{0, to.Pid(), 0}},
				} {
					if to == far || rules == nil {
						require.Contains(t, s.ends(f.name, f.args...), "eacces", f.name)
						continue
					}
					s.spawn(f.name, f.args...)
					m, err := to.Receive(s.ctx)
					require.NoError(t, err)
					require.NotNil(t, m.Payload)
				}
				require.Contains(t, s.ends("appmon_info:serve", to.Pid()), "badarg")
				require.Equal(t, "badarg", s.call("appmon_info:start_link2", s.box.Pid(), to.Pid(), []any{}))
			}
			require.Nil(t, s.shop.Conn("far@host"))
			if rules == nil {
				d, _ := s.shop.Process(till.Pid())
				require.Zero(t, d.Queue)
				require.Empty(t, d.LinkedWith)
				require.Equal(t, fmt.Sprintf("{noproc,{sys,get_state,[%v,20]}}", till.Pid()), s.call("sys:get_state", till.Pid(), 20))
				require.NoError(t, till.Send(s.ctx, there.Pid(), a("end")))
				v := cluster.Receive(t, there)
				require.Equal(t, a("end"), v)
			}
		})
	}
}

// A page of applications is its client's: others that may look neither end it, which would end the
// client, nor have it send to anybody.
func TestRulesOfPages(t *testing.T) {
	s := newScene(t, &observer.Options{Application: "shop"}, append(observer.Rules("ops*@*"), nodes.Rule{})...)
	other := s.start("ops2@host", nil, nil)
	till, stranger := s.mailbox(s.shop), s.mailbox(other)
	_, err := s.shop.Serve("counter", nodes.Server{State: func() any { return 7 }}, nil)
	require.NoError(t, err)
	require.Equal(t, "7", s.call("sys:get_state", a("counter")))
	v, err := s.ops.ERPC(s.ctx, "shop@host", "appmon_info", "start_link2", s.box.Pid(), s.box.Pid(), []any{})
	require.NoError(t, err)
	page := v.(ei.Tuple)[1].(ei.Pid)
	order := func(from *nodes.Mailbox, to ei.Pid) {
		t.Helper()
		require.NoError(t, from.Cast(s.ctx, page, ei.Tuple{to, a("app_ctrl"), a("x"), a("true"), ei.List{}}))
	}
	for _, to := range []ei.Pid{till.Pid(), stranger.Pid(), s.box.Pid()} {
		order(stranger, to)
	}
	require.NoError(t, stranger.SendExit(s.ctx, page, a("kill")))
	require.NoError(t, stranger.SendExit(s.ctx, page, a("normal")))
	_, err = other.ERPC(s.ctx, "shop@host", "erlang", "node") // behind all of that
	require.NoError(t, err)
	order(s.box, till.Pid())
	order(s.box, stranger.Pid())
	order(s.box, s.box.Pid())
	require.Equal(t, ei.Tuple{a("delivery"), page, a("app_ctrl"), a("x")}, s.message().(ei.Tuple)[:4])
	d, ok := s.shop.Process(page)
	require.True(t, ok)
	require.Equal(t, []ei.Pid{s.box.Pid()}, d.LinkedWith)
	for _, b := range []*nodes.Mailbox{till, stranger} {
		d, _ := b.Node().Process(b.Pid())
		require.Zero(t, d.Queue)
	}
	// Observer says so when it leaves the page
	require.NoError(t, s.box.SendExit(s.ctx, page, a("normal")))
	m, err := s.box.Receive(s.ctx)
	require.NoError(t, err)
	require.Equal(t, dist.OpExit, m.Op)
	require.Equal(t, page, m.From)
}

// Load Charts and Applications are told until they want no more, or have gone; the node's end does
// not wait for them.
func TestSubscriptions(t *testing.T) {
	s := newScene(t, &observer.Options{Application: "shop"})
	till, err := s.shop.Serve("till", nodes.Server{}, nil)
	require.NoError(t, err)
	child, err := s.shop.Serve("child", nodes.Server{}, &nodes.MailboxOptions{Parent: till.Pid()})
	require.NoError(t, err)
	charts := s.spawn("observer_backend:fetch_stats", s.box.Pid(), 10)
	for range 2 {
		stats := s.message().(ei.Tuple)
		require.Equal(t, a("stats"), stats[0])
	}
	require.NoError(t, s.box.Send(s.ctx, charts, a("stop")))
	for {
		m, err := s.box.Receive(s.ctx)
		require.NoError(t, err)
		if m.Payload == nil {
			require.Equal(t, charts, m.From)
			break
		}
	}
	v, err := s.ops.ERPC(s.ctx, "shop@host", "appmon_info", "start_link2", s.box.Pid(), s.box.Pid(), []any{})
	require.NoError(t, err)
	appmon := v.(ei.Tuple)[1].(ei.Pid)
	order := func(what, of string) ei.Tuple {
		t.Helper()
		require.NoError(t, s.box.Cast(s.ctx, appmon, ei.Tuple{s.box.Pid(), a(what), a(of), a("true"), ei.List{}}))
		d := s.message().(ei.Tuple)
		require.Equal(t, ei.Tuple{a("delivery"), appmon, a(what), a(of)}, d[:4])
		return d
	}
	require.Equal(t, a("shop"), order("app_ctrl", "shop@host")[4].(ei.List)[0].(ei.Tuple)[1])
	tree := order("app", "shop")[4].(ei.Tuple)
	text := tree[2].String()
	require.Contains(t, text, ei.Tuple{ei.String("till"), ei.String("child")}.String())
	require.Contains(t, text, ei.Tuple{ei.String("shop"), ei.String("till")}.String())
	require.Contains(t, tree[1].String(), child.Pid().String())
	s.spawn("observer_backend:fetch_stats", s.box.Pid(), 10_000)
	require.NoError(t, s.shop.Shutdown(s.ctx))
}

// LiveDashboard gets pages of the processes, sorted and searched.
func TestDashboard(t *testing.T) {
	t.Setenv("CNODE_SEEN", "yes")
	s := newScene(t, &observer.Options{Environment: []string{"CNODE_SEEN"}})
	for i := range 5 {
		b := cluster.Mailbox(t, s.shop, nil)
		require.NoError(t, s.shop.Register(t.Context(), fmt.Sprintf("queue%d", i), b))
		for range i {
			require.NoError(t, b.Send(s.ctx, b.Pid(), "x"))
		}
	}
	const m = "Elixir.Phoenix.LiveDashboard.SystemInfo:"
	page := s.call(m+"processes_callback", []byte("queue"), a("message_queue_len"), a("desc"), 2, ei.Map{})
	require.Contains(t, page, "],5,#{", "all that were found")
	require.Contains(t, page, "queue4")
	require.Contains(t, page, "queue3")
	require.NotContains(t, page, "queue2")
	require.Equal(t, `[{<<"CNODE_SEEN">>,<<"yes">>},{<<"HOME">>,nil}]`, s.call(m+"env_info_callback", []any{"CNODE_SEEN", "HOME"}))
	require.Contains(t, s.call(m+"capabilities_callback", []any{ei.Tuple{a("process"), a("queue1")}}), "processes => [queue1]")
}

// All processes are listed, however many messages it takes.
func TestManyProcesses(t *testing.T) {
	const many = 5000
	s := newScene(t, nil)
	for range many {
		s.mailbox(s.shop)
	}
	s.spawn("observer_backend:procs_info", s.box.Pid())
	listed := 0
	for {
		m, err := s.box.Receive(s.ctx)
		require.NoError(t, err)
		if m.Payload == nil {
			break
		}
		var v struct {
			_     struct{} `ei:"tuple=procs_info"`
			Pid   ei.Pid
			Procs []ei.Raw
		}
		require.NoError(t, m.Payload.Unmarshal(&v))
		listed += len(v.Procs)
	}
	require.GreaterOrEqual(t, listed, many)
}

// A node that asks for pages of applications without end gets some, and takes none of the others'.
func TestTooManyPages(t *testing.T) {
	s := newScene(t, nil)
	other := s.start("ops2@host", nil, nil)
	box := s.mailbox(other)
	ask := func(n *nodes.Node, client ei.Pid) (ei.Pid, error) {
		v, err := n.ERPC(s.ctx, "shop@host", "appmon_info", "start_link2", client, client, []any{})
		if err != nil {
			return ei.Pid{}, err
		}
		return v.(ei.Tuple)[1].(ei.Pid), nil
	}
	var pages []ei.Pid
	for len(pages) < 1000 {
		page, err := ask(s.ops, s.box.Pid())
		if err != nil {
			require.ErrorContains(t, err, "system_limit")
			break
		}
		pages = append(pages, page)
	}
	require.Len(t, pages, 16)
	_, _, err := s.box.SpawnMonitor(s.ctx, "shop@host", "appmon_info", "serve", s.box.Pid())
	require.NoError(t, err)
	m, err := s.box.Receive(s.ctx)
	require.NoError(t, err)
	require.Contains(t, ei.Brief(m.Reason, 1000), "system_limit")
	_, err = ask(other, box.Pid())
	require.NoError(t, err)
	require.NoError(t, s.box.SendExit(s.ctx, pages[0], a("normal")))
	require.Eventually(t, func() bool { _, err := ask(s.ops, s.box.Pid()); return err == nil }, time.Minute, time.Millisecond)
}

// A tracer with a port gets no further than its own node, which may refuse what it is asked for: it
// is told that it may go on. One that names another node's process has nothing opened there.
func TestTracerWithPort(t *testing.T) {
	s := newScene(t, nil, append(observer.Rules("ops*@*"), nodes.Rule{})...)
	asked := make(chan string, 10)
	for _, name := range []string{"sleep", "expr"} {
		module := map[string]string{"sleep": "timer", "expr": "erl_eval"}[name]
		s.ops.Expose(module, name, func(ctx context.Context, args []ei.Term) (any, error) {
			asked <- name
			if name == "sleep" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return ei.Tuple{a("value"), ei.Tuple{a("error"), a("eaddrinuse")}, ei.List{}}, nil
		})
	}
	to := func(port int) ei.Term {
		f := ei.Fun{Module: "dbg", Pid: s.box.Pid(), Free: []ei.Term{ei.Int(5000), ei.Int(port)}}
		return ei.Tuple{a("port"), f}
	}
	pid := s.spawn("dbg:do_relay", s.box.Pid(), to(8415))
	require.ElementsMatch(t, []string{"sleep", "expr"}, []string{<-asked, <-asked})
	require.Equal(t, ei.Tuple{a("started"), pid}, s.message())
	require.NoError(t, s.box.SendExit(s.ctx, pid, a("kill")))
	s.box.Unlink(s.ctx, pid)

	other := s.start("ops2@host", nil, nil)
	_, err := s.shop.Connect(s.ctx, other.Name())
	require.NoError(t, err)
	require.Contains(t, s.ends("dbg:do_relay", s.mailbox(other).Pid(), to(8415)), "eacces")
	for _, wrong := range []ei.Term{to(0), to(1 << 16), ei.Tuple{a("port"), a("x")}, ei.Tuple{a("process"), ei.Int(1)}} {
		pid := s.spawn("dbg:do_relay", s.box.Pid(), wrong)
		require.Equal(t, ei.Tuple{a("started"), pid}, s.message())
	}
	require.Empty(t, asked)
}
