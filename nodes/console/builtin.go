package console

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"slices"
	"strings"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/introspect"
)

// The commands of every node.
func (c *console) builtin() []Command {
	all := []Command{
		{Name: "help", Args: "[COMMAND]", Help: "the commands, or more about one", Func: c.help, Complete: first(c.names)},
		{Name: "node", Help: "how the node is", Func: c.node},
		{Name: "connections", Help: "the nodes that are connected", Func: c.connections},
		{Name: "nodes", Args: "[hidden|connected]", Help: "the visible nodes that are connected", Func: c.nodes, like: "connections",
			Complete: among("visible", "hidden", "connected")},
		{Name: "processes", Args: "[ORDER] [N]", Func: c.processes, Complete: among("queue", "bytes", "memory", "handled", "age"),
			Help: "the first N by queue, bytes (of it), memory, handled, age\nWithout N there are as many as the screen has lines."},
		{Name: "process", Args: "NAME|PID", Help: "one process, with its links and unread messages", Func: c.process,
			Complete: first(c.registered)},
		{Name: "regs", Help: "the processes that have names", Func: c.regs, like: "processes"},
		{Name: "whereis", Args: "NAME", Help: "the process that has a name", Func: c.whereis, like: "processes", Complete: first(c.registered)},
		{Name: "stacks", Args: "[TEXT|PID]", Help: "the stacks of goroutines, or those that contain a text\n" +
			"The program stands still for a moment. Those of a process are known with Config.ProfileLabels.", Func: c.stacks},
		{Name: "memory", Help: "what the Go runtime has its memory for", Func: memory},
		{Name: "gc", Help: "collects garbage, and gives memory back to the system", Func: gc},
		{Name: "rules", Help: "Config.Rules, what was refused or went wrong, the last warnings", Func: c.rules},
		{Name: "drain", Help: "the node is not found any more, and serves on; there is no way back", Func: c.drain},
		{Name: "quit", Help: "leaves; a node that was started by -remsh ends", Func: func() error { return errQuit }},
	}
	if c.opts.Level != nil {
		all = append(all, Command{Name: "level", Args: "[LEVEL]", Help: "the level of the log; debug, info, warn, error change it",
			Func: c.level, Complete: among("debug", "info", "warn", "error")})
	}
	if c.opts.Log != nil {
		all = append(all, Command{Name: "trace", Args: "on|off|NAME|PID", Func: c.trace,
			Complete: first(func(ctx context.Context) []string { return append(c.registered(ctx), "on", "off") }),
			Help:     "the log, of all levels, on this screen, until off\nWith a server also its messages, as by sys:trace/2."})
	}
	if c.opts.Upgrade != nil {
		all = append(all, Command{Name: "upgrade", Help: "replaces the program; this session ends when the node moves", Func: c.upgrade})
	}
	return all
}

func (c *console) help(ctx context.Context, name ...string) (Text, error) {
	s, t := of(ctx), table{}
	for _, cmd := range c.available(s.user()) {
		usage := strings.TrimSpace(cmd.Name + " " + cmd.Args)
		if len(name) == 0 {
			first, _, _ := strings.Cut(cmd.Help, "\n")
			t.add(usage, first)
		} else if name[0] == cmd.Name {
			return Text(usage + "\n" + cmd.Help + "\n"), nil
		}
	}
	if len(name) > 0 {
		return "", fmt.Errorf("there is no command %s%s", name[0], s.meant(name[0], 0))
	}
	example, _ := s.show(ei.Tuple{ei.Atom("order"), ei.Binary("A-100"), ei.Int(3)})
	call := "Module:Function(Arguments)"
	if s.elixir {
		call = ":module.function(arguments)"
	}
	return t.text(ctx) + Text("Arguments are terms, "+example+"; a word is an atom, or text where text is due.\n"+
		call+" calls what the program exposes; sys:get_state(NAME) asks a process.\n"), nil
}

func (c *console) node(ctx context.Context) Text {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s, program := c.n.Stats(), ""
	if info, ok := debug.ReadBuildInfo(); ok {
		program = info.Main.Path + " " + info.Main.Version
	}
	return table{
		{"name", c.n.Name()}, {"state", c.n.State()}, {"published", s.Published}, {"program", program},
		{"go", fmt.Sprintf("%s, GOMAXPROCS %d, %d goroutines", runtime.Version(), runtime.GOMAXPROCS(0), runtime.NumGoroutine())},
		{"memory", fmt.Sprintf("%s, %s of objects, %d collections", size(m.Sys), size(m.HeapAlloc), m.NumGC)}, {"up", ago(c.began)},
		{"connections", fmt.Sprintf("%d, %d ever", len(s.Peers), s.Connections)}, {"processes", s.Mailboxes},
		{"functions", fmt.Sprintf("%d run, %d wait", s.Calls, s.CallsWaiting)},
	}.text(ctx)
}

func (c *console) connections(ctx context.Context) Text {
	peers := c.n.Stats().Peers
	slices.SortFunc(peers, func(a, b nodes.PeerStats) int { return strings.Compare(a.Name, b.Name) })
	t := table{{"NODE", "KIND", "ADDRESS", "IN", "BYTES", "OUT", "BYTES", "QUEUED"}}
	for _, p := range peers {
		if conn := c.n.Conn(p.Name); conn != nil {
			t.add(p.Name, kindOf(conn), conn.Stream().RemoteAddr(), p.MessagesReceived, size(p.BytesReceived), p.MessagesSent, size(p.BytesSent),
				size(p.BytesQueued))
		}
	}
	return t.text(ctx)
}

// kindOf is what nodes/1 calls a peer: hidden or visible.
func kindOf(conn *nodes.Conn) ei.Atom {
	if conn.Peer().Flags.Has(dist.FlagPublished) {
		return "visible"
	}
	return "hidden"
}

func (c *console) nodes(kinds ...ei.Atom) (ei.List, error) {
	kind := append(kinds, "visible")[0]
	if !slices.Contains([]ei.Atom{"visible", "hidden", "connected"}, kind) {
		return nil, fmt.Errorf("no kind of nodes: %s", kind)
	}
	list := ei.List{}
	for _, p := range c.n.Stats().Peers {
		if conn := c.n.Conn(p.Name); conn != nil && (kind == "connected" || kind == kindOf(conn)) {
			list = append(list, ei.Atom(p.Name))
		}
	}
	slices.SortFunc(list, ei.Compare)
	return list, nil
}

func (c *console) regs(ctx context.Context) Text {
	s, rows := of(ctx), table{}
	for p := range c.n.Processes() {
		for _, name := range p.Names {
			rows.add(s.atom(name), s.pid(p.Pid), p.Kind, p.Queue)
		}
	}
	slices.SortFunc(rows, func(a, b []any) int { return cmp.Compare(a[0].(string), b[0].(string)) })
	return append(table{{"NAME", "PID", "KIND", "QUEUE"}}, rows...).text(ctx)
}

func (c *console) whereis(ctx context.Context, name ei.Atom) Text {
	s := of(ctx)
	if b := c.n.Whereis(string(name)); b != nil {
		return Text(s.pid(b.Pid()) + "\n")
	}
	none := ei.Atom("undefined")
	if s.elixir {
		none = "nil"
	}
	text, _ := s.show(none)
	return Text(text + "\n")
}

// orders have what is greatest first.
var orders = map[ei.Atom]func(p *introspect.Process) int64{
	"queue":   func(p *introspect.Process) int64 { return int64(p.Queue) },
	"bytes":   func(p *introspect.Process) int64 { return int64(p.QueueBytes) },
	"memory":  func(p *introspect.Process) int64 { return int64(p.Memory()) },
	"handled": func(p *introspect.Process) int64 { return int64(p.Handled) },
	"age": func(p *introspect.Process) int64 {
		if p.Started.IsZero() { // a call in progress
			return math.MinInt64
		}
		return -p.Started.UnixNano()
	},
}

func (c *console) processes(ctx context.Context, args ...ei.Term) (Text, error) {
	s, order, most := of(ctx), orders["queue"], 20
	if rows, err := s.screen.Rows(); err == nil {
		most = max(3, rows-3)
	}
	for _, arg := range args {
		name, _ := arg.(ei.Atom)
		if n, ok := arg.(ei.Int); ok {
			most = int(max(0, min(n, 10_000)))
		} else if order = orders[name]; order == nil {
			return "", fmt.Errorf("no order: %s", ei.Brief(arg, 100))
		}
	}
	all := slices.Collect(c.n.Processes())
	slices.SortStableFunc(all, func(a, b introspect.Process) int { return cmp.Compare(order(&b), order(&a)) })
	t := table{{"PID", "NAME", "KIND", "QUEUE", "BYTES", "MEMORY", "HANDLED", "AGE"}}
	for _, p := range all[:min(most, len(all))] {
		name := p.Runs.String()
		if len(p.Names) > 0 {
			name = s.atom(p.Names[0])
		} else if p.Label != nil {
			name, _ = s.show(p.Label)
		}
		t.add(s.pid(p.Pid), name, p.Kind, p.Queue, size(p.QueueBytes), size(p.Memory()), p.Handled, ago(p.Started))
	}
	text := t.text(ctx)
	if len(all) > most {
		text += Text(fmt.Sprintf("%d of %d\n", most, len(all)))
	}
	return text, nil
}

// pidOf is the process that an argument means.
func (c *console) pidOf(which ei.Term) (ei.Pid, error) {
	if name, ok := which.(ei.Atom); ok {
		if b := c.n.Whereis(string(name)); b != nil {
			return b.Pid(), nil
		}
	}
	pid, ok := which.(ei.Pid)
	if !ok {
		var names []string
		for p := range c.n.Processes() {
			for _, name := range p.Names {
				names = append(names, string(name))
			}
		}
		typed := ei.Brief(which, 100)
		return pid, fmt.Errorf("no process has the name %s%s", typed, meant(typed, names))
	}
	return pid, nil
}

func (c *console) process(ctx context.Context, which ei.Term) (Text, error) {
	pid, err := c.pidOf(which)
	d, ok := c.n.Process(pid)
	if err != nil || !ok {
		return "", cmp.Or(err, errors.New("there is no such process"))
	}
	s := of(ctx)
	shown := func(t ei.Term) string { text, _ := s.show(t); return text }
	t := table{
		{"pid", s.pid(d.Pid)}, {"names", some(d.Names, s.atom)}, {"kind", d.Kind}, {"runs", d.Runs.String()},
		{"parent", s.pid(d.Parent)},
		{"is", fmt.Sprintf("running %t, suspended %t, traps exits %t", d.Running, d.Suspended, d.TrapExit)},
		{"age", ago(d.Started)}, {"handled", d.Handled}, {"unread", fmt.Sprintf("%d, %s", d.Queue, size(d.QueueBytes))},
		{"memory", size(d.Memory())}, {"links", some(d.LinkedWith, s.pid)}, {"monitored by", some(d.Watchers, s.pid)},
		{"monitors", some(d.Monitoring, func(m introspect.Target) string { return cmp.Or(s.pid(m.Pid), s.atom(m.Name)+" at "+m.Node) })},
		{"messages", some(d.Messages, func(m ei.Raw) string { return shown(m) })},
	}
	if d.Label != nil {
		t.add("label", shown(d.Label))
	}
	return slices.DeleteFunc(t, func(row []any) bool { return row[1] == "" }).text(ctx), nil
}

// some are the first ones of a list, as text.
func some[T any](list []T, text func(T) string) string {
	const most = 10
	var words []string
	for _, e := range list[:min(len(list), most)] {
		words = append(words, text(e))
	}
	if len(list) > most {
		words = append(words, fmt.Sprintf("and %d more", len(list)-most))
	}
	return strings.Join(words, ", ")
}

func (c *console) stacks(ctx context.Context, which ...ei.Term) (Text, error) {
	const most = 400 // lines
	filter := ""
	if len(which) > 0 {
		if pid, ok := which[0].(ei.Pid); ok {
			d, _ := c.n.Process(pid)
			if filter = fmt.Sprintf(`"process":%q`, d.Goroutine); d.Goroutine == "" {
				return "", errors.New("its goroutine is not known: see Config.ProfileLabels")
			}
		} else if err := (ei.DecodeOptions{AtomText: true, LenientText: true}).Unmarshal(which[0], &filter); err != nil {
			return "", err
		}
	}
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return "", err
	}
	text, lines, left := "", 0, 0
	for group := range strings.SplitSeq(strings.TrimSpace(profile.String()), "\n\n") {
		if !strings.Contains(group, filter) {
			continue
		}
		if lines += strings.Count(group, "\n") + 2; lines > most {
			left++
			continue
		}
		text += group + "\n\n"
	}
	if left > 0 {
		text += fmt.Sprintf("%d more: stacks TEXT has those that contain it\n", left)
	}
	return Text(text), nil
}

func memory(ctx context.Context) Text {
	var samples []metrics.Sample
	for _, d := range metrics.All() {
		if strings.HasSuffix(d.Name, ":bytes") && d.Kind == metrics.KindUint64 {
			samples = append(samples, metrics.Sample{Name: d.Name})
		}
	}
	metrics.Read(samples)
	t := table{}
	for _, m := range samples {
		t.add(strings.TrimSuffix(m.Name, ":bytes"), size(m.Value.Uint64()))
	}
	return t.text(ctx)
}

func gc() Text {
	var was, is runtime.MemStats
	runtime.ReadMemStats(&was)
	debug.FreeOSMemory() // collects first
	runtime.ReadMemStats(&is)
	return Text(fmt.Sprintf("%s of objects, was %s; %s from the system, was %s\n",
		size(is.HeapAlloc), size(was.HeapAlloc), size(is.Sys-is.HeapReleased), size(was.Sys-was.HeapReleased)))
}

func (c *console) rules(ctx context.Context) Text {
	t := table{{"RULE", "PEER", "OPERATION", "TARGET"}}
	for _, r := range c.n.Rules() {
		does := map[bool]string{true: "allow", false: "refuse"}[r.Allow]
		t.add(does, cmp.Or(r.Peer, "*"), cmp.Or(r.Permission.String(), "*"), cmp.Or(r.Target, "*"))
	}
	if len(t) == 1 {
		t.add("allow", "*", "*", "*")
	}
	s := c.n.Stats()
	text := t.text(ctx) + table{
		{"refused by rules", s.Denied}, {"handshakes that failed", s.HandshakesFailed}, {"malformed", s.Malformed},
		{"messages to nobody", s.Undeliverable}, {"calls refused, too many wait", s.CallsRefused}, {"mailboxes ended, full", s.MailboxesFull},
	}.text(ctx)
	if c.opts.Log != nil {
		c.opts.Log.seen.mu.Lock()
		defer c.opts.Log.seen.mu.Unlock()
		text += Text(strings.Join(c.opts.Log.seen.warnings, ""))
	}
	return text
}

func (c *console) level(ctx context.Context, level ...string) (Text, error) {
	if len(level) > 0 {
		var to slog.Level
		if err := to.UnmarshalText([]byte(level[0])); err != nil {
			return "", fmt.Errorf("there is no level %s: debug, info, warn or error, or one of these with an offset, as warn+2", level[0])
		}
		c.opts.Level.Set(to)
		c.log(ctx, "the console has changed the level of the log", "level", to)
	}
	return Text(strings.ToLower(c.opts.Level.Level().String()) + "\n"), nil
}

// log says who changes how the node runs.
func (c *console) log(ctx context.Context, what string, args ...any) {
	c.n.Logger().Warn(what, append(args, "peer", string(of(ctx).leader.Node))...)
}

func (c *console) drain(ctx context.Context) (Text, error) {
	c.log(ctx, "the node drains, by the console")
	return Text("it drains\n"), c.n.Drain(ctx)
}

func (c *console) upgrade(ctx context.Context) (Text, error) {
	c.log(ctx, "an upgrade begins, by the console")
	of(ctx).print("the upgrade begins; if it succeeds, this session ends: connect again\n")
	err := c.opts.Upgrade(context.WithoutCancel(ctx))
	c.log(ctx, "the upgrade by the console is over", "error", err)
	return "it is done\n", err
}
