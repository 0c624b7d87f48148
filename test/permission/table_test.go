package permission

import (
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/groupleader"
)

// A row is about functions that a node with all packages exposes, or names that its processes have.
// That a peer may call them, or send to them, is a rule of its own. The row says what they may then
// do to a process that the peer names, and what keeps them from it.
type row struct {
	names   string
	touches string // some of ask, connect, exit, link, send and watch, in this order; "": they read
	guard   string // for people
}

// functions are by module. A new function needs a row: whatever it sends to, links with or ends
// because of its arguments is for Node.AllowsProcess to allow.
var functions = []row{
	{"erlang: function_exported garbage_collect is_alive is_process_alive loaded localtime memory module_info module_loaded node nodes " +
		"port_info ports process_info processes registered statistics system_flag system_info system_time timestamp " +
		"universaltime whereis", "", ""},
	{"erlang: halt", "", "Options.Stop of observer"},
	{"init: get_argument get_arguments get_plain_arguments get_status module_info", "", ""},
	{"init: reboot restart", "", "always eacces"},
	{"init: stop", "", "Options.Stop of observer"},
	{"os: getenv getpid module_info type", "", "Options.Environment, Options.Stop of observer"},
	{"code: all_loaded get_object_code get_path is_loaded load_abs load_binary load_file module_info which", "",
		"none loads code"},
	{"application: get_all_env get_application get_env get_key loaded_applications module_info which_applications", "", ""},
	{"application_controller: get_master module_info which_applications", "", ""},
	{"application_master: get_child module_info", "", ""},
	{"c: i regs uptime", "send", "MaySend to the group leader that the caller names, where they print"},
	{"c: memory module_info", "", ""},
	{"proc_lib: get_label initial_call module_info translate_initial_call", "", ""},
	{"sys: get_state get_status", "send", "MaySend to a process of this node that is no Server; of a Server it reads"},
	{"sys: module_info", "", ""},
	{"ets: all info module_info", "", ""},
	{"net_adm: localhost module_info", "", ""},
	{"net_kernel: get_net_ticktime", "", ""},
	{"logger: get_primary_config", "", ""},
	// it sets the level of the node's log
	{"logger: set_primary_config", "", "MayCall of console:level/1, the command; observer.Rules do not name it"},
	{"nodes: module_info", "", ""},
	{"observer_backend: etop_collect fetch_stats procs_info", "send", "MaySend to the process that is to be told"},
	{"observer_backend: get_port_list get_socket_list get_table_list module_info socket_info sys_info vsn", "", ""},
	{"dbg: do_relay", "send", "MaySend to the process that is to be told"},
	{"dbg: erlang_trace module_info", "", ""},
	// they spawn, link and send, for a process of the peer's own node
	{"appmon_info: serve start_link2", "", "the client is of the caller's node"},
	{"appmon_info: module_info", "", ""},
	{"Elixir.Process: alive? info list module_info registered whereis", "", ""},
	{"Elixir.Node: alive? list module_info self", "", ""},
	{"Elixir.System: module_info pid version", "", "Options.Stop of observer for pid"},
	{"Elixir.Phoenix.LiveDashboard.SystemInfo: __info__ app_tree_callback applications_info_callback capabilities_callback " +
		"env_info_callback ets_callback ets_info_callback info_callback memory_allocators_callback module_info port_info_callback " +
		"ports_callback process_info_callback processes_callback socket_info_callback sockets_callback usage_callback", "", ""},
	// they spawn a session, which prints at the peer's own node
	{"shell: start", "", "the group leader is of the caller's node"},
	{"iex: start", "", "the same"},
	{"Elixir.IEx: start", "", "the same"},
	{"console: session", "", "no peer may call it"},
	{"edlin_expand: expand", "", "the shell is of the caller's node"},
	// it ends, or tells, one of two processes, connecting to it: see nodes/global
	{"global: resolve_it", "", "the caller takes part in global, and the rules let the other process's node do so"},
}

// processes are by name, with * for numbers.
var processes = []row{
	{"net_kernel", "send", "MaySend to whoever is to be answered"},
	{"rex", "", "it answers the node that asks; what it calls is MayCall; what it passes on is MaySend"},
	{"server", "send", "MaySend to whoever is to be answered, with a caller's tag"},
	{"supervisor", "send", "the same"},
	{"producer", "send watch", "MaySend to the consumer"},
	{"consumer", "send", "MaySend to the producer"},
	{"user", "", "it answers the node that asks"},
	{"Elixir.Phoenix.PubSub", "", "a scope speaks for its own node"},
	{"Elixir.App.PubSub.Adapter", "send", "MaySend to whoever is to be answered, with a caller's tag"},
	{"Elixir.App.Presence_shard0", "send", "the same"},
	{"global_name_server", "", "it answers the node that asks, and joins nodes that the rules let take part"},
	{"cnode_global", "", "the same process"},
	{"cnode_global_locker", "", "it takes no messages"},
	{"appmon_info.*", "", "it tells processes of its client's node, at the wish of that"},
	{"console.*", "", "it prints at its user's node"},
}

// refused are rules with which a peer may call everything, and send to all that packages have, but
// do nothing to the victims.
var refused = []nodes.Rule{
	{Permission: nodes.MaySend | nodes.MayLink | nodes.MayExit, Target: "victim"},
	{Permission: nodes.MaySend | nodes.MayLink | nodes.MayExit, Target: "#Pid<*>"},
	{Permission: nodes.MaySend | nodes.MayLink | nodes.MayExit, Target: "@*"},
	{Allow: true},
}

// eachRules runs a test with rules that refuse the victims, where nothing may touch them, and with
// rules that refuse nothing, where it is shown that the table does not lie.
func eachRules(t *testing.T, test func(t *testing.T, s *scene, touches func(r row) string)) {
	t.Run("refused", func(t *testing.T) { test(t, newScene(t, refused...), func(row) string { return "" }) })
	t.Run("allowed", func(t *testing.T) {
		test(t, newScene(t, nodes.Rule{Allow: true}), func(r row) string { return r.touches })
	})
}

// Every function has a row, and touches what that says, if the rules allow it.
func TestFunctions(t *testing.T) {
	eachRules(t, func(t *testing.T, s *scene, touches func(r row) string) {
		exposed := s.all.Exposed()
		for _, r := range functions {
			module, names, ok := strings.Cut(r.names, ": ")
			require.True(t, ok)
			for name := range strings.FieldsSeq(names) {
				at := slices.Index(exposed[module], name)
				require.GreaterOrEqual(t, at, 0, "%s:%s is not exposed", module, name)
				exposed[module] = slices.Delete(exposed[module], at, at+1)
				v := s.victims()
				v.try(module, name)
				require.Equal(t, touches(r), v.touches(), "%s:%s", module, name)
			}
		}
		maps.DeleteFunc(exposed, func(_ string, names []string) bool { return len(names) == 0 })
		require.Empty(t, exposed, "functions without a row: what may they do to a process that is named to them, and which rule guards it?")
	})
}

var number = regexp.MustCompile(`[0-9]+\.[0-9]+$`)

// Every process that packages register has a row, and touches what that says, if the rules allow
// it.
func TestProcesses(t *testing.T) {
	eachRules(t, func(t *testing.T, s *scene, touches func(r row) string) {
		ctx := expect.Context(t)
		_, err := s.box.ERPC(ctx, "all@host", "appmon_info", "start_link2", s.box.Pid(), s.box.Pid(), ei.List{})
		require.NoError(t, err)
		in, keys := io.Pipe()
		t.Cleanup(func() { keys.Close() })
		screen, err := groupleader.Serve(s.peer, "", io.Discard, &groupleader.Options{In: in})
		require.NoError(t, err)
		_, err = s.box.RPC(nodes.WithGroupLeader(ctx, screen.Pid()), "all@host", "shell", "start")
		require.NoError(t, err)
		names := map[string]string{}
		for p := range s.all.Processes() {
			for _, name := range p.Names {
				names[number.ReplaceAllString(string(name), "*")] = string(name)
			}
		}
		for _, r := range processes {
			name := names[r.names]
			require.NotEmpty(t, name, r.names)
			delete(names, r.names)
			v := s.victims()
			v.tell(name)
			require.Equal(t, touches(r), v.touches(), name)
		}
		require.Empty(t, names, "processes without a row: what may they do to one that is named to them, and which rule guards it?")
	})
}
