package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/introspect"
)

// The commands of every node.

var errQuit = errors.New("the user leaves")

func (c *console) builtin() []Command {
	all := []Command{
		{Name: "help", Args: "[COMMAND]", Help: "the commands, or all about one", Func: c.help,
			Complete: func(ctx context.Context, _ []string, _ string) []string { return of(ctx).names() }},
		{Name: "node", Help: "how the node is", Func: c.node},
		{Name: "connections", Help: "the nodes that are connected", Func: c.connections},
		{Name: "processes", Args: "[queue|bytes|memory|handled|age] [N]", Func: c.processes,
			Help:     "the first N processes by unread messages, or bytes of these, …\nWithout N there are as many as the screen has lines.",
			Complete: among("queue", "bytes", "memory", "handled", "age")},
		{Name: "process", Args: "NAME|PID", Help: "one process, with its links and unread messages", Func: c.process, Complete: c.processNames},
		{Name: "stacks", Args: "[TEXT|PID]", Func: c.stacks,
			Help: "the stacks of goroutines, or those that contain a text\nThe program stands still for a moment. " +
				"Those of a process are known with Config.ProfileLabels."},
		{Name: "memory", Help: "what the Go runtime's memory is used for", Func: memory},
		{Name: "gc", Help: "collects garbage, and gives memory back to the system", Func: gc},
		{Name: "rules", Help: "Config.Rules, refusals and other faults, the last warnings", Func: c.rules},
		{Name: "drain", Help: "the node is not found any more, and serves on; there is no way back", Func: c.drain},
		{Name: "quit", Help: "leaves; a node that was started by -remsh ends", Func: func() error { return errQuit }},
		{Name: "q", Help: "quit", Func: func() error { return errQuit }},
	}
	if c.opts.Level != nil {
		all = append(all, Command{Name: "level", Args: "[debug|info|warn|error]", Help: "the level of the program's log, or changes it",
			Func: c.level, Complete: among("debug", "info", "warn", "error")})
	}
	if c.opts.Log != nil {
		all = append(all, Command{Name: "trace", Args: "on|off|NAME|PID", Func: c.trace,
			Help: "the log, whatever its level, on this screen, until off\nWith a server's name its messages as well, as by sys:trace/2.",
			Complete: func(ctx context.Context, args []string, prefix string) []string {
				return append(c.processNames(ctx, args, prefix), among("on", "off")(ctx, args, prefix)...)
			}})
	}
	if c.opts.Upgrade != nil {
		all = append(all, Command{Name: "upgrade", Func: c.upgrade,
			Help: "replaces the program; the session ends when the node moves to the new one"})
	}
	return all
}

// mayHave tells whether the rules let a peer have a command with few arguments, however many.
func (c *console) mayHave(peer, name string) bool {
	for arity := range 4 {
		if c.n.Allows(peer, nodes.OpCall, "console", name, arity) {
			return true
		}
	}
	return false
}

func (c *console) help(ctx context.Context, names ...string) (Text, error) {
	s := of(ctx)
	if len(names) > 0 {
		cmd, err := c.find(string(s.leader.Node), names[0], 1)
		if err != nil {
			return "", err
		}
		return Text(fmt.Sprintf("%s %s\n%s\n", cmd.Name, cmd.Args, cmd.Help)), nil
	}
	t := table{}
	for _, name := range s.names() {
		cmd, _ := c.find(string(s.leader.Node), name, 0)
		if cmd == nil || name == "q" {
			continue
		}
		line, _, _ := strings.Cut(cmd.Help, "\n")
		t.add(strings.TrimSpace(cmd.Name+" "+cmd.Args), line)
	}
	example := `{order,"A-100",3} <<"text">>`
	if s.elixir {
		example = `{:order, "A-100", 3} %{qty: 3}`
	}
	return t.text(ctx) + Text("Arguments are terms: "+example+"; a word is an atom, or text where text is due.\n"), nil
}

func (c *console) node(ctx context.Context) Text {
	s := c.n.Stats()
	m := figures("/memory/classes/total:bytes", "/memory/classes/heap/objects:bytes", "/gc/cycles/total:gc-cycles")
	t := table{}
	t.add("name", c.n.Name())
	t.add("state", c.n.State().String())
	t.add("console since", ago(c.began))
	t.add("go", fmt.Sprintf("%s, GOMAXPROCS %d, %d goroutines", runtime.Version(), runtime.GOMAXPROCS(0), runtime.NumGoroutine()))
	if info, ok := debug.ReadBuildInfo(); ok {
		t.add("program", strings.TrimSpace(info.Main.Path+" "+info.Main.Version))
	}
	t.add("memory", fmt.Sprintf("%s from the system, %s of objects, %d collections", size(m[0]), size(m[1]), m[2]))
	t.add("connections", fmt.Sprintf("%d, %d ever", len(s.Peers), s.Connections))
	t.add("processes", fmt.Sprint(s.Mailboxes))
	t.add("functions", fmt.Sprintf("%d run, %d wait", s.Calls, s.CallsWaiting))
	t.add("published", fmt.Sprint(s.Published))
	return t.text(ctx)
}

func (c *console) connections(ctx context.Context) Text {
	t := table{}
	t.add("NODE", "KIND", "ADDRESS", "IN", "BYTES", "OUT", "BYTES", "QUEUED")
	peers := c.n.Stats().Peers
	slices.SortFunc(peers, func(a, b nodes.PeerStats) int { return strings.Compare(a.Name, b.Name) })
	for _, p := range peers {
		kind, addr := "hidden", ""
		if conn := c.n.Conn(p.Name); conn != nil {
			if conn.Peer().Flags.Has(dist.FlagPublished) {
				kind = "visible"
			}
			if a := conn.Stream().RemoteAddr(); a != nil {
				addr = a.String()
			}
		}
		t.add(p.Name, kind, addr, fmt.Sprint(p.MessagesReceived), size(uint64(p.BytesReceived)), fmt.Sprint(p.MessagesSent),
			size(uint64(p.BytesSent)), size(uint64(p.BytesQueued)))
	}
	return t.text(ctx)
}

func (c *console) processes(ctx context.Context, args ...ei.Term) (Text, error) {
	s, by, most := of(ctx), ei.Term(ei.Atom("queue")), 20
	if rows, err := s.screen.Rows(); err == nil {
		most = max(5, rows-3)
	}
	for _, arg := range args {
		if n, ok := arg.(ei.Int); ok {
			most = int(max(0, min(n, 10_000)))
		} else {
			by = arg
		}
	}
	orders := map[ei.Term]func(p *introspect.Process) int64{
		ei.Atom("queue"):   func(p *introspect.Process) int64 { return int64(p.Queue) },
		ei.Atom("bytes"):   func(p *introspect.Process) int64 { return int64(p.QueueBytes) },
		ei.Atom("memory"):  func(p *introspect.Process) int64 { return int64(p.Memory()) },
		ei.Atom("handled"): func(p *introspect.Process) int64 { return int64(p.Handled) },
		ei.Atom("age"):     func(p *introspect.Process) int64 { return -p.Started.UnixNano() },
	}
	order := orders[by]
	if order == nil {
		return "", fmt.Errorf("no order %v: queue, bytes, memory, handled, age", by)
	}
	all, n := []introspect.Process{}, 0
	shrink := func() {
		slices.SortStableFunc(all, func(a, b introspect.Process) int { return cmp.Compare(order(&b), order(&a)) })
		all = all[:min(len(all), most)]
	}
	for p := range c.n.Processes() {
		n++
		if all = append(all, p); len(all) > 2*most+1000 {
			shrink()
		}
	}
	shrink()
	t := table{}
	t.add("PID", "NAME", "KIND", "QUEUE", "BYTES", "MEMORY", "HANDLED", "AGE")
	for _, p := range all {
		t.add(s.pid(p.Pid), s.nameOf(&p), p.Kind.String(), fmt.Sprint(p.Queue), size(uint64(p.QueueBytes)), size(uint64(p.Memory())),
			fmt.Sprint(p.Handled), ago(p.Started))
	}
	text := t.text(ctx)
	if n > len(all) {
		text += Text(fmt.Sprintf("%d of %d\n", len(all), n))
	}
	return text, nil
}

// nameOf is a process's name, label, or function.
func (s *session) nameOf(p *introspect.Process) string {
	switch {
	case len(p.Names) > 0:
		return s.atom(p.Names[0])
	case p.Label != nil:
		text, _ := s.show(p.Label)
		return text
	case p.Runs.Function != "":
		return fmt.Sprintf("%s:%s/%d", p.Runs.Module, p.Runs.Function, p.Runs.Arity)
	}
	return ""
}

func (c *console) processNames(ctx context.Context, args []string, _ string) (names []string) {
	for p := range c.n.Processes() {
		for _, name := range p.Names {
			if len(args) == 0 {
				names = append(names, of(ctx).atom(name))
			}
		}
	}
	return names
}

// pidOf is the process that an argument means.
func (c *console) pidOf(which ei.Term) (ei.Pid, error) {
	if name, ok := which.(ei.Atom); ok {
		b := c.n.Whereis(string(name))
		if b == nil {
			return ei.Pid{}, fmt.Errorf("no process has the name %v", name)
		}
		return b.Pid(), nil
	}
	pid, ok := which.(ei.Pid)
	if !ok {
		return pid, fmt.Errorf("neither a name nor a pid: %s", ei.Brief(which, 100))
	}
	return pid, nil
}

// The most links, monitors and messages of a process that are shown.
const mostShown = 10

func (c *console) process(ctx context.Context, which ei.Term) (Text, error) {
	pid, err := c.pidOf(which)
	d, ok := c.n.Process(pid)
	if err != nil || !ok {
		return "", cmp.Or(err, errors.New("there is no such process"))
	}
	s, t := of(ctx), table{}
	t.add("pid", s.pid(d.Pid))
	for _, name := range d.Names {
		t.add("name", s.atom(name))
	}
	if d.Label != nil {
		text, _ := s.show(d.Label)
		t.add("label", text)
	}
	t.add("kind", d.Kind.String())
	if d.Runs.Function != "" {
		t.add("function", fmt.Sprintf("%s:%s/%d", d.Runs.Module, d.Runs.Function, d.Runs.Arity))
	}
	t.add("is", map[bool]string{true: "running", false: "waiting"}[d.Running]+map[bool]string{true: ", suspended"}[d.Suspended]+
		map[bool]string{true: ", traps exits"}[d.TrapExit])
	if d.Parent.Node != "" {
		t.add("parent", s.pid(d.Parent))
	}
	t.add("age", ago(d.Started))
	t.add("handled", fmt.Sprint(d.Handled))
	t.add("unread", fmt.Sprintf("%d, %s", d.Queue, size(uint64(d.QueueBytes))))
	t.add("memory", "about "+size(uint64(d.Memory())))
	pids := func(what string, list []ei.Pid) {
		for i, p := range list {
			if i == mostShown {
				t.add("", fmt.Sprintf("%d more", len(list)-i))
				break
			}
			t.add(what, s.pid(p))
		}
	}
	pids("link", d.LinkedWith)
	pids("monitored by", d.Watchers)
	for i, m := range d.Monitoring[:min(len(d.Monitoring), mostShown)] {
		if t.add("monitor", s.pid(m.Pid)); m.Name != "" {
			t[len(t)-1][1] = s.atom(m.Name) + " on " + m.Node
		}
		if i == mostShown-1 {
			t.add("", fmt.Sprintf("%d more", len(d.Monitoring)-i-1))
		}
	}
	for _, m := range d.Messages[:min(len(d.Messages), mostShown)] {
		text, _ := s.show(m)
		t.add("message", text)
	}
	return t.text(ctx), nil
}

func (c *console) level(level ...string) (Text, error) {
	if len(level) > 0 {
		var to slog.Level
		if err := to.UnmarshalText([]byte(level[0])); err != nil {
			return "", err
		}
		c.opts.Level.Set(to)
		c.n.Logger().Warn("the log's level was changed from the console", "level", to)
	}
	return Text(strings.ToLower(c.opts.Level.Level().String()) + "\n"), nil
}

func (c *console) rules(ctx context.Context) Text {
	t := table{}
	for _, r := range c.n.Rules() {
		t.add(map[bool]string{true: "allow", false: "refuse"}[r.Allow], cmp.Or(r.Peer, "*"), cmp.Or(r.Op.String(), "all"), cmp.Or(r.Target, "*"))
	}
	if len(t) == 0 {
		t.add("no rules: whoever has the cookie may do everything")
	}
	s, f := c.n.Stats(), table{}
	for _, of := range []struct {
		what string
		n    int64
	}{
		{"refused by rules", s.Denied}, {"handshakes that failed", s.HandshakesFailed}, {"malformed frames and signals", s.Malformed},
		{"messages to nobody", s.Undeliverable}, {"calls refused, too many wait", s.CallsRefused}, {"mailboxes ended, full", s.MailboxesFull},
	} {
		f.add(of.what, fmt.Sprint(of.n))
	}
	text := t.text(ctx) + f.text(ctx)
	if c.opts.Log != nil {
		for _, line := range c.opts.Log.to.last() {
			text += Text(line + "\n")
		}
	}
	return text
}

func (c *console) drain(ctx context.Context) (Text, error) {
	c.n.Logger().Warn("the node drains, by the console", "peer", string(of(ctx).leader.Node))
	if err := c.n.Drain(ctx); err != nil {
		return "", err
	}
	return Text(c.n.State().String() + "\n"), nil
}

// upgrade runs on a goroutine of its own: a move waits for the end of the session.
func (c *console) upgrade(ctx context.Context) (Text, error) {
	c.n.Logger().Warn("an upgrade begins, by the console", "peer", string(of(ctx).leader.Node))
	of(ctx).print("the upgrade begins; if it succeeds, this session ends: connect again\n")
	done := make(chan error, 1)
	go func() {
		err := c.opts.Upgrade(context.WithoutCancel(ctx))
		if err != nil {
			c.n.Logger().Error("the upgrade has failed", "error", err)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return "done\n", err
	case <-ctx.Done():
		return "", fmt.Errorf("the upgrade goes on: %w", context.Cause(ctx))
	}
}

func memory(ctx context.Context) Text {
	t, samples := table{}, []metrics.Sample{}
	for _, d := range metrics.All() {
		if d.Kind == metrics.KindUint64 && (strings.HasPrefix(d.Name, "/memory/") || strings.HasPrefix(d.Name, "/gc/heap/") || d.Name == "/gc/gomemlimit:bytes") {
			samples = append(samples, metrics.Sample{Name: d.Name})
		}
	}
	metrics.Read(samples)
	for _, m := range samples {
		name, unit, _ := strings.Cut(m.Name, ":")
		if v := m.Value.Uint64(); unit == "bytes" && v < 1<<62 {
			t.add(name, size(v))
		} else if unit != "bytes" {
			t.add(name, fmt.Sprint(v, " ", unit))
		}
	}
	return t.text(ctx)
}

func gc() Text {
	const total, free = "/memory/classes/total:bytes", "/memory/classes/heap/released:bytes"
	was := figures("/memory/classes/heap/objects:bytes", total, free)
	begun := time.Now()
	debug.FreeOSMemory() // collects first
	took := time.Since(begun)
	is := figures("/memory/classes/heap/objects:bytes", total, free)
	return Text(fmt.Sprintf("objects %s, were %s; from the system %s, were %s; %v\n",
		size(is[0]), size(was[0]), size(is[1]-is[2]), size(was[1]-was[2]), took.Round(time.Microsecond)))
}

// figures are metrics of the Go runtime; 0 for what it does not have.
func figures(names ...string) []uint64 {
	samples, values := make([]metrics.Sample, len(names)), make([]uint64, len(names))
	for i, name := range names {
		samples[i].Name = name
	}
	metrics.Read(samples)
	for i, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			values[i] = s.Value.Uint64()
		}
	}
	return values
}
