package observer

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/observer"
)

// start starts a node of Go with a server, till, whose child has a label, and a mailbox, jobs, in
// which five messages wait.
func start(t testing.TB, name string, port int, o *observer.Options, edit ...func(*nodes.Config)) *nodes.Node {
	t.Helper()
	cfg := gonode.Config(t, name, port)
	cfg.Visible, cfg.ProfileLabels = true, true
	cfg.Setup = func(n *nodes.Node) error { return observer.Serve(n, o) }
	for _, f := range edit {
		f(&cfg)
	}
	n, ctx := gonode.Start(t, cfg), expect.Context(t)
	till, err := n.Serve("till", nodes.Server{
		Call:  func(_ context.Context, c *nodes.Call) (any, error) { return c.Request, nil },
		State: func() any { return map[ei.Atom]int{"total": 7} },
	}, &nodes.MailboxOptions{TrapExit: true})
	require.NoError(t, err)
	session, err := n.Serve("", nodes.Server{Info: func(context.Context, *nodes.Mailbox, *nodes.Message) {}},
		&nodes.MailboxOptions{Parent: till.Pid()})
	require.NoError(t, err)
	require.NoError(t, session.SetLabel("session 1"))
	jobs, err := n.NewMailbox(nil)
	require.NoError(t, err)
	require.NoError(t, n.Register(ctx, "jobs", jobs))
	for i := range 5 {
		require.NoError(t, jobs.Send(ctx, jobs.Pid(), ei.Tuple{ei.Atom("job"), ei.Int(i)}))
	}
	return n
}

// A meeting is an Erlang node, which has the module looker, and one of Go.
type meeting struct {
	t   *testing.T
	erl *otp.Node
	n   *nodes.Node

	epmd int // the port mapper's port
}

func meet(t *testing.T, r otp.Release, o *observer.Options, args ...string) *meeting {
	epmd := r.Epmd(t)
	erl := r.Start(t, otp.Options{EpmdPort: epmd, ExtraArgs: args})
	source, err := os.ReadFile("testdata/looker.erl")
	require.NoError(t, err)
	erl.Load(t, string(source))
	return &meeting{t: t, erl: erl, n: start(t, "go"+r.String()+"@127.0.0.1", epmd, o), epmd: epmd}
}

// eval evaluates an expression in which N is the Go node's name, and Till and Jobs two of its
// processes.
func (m *meeting) eval(expr string) string {
	m.t.Helper()
	return m.erl.Eval(m.t, fmt.Sprintf("N = '%s', pong = net_adm:ping(N), Till = erpc:call(N, erlang, whereis, [till]), "+
		"Jobs = erpc:call(N, erlang, whereis, [jobs]), %s", m.n.Name(), expr))
}

func (m *meeting) is(want, expr string) {
	m.t.Helper()
	require.Equal(m.t, want, m.eval(expr), expr)
}

// Each of Observer's pages has what it needs.
func TestObserverPages(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		m := meet(t, r, &observer.Options{Application: "shop", Description: "a shop", Version: "1.2"})
		m.is("[]", `looker:system(N)`)
		m.is("{0,true,true,true,[]}", `looker:charts(N)`)
		m.is("true", `{[shop], L} = looker:applications(N), lists:member({"shop", "till"}, L) andalso lists:member({"shop", "jobs"}, L)
			andalso [C || {"till", C} <- L, lists:prefix("session 1", C)] =/= []`)
		m.is("[ok,ok,ok]", `[gen_server:call(Till, ok) || _ <- [1, 2, 3]]`)
		m.is("{true,true,true}", `L = looker:processes(N), {lists:member({till, 3, 0}, L), lists:member({jobs, 0, 5}, L), lists:keymember(rex,
			1, L)}`)
		// Observer before 27 would fail at a label when it sorts by names
		m.is(strconv.FormatBool(r.Number >= 27), `lists:keymember(<<"session 1">>, 1, looker:processes(N))`)
		m.is("[till,0,true,waiting]", `looker:process(Till, [registered_name, message_queue_len, trap_exit, status])`)
		m.is("[[],5]", `[[], Q] = [proplists:get_value(links, erpc:call(N, erlang, process_info, [Jobs])) | looker:process(Jobs,
			[message_queue_len])], [[], Q]`)
		m.is(`{gen_server,[{"State",#{total => 7}}]}`, `looker:state(Till)`)
		m.is("[]", `looker:state(Jobs)`)
		m.is("true", `{_, [{_, _, _, [{file, F}, {line, L}]} | _]} = erpc:call(N, erlang, process_info, [Till, current_stacktrace]),
			lists:suffix(".go", F) andalso L > 0`)
		m.is("{messages,[{job,0},{job,1},{job,2},{job,3},{job,4}]}", `erpc:call(N, erlang, process_info, [Jobs, messages])`)
		m.is("{[],[]}", `{rpc:call(N, observer_backend, get_port_list, []), rpc:call(N, observer_backend, get_table_list, [ets, []])}`)
		// what the menus do besides
		m.is("true", `rpc:call(N, erlang, garbage_collect, [Till])`)
		m.is("{[{shop,\"a shop\",\"1.2\"}],undefined,{error,nofile}}", `{rpc:block_call(N, application, which_applications, []),
			rpc:block_call(N, erlang, whereis, [rb_server]), rpc:block_call(N, code, ensure_loaded, [rb])}`)
		m.is("true", `{_, {'EXIT', {undef, _}}} = rpc:call(N, observer_backend, ttb_init_node, [a, b, c]), true`)
	})
}

// beams is a directory with the modules of the application observer.
func beams(t *testing.T, r otp.Release) string {
	all := os.Getenv("CNODE_TEST_OBSERVER")
	if all == "" {
		need.Missing(t, "no etop, no Observer: CNODE_TEST_OBSERVER is not set (test/run.sh brings it)")
	}
	for entry := range strings.FieldsSeq(all) {
		if number, dir, _ := strings.Cut(entry, "="); number == strconv.Itoa(r.Number) {
			ebin := t.TempDir() // which the Erlang in its root file system sees
			require.NoError(t, os.CopyFS(ebin, os.DirFS(filepath.Join(dir, "ebin"))))
			return ebin
		}
	}
	require.Fail(t, "CNODE_TEST_OBSERVER has no observer of OTP "+r.String())
	return ""
}

// etop, in text mode, with tracing, which is its default, and without, whatever it sorts by. The
// trace port is open at etop's node only, to that machine only, and not afterwards.
func TestEtop(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		ebin := beams(t, r)
		m := meet(t, r, nil, "-pa", ebin)
		m.n = start(t, "far"+r.String()+"@10.255.255.9", m.epmd, nil, func(cfg *nodes.Config) {
			cfg.Rules = append(observer.Rules("n*@*"), nodes.Rule{})
		}) // at a host that nobody reaches
		_, err := m.n.Connect(expect.Context(t), m.erl.Name())
		require.NoError(t, err)
		at := port.Free(t)
		for i, options := range []string{
			"", "{sort, msg_q}", "{tracing, on}, {sort, memory}", "{tracing, off}", "{tracing, off}, {sort, memory}",
		} {
			text := m.eval(fmt.Sprintf("looker:etop(N, %d, [%s], %q)", at, options, filepath.Join(ebin, strconv.Itoa(i))))
			require.Contains(t, text, "jobs", options)
			require.Contains(t, text, "till", options)
			require.Contains(t, text, "waiting", options)
			require.Regexp(t, `Load: +cpu +\d+`, text, options)
			traces := !strings.Contains(options, "off") || r.Number == 27 // whatever it is told
			require.Equal(t, traces, strings.Contains(text, m.n.Name()+" is no BEAM and traces nothing: run times are 0"), options)
			require.NotContains(t, text, "Lost connection", options)
			m.is("{error,econnrefused}", fmt.Sprintf("gen_tcp:connect({127,0,0,1}, %d, [])", at))
		}
		// where the port is somebody else's, the user hears of it
		text := m.eval(fmt.Sprintf(`{ok, L} = gen_tcp:listen(%d, [{ip, {127,0,0,1}}, {reuseaddr, true}]),
			R = looker:etop(N, %[1]d, [], %q), ok = gen_tcp:close(L), R`, at, filepath.Join(ebin, "taken")))
		require.Contains(t, text, fmt.Sprintf("port %d, which stands for its trace port here, cannot be opened", at))
		require.Contains(t, text, "jobs")
		// to others it is the node's host
		m.is(`"10.255.255.9"`, `rpc:call(N, net_adm, localhost, [])`)
	})
}

// What the shell, scripts and loaders of code ask.
func TestShellAndScripts(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		m := meet(t, r, nil)
		m.is("true", `T = looker:printed(fun() -> c:ni() end), lists:all(fun(W) -> string:find(T, W) =/= nomatch end, ["till", "jobs",
			"nodes:waiting/0", "Total"])`)
		m.is("true", `T = looker:printed(fun() -> c:nregs() end), string:find(T, atom_to_list(N)) =/= nomatch andalso string:find(T,
			"jobs") =/= nomatch`)
		m.is("true", `T = looker:printed(fun() -> c:i([Till]) end), string:find(T, "till") =/= nomatch`)
		if r.Number >= 27 {
			m.is("true", `string:find(looker:printed(fun() -> c:ni() end), "session 1") =/= nomatch`)
		}
		// the same items as here
		m.is("[]", `[K || {K, _} <- process_info(self())] -- [K || {K, _} <- [{registered_name, x} | rpc:call(N, erlang, process_info, [Jobs])]]`)
		m.is("[]", `[K || {K, _} <- erlang:memory()] -- [K || {K, _} <- rpc:call(N, erlang, memory, [])]`)
		m.is("true", `lists:all(fun(I) -> is_tuple(I) orelse I =:= [] orelse is_integer(I) orelse is_list(I) end, [rpc:call(N, erlang,
			statistics, [S]) ||
			S <- [wall_clock, runtime, reductions, exact_reductions, run_queue, run_queue_lengths, total_run_queue_lengths_all, active_tasks, io,
				garbage_collection, context_switches]])`)
		m.is("[]", `[I || I <- [otp_release, version, system_version, system_architecture, wordsize, {wordsize, internal}, schedulers,
			schedulers_online,
			logical_processors, process_count, process_limit, port_count, port_limit, atom_count, atom_limit, ets_count, ets_limit, creation,
				machine,
			emu_type, build_type, start_time, smp_support, threads, kernel_poll, multi_scheduling, dist_buf_busy_limit, alloc_util_allocators,
			{allocator_sizes, [heap]}], element(1, {rpc:call(N, erlang, system_info, [I])}) =:= {badrpc, x}]`)
		// badarg and undef as here
		m.is("{true,true}", `Same = fun(M, F, A) -> X = (catch apply(M, F, A)), {_, {'EXIT', {R, _}}} = rpc:call(N, M, F, A), element(1,
			element(2, X)) =:= R end,
			{Same(erlang, memory, [nothing]), Same(erlang, nothing, [1])}`)
		m.is("{error,badfile}", `{M, B, F} = code:get_object_code(lists), rpc:call(N, code, load_binary, [M, F, B])`)
		m.is("{true,true}", `{[R], []} = rpc:multicall([N], erlang, whereis, [till]), {is_pid(R), lists:member(N, nodes())}`)
		m.is("true", `{ok, Names} = net_adm:names(), lists:keymember(hd(string:split(atom_to_list(N), "@")), 1, Names)`)
		m.is("[eacces,eacces,eacces,eacces]", `[begin {_, {'EXIT', {R, _}}} = rpc:call(N, M, F, []), R end || {M, F} <- [{init, stop}, {erlang,
			halt}, {init, restart}, {os, getpid}]]`)
	})
}

// A script stops a node that allows it, which ends in good order: who monitors its processes is
// told.
func TestScriptStops(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		o := &observer.Options{}
		port := r.Epmd(t)
		erl := r.Start(t, otp.Options{EpmdPort: port})
		var n *nodes.Node
		o.Stop = func(ctx context.Context) error { return n.Shutdown(ctx) }
		n = start(t, "stop"+r.String()+"@127.0.0.1", port, o)
		require.Equal(t, "{true,ok,shutdown}", erl.Eval(t, fmt.Sprintf(`N = '%s', P = list_to_integer(rpc:call(N, os, getpid, [])),
			R = monitor(process, {jobs, N}),
			Ok = rpc:call(N, init, stop, []), {P =:= %d, Ok, receive {'DOWN', R, _, _, Why} -> Why end}`, n.Name(), os.Getpid())))
		expect.Returns(t, n.Done())
	})
}

// elixir runs a script in which node is the Go node's name, and gives what it prints.
func elixir(t *testing.T, e otp.Elixir, n *nodes.Node, port int, script string) string {
	t.Helper()
	return e.Prints(t, port, "ex@127.0.0.1", fmt.Sprintf("node = :%q\ntrue = Node.connect(node)\n%s", n.Name(), script))
}

// IEx's i/1 of a process of a Go node, and Elixir's modules by erpc.
func TestIEx(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		port := otp.Epmd(t)
		n := start(t, "iex@127.0.0.1", port, nil)
		out := elixir(t, e, n, port, `
till = :erpc.call(node, Process, :whereis, [:till])
IEx.Helpers.i(till)
true = :erpc.call(node, Process, :alive?, [till])
[_ | _] = info = :erpc.call(node, Process, :info, [till])
:till = info[:registered_name]
true = till in :erpc.call(node, Process, :list, [])
{:links, [_]} = :erpc.call(node, Process, :info, [till, :links])
nil = :erpc.call(node, Process, :whereis, [:nobody])
true = Node.self() in :erpc.call(node, Node, :list, [])
false = Version.match?(:erpc.call(node, System, :version, []), "~> 1.0")
{:error, :badfile} = :erpc.call(node, :code, :load_binary, [Foo, ~c"foo.beam", "FOR1"])
true = node in Node.list()
IO.puts("done")
`)
		require.Contains(t, out, "Alive\n  true")
		require.Contains(t, out, "Name\n  :till")
		require.Contains(t, out, "done")
	})
}

// LiveDashboard looks at a Go node by its own module, which it does not load there.
func TestLiveDashboard(t *testing.T) {
	lib := os.Getenv("CNODE_TEST_LIVE_DASHBOARD")
	if lib == "" {
		t.Skip("the sources of LiveDashboard are at no place that test/prepare.sh fetches from: see doc.go")
	}
	var source string
	require.NoError(t, filepath.WalkDir(lib, func(path string, _ fs.DirEntry, err error) error {
		if filepath.Base(path) == "system_info.ex" {
			text, err := os.ReadFile(path)
			source = string(text)
			return err
		}
		return err
	}))
	require.NotEmpty(t, source)
	t.Setenv("SHOP_REGION", "north")
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		port := otp.Epmd(t)
		n := start(t, "dashboard@127.0.0.1", port, &observer.Options{Application: "shop", Version: "1.2", Environment: []string{"SHOP_REGION"}})
		out := elixir(t, e, n, port, source+`
alias Phoenix.LiveDashboard.SystemInfo
%{dashboard_running?: true, processes: [:till]} = SystemInfo.node_capabilities(node, process: :till, application: :os_mon)
%{system_info: info, system_limits: limits, system_usage: usage, environment: env} = SystemInfo.fetch_system_info(node, ["SHOP_REGION",
	"HOME"], :shop)
[{"SHOP_REGION", "north"}, {"HOME", nil}] = env
true = String.contains?("#{info.banner}", "Go ")
true = limits.processes > 0 and limits.atoms > 0 and limits.ports > 0
for u <- [usage, SystemInfo.fetch_system_usage(node)] do
  m = u.memory
  true = m.total == m.process + m.atom + m.binary + m.code + m.ets + m.other and m.other >= 0
  true = u.uptime >= 0 and is_tuple(u.io)
end
{[first | _], count, state} = SystemInfo.fetch_processes(node, nil, :message_queue_len, :desc, 3, %{})
"jobs" = first[:name_or_initial_call]
5 = first[:message_queue_len]
true = count >= 5 and map_size(state) >= count
{[till], 1, _} = SystemInfo.fetch_processes(node, "TILL", :reductions_diff, :asc, 50, state)
{:ok, details} = SystemInfo.fetch_process_info(till[:pid])
[%{name_or_initial_call: "session 1"} = child] = details[:links]
SystemInfo.ProcessDetails = child.__struct__
{:ok, below} = SystemInfo.fetch_process_info(child.pid)
[%{name_or_initial_call: "till"}] = below[:ancestors]
{[app], 1} = SystemInfo.fetch_applications(node, nil, :name, :asc, 50)
"1.2" = app[:version]
{{:master, _, []}, children} = SystemInfo.fetch_app_tree(node, :shop)
[{{:supervisor, _, _}, [{{:worker, _, "session 1"}, []}]}] = for {{_, _, "till"}, _} = c <- children, do: c
{[], 0} = SystemInfo.fetch_ports(node, nil, :input, :desc, 50)
{[], 0} = SystemInfo.fetch_ets(node, nil, :memory, :desc, 50)
{[], 0} = SystemInfo.fetch_sockets(node, nil, :send_oct, :desc, 50)
{[%{name: :total, max_carrier_size: most} | _], %{total: most}} = SystemInfo.fetch_memory_allocators(node, nil)
IO.puts("done")
`)
		require.Contains(t, out, "done")
	})
}
