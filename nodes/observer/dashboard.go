package observer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/introspect"
)

// What Phoenix LiveDashboard asks, by a module of its own that it would otherwise load into the
// node: see lib/phoenix/live_dashboard/system_info.ex there.

const systemInfo = "Elixir.Phoenix.LiveDashboard.SystemInfo"

func (b *observer) dashboard() map[string]any {
	all := map[string]any{}
	for name, f := range map[string]any{
		"capabilities_callback/1": b.capabilities,
		"info_callback/2":         b.info, "usage_callback/0": b.usage, "env_info_callback/1": b.envInfo,
		"processes_callback/5": b.listProcesses, "process_info_callback/1": b.processDetails,
		"applications_info_callback/4": b.listApplications, "app_tree_callback/1": b.appTree,
		"memory_allocators_callback/1": b.allocators,
		"ports_callback/4":             noRows, "ets_callback/4": noRows, "sockets_callback/4": noRows,
		"port_info_callback/1": isGone, "ets_info_callback/1": isGone, "socket_info_callback/1": isGone,
		"__info__/1": func(key ei.Term) ei.Term { return ei.List{} },
	} {
		all[systemInfo+":"+name] = f
	}
	return all
}

func noRows(_, _, _, _ ei.Term) ei.Term { return ei.Tuple{ei.List{}, ei.Int(0)} }

func isGone(ei.Term) ei.Atom { return "error" }

// capabilities says that there is a dashboard here, which is why no code comes.
func (b *observer) capabilities(requirements ei.Term) ei.Term {
	processes := ei.List{}
	list, _ := ei.Elements(requirements)
	for _, r := range list {
		if t, ok := r.(ei.Tuple); ok && len(t) == 2 && t[0] == ei.Atom("process") {
			if name, ok := t[1].(ei.Atom); ok && b.n.Whereis(string(name)) != nil {
				processes = append(processes, name)
			}
		}
	}
	return ei.MapOf(ei.Atom("system_info"), ei.Binary("go"), ei.Atom("dashboard_running?"), ei.Atom("true"),
		ei.Atom("applications"), ei.List{}, ei.Atom("modules"), ei.List{}, ei.Atom("processes"), processes)
}

func (b *observer) systemItem(name string) ei.Term {
	v, _ := b.systemInfo(ei.Atom(name))
	return v
}

func (b *observer) info(keys, app ei.Term) ei.Term {
	version := ei.Term(ei.Binary(b.opts.Application + " " + b.opts.Version))
	return ei.MapOf(
		ei.Atom("system_info"), ei.MapOf(ei.Atom("banner"), b.systemItem("system_version"), ei.Atom("elixir_version"), ei.Binary("None"),
			ei.Atom("phoenix_version"), ei.Binary("None"), ei.Atom("app_version"), version,
			ei.Atom("system_architecture"), b.systemItem("system_architecture")),
		ei.Atom("system_limits"), ei.MapOf(ei.Atom("atoms"), b.systemItem("atom_limit"), ei.Atom("ports"), b.systemItem("port_limit"),
			ei.Atom("processes"), b.systemItem("process_limit")),
		ei.Atom("system_usage"), b.usage(), ei.Atom("environment"), b.envInfo(keys))
}

func (b *observer) usage() ei.Term {
	of := map[ei.Atom]ei.Int{}
	for _, p := range b.memory() {
		of[p.(ei.Tuple)[0].(ei.Atom)] = p.(ei.Tuple)[1].(ei.Int)
	}
	t, run := b.io(), runnable()
	return ei.MapOf(ei.Atom("atoms"), ei.Int(0), ei.Atom("ports"), b.systemItem("port_count"),
		ei.Atom("processes"), b.systemItem("process_count"),
		ei.Atom("io"), ei.Tuple{ei.Int(t.in), ei.Int(t.out)}, ei.Atom("uptime"), ei.Int(time.Since(b.began).Milliseconds()),
		ei.Atom("memory"), ei.MapOf(ei.Atom("total"), of["total"], ei.Atom("process"), of["processes"], ei.Atom("atom"), ei.Int(0),
			ei.Atom("binary"), of["binary"], ei.Atom("code"), ei.Int(0), ei.Atom("ets"), ei.Int(0),
			ei.Atom("other"), of["total"]-of["processes"]-of["binary"]),
		ei.Atom("total_run_queue"), run, ei.Atom("cpu_run_queue"), run)
}

// envInfo has the values of environment variables, nil for those that may not be seen.
func (b *observer) envInfo(keys ei.Term) ei.Term {
	list, ok := ei.Elements(keys)
	if !ok {
		return ei.Atom("nil")
	}
	pairs := ei.List{}
	for _, key := range list {
		name, _ := key.(ei.Binary)
		v := ei.Term(ei.Atom("nil"))
		if value, ok := b.env(string(name)); ok {
			v = ei.Binary(value)
		}
		pairs = append(pairs, ei.Tuple{key, v})
	}
	return pairs
}

// A row is a process in LiveDashboard's list.
type row struct {
	introspect.Process
	name string
	key  int
}

// listProcesses is a page of the processes, and how many messages each has handled so far.
func (b *observer) listProcesses(search ei.Optional[string], by, dir ei.Atom, limit int, before ei.Term) (ei.Term, error) {
	handled := map[ei.Pid]int64{}
	if m, ok := before.(ei.Map); ok {
		for _, p := range m {
			pid, _ := p.Key.(ei.Pid)
			n, _ := p.Value.(ei.Int)
			handled[pid] = int64(n)
		}
	}
	var rows []row
	now := ei.Map{}
	for p := range b.n.Processes() {
		r := row{Process: p, name: nameOf(&p)}
		if !strings.Contains(strings.ToLower(r.name), search.Value) && !strings.Contains(pidText(p.Pid), search.Value) {
			continue
		}
		switch by {
		case "memory":
			r.key = p.Memory()
		case "reductions":
			r.key = int(p.Handled)
		case "reductions_diff":
			r.key = int(int64(p.Handled) - handled[p.Pid])
		case "message_queue_len":
			r.key = p.Queue
		default:
			return nil, badarg
		}
		rows = append(rows, r)
		now = append(now, ei.Pair{Key: p.Pid, Value: ei.Int(p.Handled)})
	}
	count := len(rows)
	slices.SortFunc(rows, func(x, y row) int {
		order := cmp.Compare(x.key, y.key)
		if dir == "desc" {
			order = -order
		}
		return cmp.Or(order, x.Pid.Compare(y.Pid))
	})
	shown := ei.List{}
	for _, r := range rows[:min(max(limit, 0), count)] {
		shown = append(shown, ei.List{pair("pid", r.Pid), pair("name_or_initial_call", ei.Binary(r.name)),
			pair("reductions_diff", ei.Int(int64(r.Handled)-handled[r.Pid])), pair("memory", ei.Int(r.Memory())),
			pair("reductions", ei.Int(r.Handled)), pair("message_queue_len", ei.Int(r.Queue)), pair("current_function", term(current(&r.Process)))})
	}
	return ei.Tuple{shown, ei.Int(count), now}, nil
}

// pidText is a pid as its own node would write it.
func pidText(pid ei.Pid) string { return fmt.Sprintf("<0.%d.%d>", pid.ID, pid.Serial) }

// details is a %ProcessDetails{}.
func (b *observer) details(pid ei.Pid) ei.Term {
	name, call := ei.Term(ei.Atom("nil")), ei.Term(ei.Atom("nil"))
	if d, ok := b.n.Process(pid); ok {
		name, call = ei.Binary(nameOf(&d.Process)), term(runs(&d.Process))
	}
	return ei.MapOf(ei.Atom("__struct__"), ei.Atom(systemInfo+".ProcessDetails"), ei.Atom("pid"), pid,
		ei.Atom("name_or_initial_call"), name, ei.Atom("initial_call"), call)
}

func (b *observer) processDetails(pid ei.Pid) (ei.Term, error) {
	d, ok, err := b.process(pid)
	if !ok {
		return ei.Atom("error"), err
	}
	all := func(pids []ei.Pid) ei.List {
		list := ei.List{}
		for _, pid := range pids {
			list = append(list, b.details(pid))
		}
		return list
	}
	var monitored []ei.Pid
	for _, t := range d.Monitoring {
		if t.Name == "" {
			monitored = append(monitored, t.Pid)
		}
	}
	ancestors, label := ei.List{}, ei.Term(ei.Atom("nil"))
	if d.Parent != (ei.Pid{}) {
		ancestors = append(ancestors, b.details(d.Parent))
	}
	if d.Label != nil {
		label = d.Label
	}
	leader, _ := b.item(&d, ei.Atom("group_leader")).(ei.Pid)
	list := ei.List{pair("initial_call", term(runs(&d.Process))), pair("ancestors", ancestors), pair("label", label),
		pair("links", all(d.LinkedWith)),
		pair("monitors", all(monitored)), pair("monitored_by", all(d.Watchers)), pair("group_leader", b.details(leader))}
	for _, key := range []ei.Atom{"registered_name", "current_function", "status", "message_queue_len", "trap_exit", "error_handler",
		"priority",
		"total_heap_size", "heap_size", "stack_size", "reductions", "garbage_collection", "suspending", "current_stacktrace"} {
		list = append(list, ei.Tuple{key, b.item(&d, key)})
	}
	return pair("ok", list), nil
}

func (b *observer) listApplications(search ei.Optional[string], _, _ ei.Atom, limit int) ei.Term {
	o := &b.opts
	want := search.Value
	shown := strings.Contains(o.Application, want) || strings.Contains(strings.ToLower(o.Description), want) ||
		strings.Contains(o.Version, want)
	if !shown {
		return noRows(nil, nil, nil, nil)
	}
	apps := ei.List{}
	if limit > 0 {
		apps = append(apps, ei.List{pair("name", ei.Atom(o.Application)), pair("description", ei.Binary(o.Description)),
			pair("version", ei.Binary(o.Version)), pair("state", ei.Atom("started")), pair("tree?", ei.Atom("true"))})
	}
	return ei.Tuple{apps, ei.Int(1)}
}

func (b *observer) appTree(app ei.Atom) ei.Term {
	master, ok := b.master(app).(ei.Pid)
	if !ok {
		return ei.Atom("error")
	}
	all := b.branches()
	children := map[ei.Pid][]int{}
	for i, p := range all {
		if !p.root {
			children[p.Parent] = append(children[p.Parent], i)
		}
	}
	var grow func(i, depth int) ei.Term
	grow = func(i, depth int) ei.Term {
		kind, below := ei.Atom("worker"), ei.List{}
		if of := children[all[i].Pid]; len(of) > 0 && depth < maxDepth {
			kind = "supervisor"
			for _, child := range of {
				below = append(below, grow(child, depth+1))
			}
		}
		return ei.Tuple{ei.Tuple{kind, all[i].Pid, ei.Binary(all[i].name)}, below}
	}
	top := ei.List{}
	for i, p := range all {
		if p.root {
			top = append(top, grow(i, 0))
		}
	}
	return ei.Tuple{ei.Tuple{ei.Atom("master"), master, ei.List{}}, top}
}

// maxDepth is how deep a tree is shown.
const maxDepth = 50

// allocators are the parts of the memory, and the most that each has had.
func (b *observer) allocators(before ei.Term) ei.Term {
	was, _ := before.(ei.Map)
	rows, most := ei.List{}, ei.Map{}
	total := allocator{name: "total"}
	all := allocators()
	for _, a := range all {
		total.used, total.mapped = total.used+a.used, total.mapped+a.mapped
	}
	for _, a := range append([]allocator{total}, all...) {
		v, _ := was.Get(a.name)
		n, _ := v.(ei.Int)
		n = max(n, ei.Int(a.mapped))
		most = append(most, ei.Pair{Key: a.name, Value: n})
		rows = append(rows, ei.MapOf(ei.Atom("name"), a.name, ei.Atom("block_size"), ei.Int(a.used),
			ei.Atom("carrier_size"), ei.Int(a.mapped), ei.Atom("max_carrier_size"), n))
	}
	return ei.Tuple{rows, most}
}
