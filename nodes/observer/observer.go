package observer

import (
	"cmp"
	"context"
	"maps"
	"path"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// Options say what the tools see and may do. The zero value, and nil, let them look.
type Options struct {
	// Stop is called, once and on a goroutine of its own, when a peer asks for the end of the node:
	// init:stop/0, erlang:halt/0. nodes.Node.Shutdown is an orderly one, after which the program
	// ends as it does when Node.Done is closed. It has a minute. nil: they are refused (eacces), and
	// os:getpid/0, which scripts ask for to kill the process, as well.
	Stop func(ctx context.Context) error
	// Application, Version and Description are what application:which_applications/0 says, and
	// Observer's page of applications. "": the last part of the path of the main package, and the
	// version of its module.
	Application, Version, Description string
	// Environment lists the environment variables whose values may be seen, by LiveDashboard's
	// env_keys and os:getenv/1. nil: none.
	Environment []string
}

// An observer answers the tools' questions about a node.
type observer struct {
	n     *nodes.Node
	opts  Options
	began time.Time
	stop  sync.Once
	table map[string]map[string]map[int]nodes.Func // by module, function and arity

	mu   sync.Mutex
	seen traffic
	// processes of appmon's, by the nodes of their clients
	pages map[ei.Atom]int
	last  map[string]int64 // what statistics/1 has said before
}

// Serve exposes the functions that the tools of Erlang and Elixir call. Call it in
// nodes.Config.Setup, or before or after nodes.Node.Start. It waits for nothing, and is on until
// the node ends. An Options.Application that is no atom is an error; nil options are the zero
// value. It is what application runtime_tools is to a node of Erlang.
func Serve(n *nodes.Node, o *Options) error {
	b := &observer{n: n, began: time.Now(), last: map[string]int64{}, pages: map[ei.Atom]int{}}
	if o != nil {
		b.opts = *o
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.opts.Application = cmp.Or(b.opts.Application, programOf(info))
		b.opts.Version = cmp.Or(b.opts.Version, strings.Trim(info.Main.Version, "()"))
	}
	b.opts.Application = cmp.Or(strings.Trim(b.opts.Application, "./"), "go")
	b.opts.Version = cmp.Or(b.opts.Version, "0")
	b.opts.Description = cmp.Or(b.opts.Description, "a node of Go")
	if _, err := ei.AppendAtom(nil, ei.Atom(b.opts.Application)); err != nil {
		return &nodes.Error{Op: "serve the observer: Options.Application", Err: err}
	}
	b.table = tableOf(b)
	for module, funcs := range b.table {
		for name, of := range funcs {
			var some nodes.Func
			for _, some = range of {
				break
			}
			if len(of) == 1 { // by itself: so the node knows how many arguments it takes
				n.Expose(module, name, some)
				continue
			}
			n.Expose(module, name, func(ctx context.Context, args []ei.Term) (any, error) {
				if fn := of[len(args)]; fn != nil {
					return fn(ctx, args)
				}
				return some(ctx, args) // which says so
			})
		}
	}
	return nil
}

// programOf is the name of the program: that of its main package, which has none if it was built
// from files.
func programOf(info *debug.BuildInfo) string {
	if name := path.Base(info.Path); name != "command-line-arguments" && info.Path != "" {
		return name
	}
	return path.Base(info.Main.Path)
}

// Rules are rules for nodes.Config.Rules that let peers of these names look (see nodes.Rule.Peer),
// and stop the node if Options.Stop is set: for a table in which not everything is allowed that
// nothing refuses. There is one for each function: what a program exposes in the same modules is
// not covered. They let peers change nothing else: what tools want to be sent goes to processes of
// their own node, or to those that another rule lets them send to.
func Rules(peer string) []nodes.Rule {
	var rules []nodes.Rule
	table := tableOf(&observer{})
	for _, module := range slices.Sorted(maps.Keys(table)) {
		for _, name := range slices.Sorted(maps.Keys(table[module])) {
			rules = append(rules, nodes.Rule{
				Peer: peer, Permission: nodes.MayCall | nodes.MaySpawn, Target: module + ":" + name, Allow: true,
			})
		}
	}
	return append(rules, nodes.Rule{Peer: peer, Permission: nodes.MaySend, Target: appmonName + "*", Allow: true})
}

var (
	badarg = &nodes.Raise{Reason: ei.Atom("badarg")}
	eacces = &nodes.Raise{Reason: ei.Atom("eacces")}

	systemLimit = &nodes.Raise{Reason: ei.Atom("system_limit")}
)

// noStop is why a peer may not stop the node, nor learn what it needs for that.
const noStop = "since observer.Options.Stop is not set"

// refused is eacces of a function that Config.Rules may allow, with the reason where shells print
// it, and package console: as the file of a second entry of the stack.
func refused(module, name ei.Atom, arity int, why string) error {
	at := ei.List{pair("file", ei.String(why)), pair("line", ei.Int(0))}
	return &nodes.Raise{Reason: ei.Atom("eacces"), Stack: ei.List{
		ei.Tuple{module, name, ei.Int(arity), ei.List{}}, ei.Tuple{module, name, ei.Int(arity), at},
	}}
}

func pair(key string, v ei.Term) ei.Term { return ei.Tuple{ei.Atom(key), v} }

func mfa(m, f ei.Atom, arity int) ei.Term { return ei.Tuple{m, f, ei.Int(arity)} }

func bool2atom(is bool) ei.Term { return ei.Atom(strconv.FormatBool(is)) }

// tableOf has the functions, by module:function/arity.
func tableOf(b *observer) map[string]map[string]map[int]nodes.Func {
	nothing := func() ei.List { return ei.List{} }
	halt := func(module, name ei.Atom) nodes.Func {
		return func(ctx context.Context, args []ei.Term) (any, error) { return b.halt(ctx, module, name, len(args)) }
	}
	refuse := func(module, name ei.Atom) error { return refused(module, name, 0, "a node of Go is not started anew") }
	all := map[string]any{
		"erlang:node/0":              func() ei.Atom { return ei.Atom(b.n.Name()) },
		"erlang:nodes/0":             func() (ei.List, error) { return b.nodes(ei.Atom("visible")) },
		"erlang:nodes/1":             b.nodes,
		"erlang:nodes/2":             b.nodesInfo,
		"erlang:is_alive/0":          func() bool { return true },
		"erlang:processes/0":         b.processes,
		"erlang:registered/0":        b.registered,
		"erlang:whereis/1":           func(ctx context.Context, name ei.Atom) ei.Term { return b.whereis(ctx, name, "undefined") },
		"erlang:is_process_alive/1":  b.isAlive,
		"erlang:process_info/1":      func(pid ei.Pid) (ei.Term, error) { return b.processInfo(pid, nil) },
		"erlang:process_info/2":      b.processInfo,
		"erlang:garbage_collect/0":   func() bool { return true }, // Go does that by itself
		"erlang:garbage_collect/1":   func(ei.Pid) bool { return true },
		"erlang:ports/0":             nothing,
		"erlang:port_info/1":         func(ei.Term) ei.Atom { return "undefined" },
		"erlang:port_info/2":         func(_, _ ei.Term) ei.Atom { return "undefined" },
		"erlang:loaded/0":            b.modules,
		"erlang:memory/0":            b.memory,
		"erlang:memory/1":            func(of ei.Term) (ei.Term, error) { return findEach(b.memory(), of) },
		"erlang:statistics/1":        b.statistics,
		"erlang:system_info/1":       b.systemInfo,
		"erlang:system_flag/2":       systemFlag,
		"erlang:function_exported/3": b.isExported,
		"erlang:module_loaded/1":     b.isLoaded,
		"erlang:timestamp/0":         func() ei.Term { return timestamp(time.Now()) },
		"erlang:system_time/0":       func() int64 { return time.Now().UnixNano() },
		"erlang:system_time/1":       systemTime,
		"erlang:localtime/0":         func() ei.Term { return datetime(time.Now()) },
		"erlang:universaltime/0":     func() ei.Term { return datetime(time.Now().UTC()) },
		"erlang:halt/0":              halt("erlang", "halt"),
		"erlang:halt/1":              halt("erlang", "halt"),
		"erlang:halt/2":              halt("erlang", "halt"),
		"init:stop/0":                halt("init", "stop"),
		"init:stop/1":                halt("init", "stop"),
		"init:restart/0":             func() error { return refuse("init", "restart") },
		"init:reboot/0":              func() error { return refuse("init", "reboot") },
		"init:get_status/0":          b.status,
		"init:get_arguments/0":       nothing,
		"init:get_plain_arguments/0": nothing,
		"init:get_argument/1":        func(ei.Term) ei.Atom { return "error" },
		"os:getpid/0":                b.ospid,
		"os:type/0":                  osType,
		"os:getenv/1":                b.getenv,

		"code:is_loaded/1":       b.whereLoaded,
		"code:which/1":           func(ei.Term) ei.Atom { return "non_existing" },
		"code:all_loaded/0":      b.allLoaded,
		"code:get_object_code/1": func(ei.Term) ei.Atom { return "error" },
		"code:get_path/0":        nothing,
		"code:load_binary/3":     b.refuseCode,
		"code:load_file/1":       func(ei.Term) ei.Term { return ei.Tagged("error", ei.Atom("nofile")) },
		"code:load_abs/1":        func(ei.Term) ei.Term { return ei.Tagged("error", ei.Atom("nofile")) },

		"application:which_applications/0":            b.applications,
		"application:which_applications/1":            func(ei.Term) ei.List { return b.applications() },
		"application:loaded_applications/0":           b.applications,
		"application:get_key/2":                       b.applicationKey,
		"application:get_all_env/1":                   func(ei.Atom) ei.List { return ei.List{} },
		"application:get_env/2":                       func(_, _ ei.Atom) ei.Atom { return "undefined" },
		"application:get_env/3":                       func(_, _ ei.Atom, or ei.Term) ei.Term { return or },
		"application:get_application/1":               func(ei.Term) ei.Atom { return "undefined" },
		"application_controller:get_master/1":         b.master,
		"application_controller:which_applications/0": b.applications,
		"application_controller:which_applications/1": func(ei.Term) ei.List { return b.applications() },
		"application_master:get_child/1":              b.child,

		"c:i/0":      b.shellI,
		"c:regs/0":   b.shellRegs,
		"c:memory/0": b.memory,
		"c:memory/1": func(of ei.Term) (ei.Term, error) { return findEach(b.memory(), of) },
		"c:uptime/0": b.shellUptime,

		"proc_lib:get_label/1":              b.labelOf,
		"proc_lib:initial_call/1":           func(ei.Pid) bool { return false },
		"proc_lib:translate_initial_call/1": b.initialCall,
		"sys:get_status/1": func(ctx context.Context, p ei.Term) (ei.Term, error) {
			return b.sys(ctx, "get_status", p, ei.Int(5000))
		},
		"sys:get_status/2":    func(ctx context.Context, p, t ei.Term) (ei.Term, error) { return b.sys(ctx, "get_status", p, t) },
		"sys:get_state/1":     func(ctx context.Context, p ei.Term) (ei.Term, error) { return b.sys(ctx, "get_state", p, ei.Int(5000)) },
		"sys:get_state/2":     func(ctx context.Context, p, t ei.Term) (ei.Term, error) { return b.sys(ctx, "get_state", p, t) },
		"ets:all/0":           nothing,
		"ets:info/1":          func(ei.Term) ei.Atom { return "undefined" },
		"ets:info/2":          func(_, _ ei.Term) ei.Atom { return "undefined" },
		"net_adm:localhost/0": b.localhost,

		"observer_backend:vsn/0":             func() ei.Term { return ei.Tuple{ei.Atom("ok"), otp.Charlist("2.3")} },
		"observer_backend:sys_info/0":        b.sysInfo,
		"observer_backend:procs_info/1":      b.procsInfo,
		"observer_backend:etop_collect/1":    b.etopCollect,
		"observer_backend:fetch_stats/2":     b.fetchStats,
		"observer_backend:get_port_list/0":   nothing,
		"observer_backend:get_socket_list/0": nothing,
		"observer_backend:socket_info/0":     nothing,
		"observer_backend:get_table_list/2":  getTables,
		"dbg:do_relay/2":                     func(ctx context.Context, parent ei.Pid, to ei.Term) error { return b.relay(ctx, parent, to) },
		"dbg:do_relay/3": func(ctx context.Context, _ ei.Term, parent ei.Pid, to ei.Term) error {
			return b.relay(ctx, parent, to, ei.Atom("undefined"))
		},
		"dbg:erlang_trace/3":        func(_, _, _ ei.Term) int { return 0 },
		"dbg:erlang_trace/4":        func(_, _, _, _ ei.Term) int { return 0 },
		"appmon_info:start_link2/3": b.startAppmon,
		"appmon_info:serve/1":       b.serveAppmon,

		"Elixir.Process:info/1":       func(pid ei.Pid) (ei.Term, error) { return orNil(b.processInfo(pid, nil)) },
		"Elixir.Process:info/2":       b.elixirInfo,
		"Elixir.Process:alive?/1":     b.isAlive,
		"Elixir.Process:list/0":       b.processes,
		"Elixir.Process:registered/0": b.registered,
		"Elixir.Process:whereis/1":    func(ctx context.Context, name ei.Atom) ei.Term { return b.whereis(ctx, name, "nil") },
		"Elixir.Node:self/0":          func() ei.Atom { return ei.Atom(b.n.Name()) },
		"Elixir.Node:alive?/0":        func() bool { return true },
		"Elixir.Node:list/0":          func() (ei.List, error) { return b.nodes(ei.Atom("visible")) },
		"Elixir.Node:list/1":          b.nodes,
		"Elixir.System:version/0":     func() string { return elixirVersion() },
		"Elixir.System:pid/0":         b.elixirPid,
	}
	maps.Copy(all, b.dashboard())
	table := map[string]map[string]map[int]nodes.Func{}
	add := func(module, name string, arity int, f any) {
		if table[module] == nil {
			table[module] = map[string]map[int]nodes.Func{}
		}
		if table[module][name] == nil {
			table[module][name] = map[int]nodes.Func{}
		}
		table[module][name][arity] = nodes.FuncOf(f)
	}
	add("nodes", "module_info", 0, func() ei.Term { return ei.List{} }) // of which servers are: see initialCall
	for name, f := range all {
		module, name, _ := strings.Cut(name, ":")
		name, arity, _ := strings.Cut(name, "/")
		n, _ := strconv.Atoi(arity)
		add(module, name, n, f)
	}
	for module := range table {
		add(module, "module_info", 0, func() ei.List { return b.moduleInfo(module) })
		add(module, "module_info", 1, func(key ei.Atom) (ei.Term, error) { return find(b.moduleInfo(module), key) })
	}
	return table
}

// find is the value of a key of a property list.
func find(list ei.List, key ei.Atom) (ei.Term, error) {
	for _, e := range list {
		if p := e.(ei.Tuple); p[0] == key {
			return p[1], nil
		}
	}
	return nil, badarg
}

// findEach is the value of a key, or for a list of keys a list of {Key, Value}.
func findEach(list ei.List, of ei.Term) (ei.Term, error) {
	keys, ok := ei.Elements(of)
	if !ok {
		key, _ := of.(ei.Atom)
		return find(list, key)
	}
	found := ei.List{}
	for _, key := range keys {
		name, _ := key.(ei.Atom)
		v, err := find(list, name)
		if err != nil {
			return nil, err
		}
		found = append(found, ei.Tuple{key, v})
	}
	return found, nil
}

func (b *observer) moduleInfo(module string) ei.List {
	exports, attributes := ei.List{}, ei.List{}
	for name, of := range b.table[module] {
		for arity := range of {
			exports = append(exports, ei.Tuple{ei.Atom(name), ei.Int(arity)})
		}
	}
	if module == "nodes" {
		attributes = append(attributes, pair("behaviour", ei.List{ei.Atom("gen_server")}))
	}
	return ei.List{
		pair("module", ei.Atom(module)), pair("exports", exports), pair("functions", exports), pair("attributes", attributes),
		pair("compile", ei.List{pair("version", otp.Charlist(runtime.Version()))}), pair("native", bool2atom(true)),
	}
}

// halt stops the node, if that is allowed.
func (b *observer) halt(ctx context.Context, module, name ei.Atom, arity int) (any, error) {
	if b.opts.Stop == nil {
		b.n.Logger().Warn("a peer wants to stop the node, which Options.Stop does not allow", "peer", b.asker(ctx))
		return nil, refused(module, name, arity, noStop)
	}
	b.stop.Do(func() {
		b.n.Logger().Info("a peer stops the node", "peer", b.asker(ctx))
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := b.opts.Stop(ctx); err != nil {
				b.n.Logger().Error("the node that a peer stops has not ended in order", "error", err)
			}
		}()
	})
	return ei.Atom("ok"), nil
}

// refuseCode answers who wants to have code of a BEAM loaded: recon, observer_cli, LiveDashboard.
func (b *observer) refuseCode(ctx context.Context, module ei.Atom, _, _ ei.Term) ei.Term {
	peer := ""
	if c := nodes.ConnOf(ctx); c != nil {
		peer = c.Name()
	}
	b.n.Logger().Info("code is not loaded", "module", string(module), "peer", peer)
	return ei.Tagged("error", ei.Atom("badfile"))
}

func (b *observer) isLoaded(module ei.Atom) bool {
	return b.table[string(module)] != nil || b.n.Exposed()[string(module)] != nil
}

func (b *observer) isExported(module, name ei.Atom, arity int) bool {
	if of := b.table[string(module)][string(name)]; of != nil {
		return of[arity] != nil
	}
	if name == "module_info" && arity < 2 && b.isLoaded(module) { // the node has that
		return true
	}
	return slices.Contains(b.n.Exposed()[string(module)], string(name)) // with any arity
}

func (b *observer) whereLoaded(module ei.Atom) ei.Term {
	if b.isLoaded(module) {
		return pair("file", otp.Charlist("go"))
	}
	return ei.Atom("false")
}

func (b *observer) modules() (list []ei.Atom) {
	for module := range b.n.Exposed() {
		list = append(list, ei.Atom(module))
	}
	return list
}

func (b *observer) allLoaded() ei.List {
	list := ei.List{}
	for _, module := range b.modules() {
		list = append(list, ei.Tuple{module, otp.Charlist("go")})
	}
	return list
}

// application is what application:which_applications/0 says of the program.
func (b *observer) application() ei.Tuple {
	return ei.Tuple{ei.Atom(b.opts.Application), otp.Charlist(b.opts.Description), otp.Charlist(b.opts.Version)}
}

func (b *observer) applications() ei.List { return ei.List{b.application()} }

func (b *observer) applicationKey(app, key ei.Atom) ei.Term {
	if string(app) == b.opts.Application {
		if at := slices.Index([]ei.Atom{"", "description", "vsn"}, key); at > 0 {
			return pair("ok", b.application()[at])
		}
	}
	return ei.Atom("undefined")
}

// master stands for the application master, of which there is none: net_kernel.
func (b *observer) master(app ei.Atom) ei.Term {
	if kernel := b.n.Whereis("net_kernel"); kernel != nil && string(app) == b.opts.Application {
		return kernel.Pid()
	}
	return ei.Atom("undefined")
}

// child is application_master:get_child/1, {Pid, App}: a supervisor, since tools ask it for its
// children. Without one it is, of the processes that stand below the application, one that has
// others below it, if there is one.
func (b *observer) child(master ei.Pid) (ei.Term, error) {
	if b.master(ei.Atom(b.opts.Application)) != ei.Term(master) {
		return nil, badarg
	}
	supervisors := ei.Atom(reflect.TypeFor[nodes.Node]().PkgPath() + "/supervisor") // the package
	all, parents := b.branches(), map[ei.Pid]bool{}
	for _, p := range all {
		parents[p.Parent] = parents[p.Parent] || !p.root
	}
	child, best := master, 0
	for _, p := range all {
		rank := 0
		switch supervises := p.Runs.Module == supervisors; {
		case supervises && p.root:
			rank = 4
		case supervises:
			rank = 3
		case p.root && parents[p.Pid]:
			rank = 2
		case p.root:
			rank = 1
		}
		if rank > best {
			child, best = p.Pid, rank
		}
	}
	return ei.Tuple{child, ei.Atom(b.opts.Application)}, nil
}

// status is init:get_status/0.
func (b *observer) status() ei.Term {
	state := ei.Atom("started")
	switch s := b.n.State(); {
	case s < nodes.StateRunning:
		state = "starting"
	case s > nodes.StateRunning:
		state = "stopping"
	}
	return ei.Tuple{state, state}
}
