package observer

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

const wordSize = 8 // what sizes in words are told in

// Limits that Go does not have, but tools divide by.
const (
	processLimit = 1 << 27
	portLimit    = 1 << 20
	atomLimit    = 1 << 20
	tableLimit   = 8192
)

// figures are read from package runtime/metrics, which does not stop the program.
func figures(names ...string) map[string]uint64 {
	samples := make([]metrics.Sample, len(names))
	for i, name := range names {
		samples[i].Name = name
	}
	metrics.Read(samples)
	values := map[string]uint64{}
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			values[s.Name] = s.Value.Uint64()
		}
	}
	return values
}

// memory is erlang:memory/0: of what the Go runtime has from the system, processes are the objects
// of the heap and the stacks, binary is what waits in queues, and the rest of system is the
// runtime's own, and what it keeps free.
func (b *observer) memory() ei.List {
	const total, objects, stacks = "/memory/classes/total:bytes", "/memory/classes/heap/objects:bytes", "/memory/classes/heap/stacks:bytes"
	m := figures(total, objects, stacks)
	all, used := int64(m[total]), int64(m[objects]+m[stacks])
	s := b.n.Stats()
	waiting := int64(s.Overflow)
	for _, p := range s.Peers {
		waiting += int64(p.BytesQueued)
	}
	waiting = min(waiting, used)
	list := ei.List{}
	for _, of := range []struct {
		key   string
		bytes int64
	}{
		{"total", all}, {"processes", used - waiting}, {"processes_used", used - waiting}, {"system", all - used + waiting},
		{"atom", 0}, {"atom_used", 0}, {"binary", waiting}, {"code", 0}, {"ets", 0},
	} {
		list = append(list, pair(of.key, ei.Int(of.bytes)))
	}
	return list
}

// An allocator is a part of the memory that the Go runtime has from the system.
type allocator struct {
	name         ei.Atom
	used, mapped int64 // bytes; of mapped there is one at least, by which tools divide
}

func allocators() []allocator {
	const c = "/memory/classes/"
	m := figures(c+"heap/objects:bytes", c+"heap/unused:bytes", c+"heap/free:bytes", c+"heap/stacks:bytes", c+"metadata/mspan/inuse:bytes",
		c+"metadata/mspan/free:bytes", c+"metadata/mcache/inuse:bytes", c+"metadata/mcache/free:bytes", c+"metadata/other:bytes",
		c+"profiling/buckets:bytes", c+"os-stacks:bytes", c+"other:bytes")
	sum := func(names ...string) (bytes int64) {
		for _, name := range names {
			bytes += int64(m[c+name+":bytes"])
		}
		return bytes
	}
	heap, stacks := sum("heap/objects"), sum("heap/stacks", "os-stacks")
	own := sum("metadata/mspan/inuse", "metadata/mcache/inuse", "metadata/other", "profiling/buckets", "other")
	return []allocator{
		{"heap", heap, heap + sum("heap/unused", "heap/free") + 1}, {"stacks", stacks, stacks + 1},
		{"runtime", own, own + sum("metadata/mspan/free", "metadata/mcache/free") + 1},
	}
}

// allocInfo has the allocators with their instances: erlang:system_info({allocator_sizes, Names}).
func allocInfo() ei.List {
	list := ei.List{}
	for _, a := range allocators() {
		three := func(key string, bytes int64) ei.Term {
			return ei.Tuple{ei.Atom(key), ei.Int(bytes), ei.Int(bytes), ei.Int(bytes)}
		}
		blocks := ei.List{ei.Tuple{a.name, ei.List{three("size", a.used)}}}
		list = append(list, ei.Tuple{a.name, ei.List{ei.Tuple{ei.Atom("instance"), ei.Int(0),
			ei.List{pair("mbcs", ei.List{pair("blocks", blocks), three("carriers_size", a.mapped)})}}}})
	}
	return list
}

// A traffic is what has come and gone over connections, those included that have ended, as far as
// it was looked at.
type traffic struct {
	in, out, messages int64
	peers             map[string][3]int64 // of the connections that there are
}

// io counts the traffic up to now.
func (b *observer) io() traffic {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, now := b.seen, map[string][3]int64{}
	for _, p := range b.n.Stats().Peers {
		is := [3]int64{p.BytesReceived, p.BytesSent, p.MessagesReceived}
		before := was.peers[p.Name]
		if is[0] < before[0] || is[1] < before[1] { // a new connection
			before = [3]int64{}
		}
		was.in, was.out, was.messages = was.in+is[0]-before[0], was.out+is[1]-before[1], was.messages+is[2]-before[2]
		now[p.Name] = is
	}
	b.seen = traffic{was.in, was.out, was.messages, now}
	return b.seen
}

// since is a value, and what it has grown by since statistics/1 has said it before.
func (b *observer) since(what string, v int64) ei.Term {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := b.last[what]
	b.last[what] = v
	return ei.Tuple{ei.Int(v), ei.Int(v - last)}
}

// schedulers is the time for which the program has had processors, and the time that there was, in
// ns: those of all schedulers in one.
func (b *observer) schedulers() ei.List {
	total := int64(time.Since(b.began)) * int64(runtime.GOMAXPROCS(0))
	return ei.List{ei.Tuple{ei.Int(1), ei.Int(min(int64(cpuTime()), total)), ei.Int(total)}}
}

// runnable is how many goroutines wait for a processor.
func runnable() ei.Int {
	const name = "/sched/goroutines/runnable:goroutines"
	return ei.Int(figures(name)[name])
}

func (b *observer) statistics(what ei.Atom) (ei.Term, error) {
	switch what {
	case "wall_clock":
		return b.since("wall_clock", time.Since(b.began).Milliseconds()), nil
	case "runtime":
		return b.since("runtime", cpuTime().Milliseconds()), nil
	case "reductions", "exact_reductions":
		return b.since(string(what), b.io().messages), nil
	case "run_queue", "total_run_queue_lengths", "total_run_queue_lengths_all", "total_active_tasks", "total_active_tasks_all":
		return runnable(), nil
	case "run_queue_lengths", "run_queue_lengths_all", "active_tasks", "active_tasks_all":
		return ei.List{runnable()}, nil
	case "io":
		t := b.io()
		return ei.Tuple{pair("input", ei.Int(t.in)), pair("output", ei.Int(t.out))}, nil
	case "garbage_collection":
		const cycles, freed = "/gc/cycles/total:gc-cycles", "/gc/heap/frees:bytes"
		m := figures(cycles, freed)
		return ei.Tuple{ei.Int(m[cycles]), ei.Int(m[freed] / wordSize), ei.Int(0)}, nil
	case "context_switches":
		return ei.Tuple{ei.Int(0), ei.Int(0)}, nil
	case "scheduler_wall_time", "scheduler_wall_time_all":
		return b.schedulers(), nil
	}
	return nil, badarg
}

func systemFlag(flag ei.Atom, _ ei.Term) (bool, error) {
	if flag == "scheduler_wall_time" { // it is always on
		return true, nil
	}
	return false, badarg
}

func (b *observer) systemInfo(what ei.Term) (ei.Term, error) {
	if t, ok := what.(ei.Tuple); ok && len(t) == 2 && t[0] == ei.Atom("wordsize") {
		what = ei.Atom("wordsize")
	} else if ok && len(t) == 2 && t[0] == ei.Atom("allocator_sizes") {
		return findEach(allocInfo(), t[1])
	}
	name, _ := what.(ei.Atom)
	if v := b.systemInfos()[name]; v != nil {
		return v, nil
	}
	return nil, badarg
}

// systemInfos are the items of erlang:system_info/1 that are atoms.
func (b *observer) systemInfos() map[ei.Atom]ei.Term {
	const none, yes, undefined = ei.Int(0), ei.Atom("true"), ei.Atom("undefined")
	s, procs, cpus := b.n.Stats(), ei.Int(runtime.GOMAXPROCS(0)), ei.Int(runtime.NumCPU())
	names := ei.List{}
	for _, a := range allocators() {
		names = append(names, a.name)
	}
	return map[ei.Atom]ei.Term{
		"otp_release": otp.Charlist("0"), // a number to those who ask: none of OTP's
		"version":     otp.Charlist(goVersion()),
		"system_version": otp.Charlist(fmt.Sprintf("Go %s [%s/%s] [smp:%d] %s %s\n",
			goVersion(), runtime.GOOS, runtime.GOARCH, procs, b.opts.Application, b.opts.Version)),
		"system_architecture": otp.Charlist(runtime.GOARCH + "-" + runtime.GOOS), "machine": otp.Charlist("Go"),
		"emu_type": ei.Atom("opt"), "build_type": ei.Atom("opt"), "emu_flavor": ei.Atom("jit"), "wordsize": ei.Int(wordSize),
		"process_count": ei.Int(s.Mailboxes), "process_limit": ei.Int(processLimit), "port_count": ei.Int(len(s.Peers)),
		"port_limit": ei.Int(portLimit), "atom_count": none, "atom_limit": ei.Int(atomLimit), "ets_count": none, "ets_limit": ei.Int(tableLimit),
		"schedulers": procs, "schedulers_online": procs, "dirty_cpu_schedulers": none, "dirty_cpu_schedulers_online": none,
		"dirty_io_schedulers": none, "thread_pool_size": none,
		"logical_processors": cpus, "logical_processors_online": cpus, "logical_processors_available": cpus, "cpu_topology": undefined,
		"multi_scheduling": ei.Atom("enabled"), "kernel_poll": yes, "smp_support": yes, "threads": yes, "c_compiler_used": undefined,
		"dist_buf_busy_limit": ei.Int(1 << 20), "dist_ctrl": ei.List{}, "loaded": ei.List{}, "alloc_util_allocators": names,
		"creation": ei.Int(b.n.Creation()), "start_time": ei.Int(b.began.UnixNano()), "time_offset": ei.Atom("final"),
	}
}

func goVersion() string {
	version, _, _ := strings.Cut(strings.TrimPrefix(runtime.Version(), "go"), " ")
	return version
}

// elixirVersion is no version of Elixir: Livebook, say, tells that it needs another one.
func elixirVersion() string { return "0.0.0-go" + goVersion() }

func timestamp(t time.Time) ei.Term {
	s := t.Unix()
	return ei.Tuple{ei.Int(s / 1e6), ei.Int(s % 1e6), ei.Int(t.Nanosecond() / 1000)}
}

func datetime(t time.Time) ei.Term {
	three := func(a, b, c int) ei.Term { return ei.Tuple{ei.Int(a), ei.Int(b), ei.Int(c)} }
	return ei.Tuple{three(t.Year(), int(t.Month()), t.Day()), three(t.Hour(), t.Minute(), t.Second())}
}

// systemTime is erlang:system_time/1.
func systemTime(unit ei.Term) (ei.Int, error) {
	t := time.Now()
	switch unit {
	case ei.Atom("second"), ei.Atom("seconds"):
		return ei.Int(t.Unix()), nil
	case ei.Atom("millisecond"), ei.Atom("milli_seconds"):
		return ei.Int(t.UnixMilli()), nil
	case ei.Atom("microsecond"), ei.Atom("micro_seconds"):
		return ei.Int(t.UnixMicro()), nil
	case ei.Atom("nanosecond"), ei.Atom("nano_seconds"), ei.Atom("native"):
		return ei.Int(t.UnixNano()), nil
	}
	return 0, badarg
}

func osType() ei.Term {
	if runtime.GOOS == "windows" {
		return pair("win32", ei.Atom("nt"))
	}
	return pair("unix", ei.Atom(runtime.GOOS))
}

func (b *observer) ospid() (ei.Term, error) {
	if b.opts.Stop == nil {
		return nil, refused("os", "getpid", 0, noStop)
	}
	return otp.Charlist(strconv.Itoa(os.Getpid())), nil
}

func (b *observer) elixirPid() (string, error) {
	if b.opts.Stop == nil {
		return "", refused("Elixir.System", "pid", 0, noStop)
	}
	return strconv.Itoa(os.Getpid()), nil
}

// env is an environment variable that may be seen.
func (b *observer) env(name string) (string, bool) {
	if !slices.Contains(b.opts.Environment, name) {
		return "", false
	}
	return os.LookupEnv(name)
}

func (b *observer) getenv(name ei.Term) ei.Term {
	var text string
	if list, ok := ei.Elements(name); ok {
		for _, r := range list {
			n, _ := r.(ei.Int)
			text += string(rune(n))
		}
	}
	if v, ok := b.env(text); ok {
		return otp.Charlist(v)
	}
	return ei.Atom("false")
}

// sysInfo is Observer's page System.
func (b *observer) sysInfo() ei.List {
	t := b.io()
	list := ei.List{
		pair("uptime", ei.Int(time.Since(b.began).Milliseconds())), pair("run_queue", runnable()),
		pair("io_input", ei.Int(t.in)), pair("io_output", ei.Int(t.out)), pair("otp_release", otp.Charlist(cmp.Or(runtime.Version(), "go"))),
		pair("schedulers_available", ei.Int(runtime.GOMAXPROCS(0))), pair("wordsize_internal", ei.Int(wordSize)),
		pair("wordsize_external", ei.Int(wordSize)), pair("alloc_info", allocInfo()),
	}
	infos := b.systemInfos()
	for _, item := range []string{"logical_processors", "logical_processors_online", "logical_processors_available", "schedulers",
		"schedulers_online", "version", "system_architecture", "kernel_poll", "smp_support", "threads", "thread_pool_size", "process_count",
		"process_limit", "atom_count", "atom_limit", "port_count", "port_limit", "ets_count", "ets_limit", "dist_buf_busy_limit"} {
		list = append(list, pair(item, infos[ei.Atom(item)]))
	}
	return append(list, b.memory()...)
}
