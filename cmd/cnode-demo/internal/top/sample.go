// Package top is the command that shows what a node does, as top(1) does of a machine.
package top

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// A sample is what a node does at a moment. Its JSON is for scripts.
type sample struct {
	Node       string           `json:"node"`
	Time       time.Time        `json:"time"`
	System     string           `json:"system"`
	UptimeMS   int64            `json:"uptime_ms"`
	Schedulers int              `json:"schedulers"`
	RunQueue   int              `json:"run_queue"`
	Processes  int              `json:"processes"`
	Reductions int64            `json:"reductions"`
	BytesIn    int64            `json:"bytes_in"`
	BytesOut   int64            `json:"bytes_out"`
	Memory     map[string]int64 `json:"memory"`
	Nodes      []ei.Atom        `json:"nodes"`
	Top        []process        `json:"top"`
}

// A process of the node.
type process struct {
	Pid        string `json:"pid"`
	Name       string `json:"name"` // registered, or the function with which it began
	Current    string `json:"current_function"`
	Status     string `json:"status"`
	Memory     int64  `json:"memory"`
	Queue      int64  `json:"message_queue_len"`
	Reductions int64  `json:"reductions"`
	Recent     int64  `json:"-"` // reductions since the sample before
}

// A probe takes samples of one node.
type probe struct {
	n      *nodes.Node
	node   string
	before map[string]int64 // reductions, by pid
	single bool             // processes are asked about one by one: a Go node has no lists:zipwith
}

// A pair is a tuple: total and since the last call, or a name and a number.
type pair[T any] struct {
	_ struct{} `ei:",tuple"`
	A T
	B int64
}

// items are what is asked about a process.
var items = ei.List{ei.Atom("registered_name"), ei.Atom("initial_call"), ei.Atom("current_function"), ei.Atom("status"),
	ei.Atom("memory"), ei.Atom("message_queue_len"), ei.Atom("reductions")}

// ErrNothing: a node lacks the functions of a BEAM that tell what it does; ErrRefused: it refuses
// them.
var (
	ErrNothing = errors.New("does not tell what it does")
	ErrRefused = errors.New("refuses to tell what it does")
)

// lacks tells whether an error is the answer of a node that is well and does not do what was asked.
func lacks(err error) bool {
	return !errors.Is(err, nodes.ErrNoConnection) && (errors.As(err, new(*nodes.Raise)) || errors.Is(err, errors.ErrUnsupported))
}

// refuses tells whether an exception's reason, of erpc:call {exception, Reason, Stack}, is eacces.
func refuses(reason ei.Term) bool {
	if t, ok := reason.(ei.Tuple); ok && len(t) > 1 && t[0] == ei.Atom("exception") {
		reason = t[1]
	}
	return reason == ei.Atom("eacces")
}

// take asks the node. All is asked with erpc:call, and nothing is loaded into the node.
func (p *probe) take(ctx context.Context) (*sample, error) {
	s := &sample{Node: p.node, Time: time.Now(), Memory: map[string]int64{}}
	var memory []pair[ei.Atom]
	var uptime, reductions pair[int64]
	var io struct {
		_       struct{} `ei:",tuple"`
		In, Out pair[ei.Atom]
	}
	var pids []ei.Pid
	var system string
	for _, q := range []struct {
		into any
		fun  string
		args []any
	}{
		{&system, "system_info", []any{ei.Atom("system_version")}}, {&s.Schedulers, "system_info", []any{ei.Atom("schedulers_online")}},
		{&memory, "memory", nil}, {&uptime, "statistics", []any{ei.Atom("wall_clock")}}, {&s.RunQueue, "statistics", []any{ei.Atom("run_queue")}},
		{&reductions, "statistics", []any{ei.Atom("reductions")}}, {&io, "statistics", []any{ei.Atom("io")}},
		{&s.Nodes, "nodes", []any{ei.Atom("connected")}}, {&pids, "processes", nil},
	} {
		t, err := p.n.ERPC(ctx, p.node, "erlang", q.fun, q.args...)
		if raise := new(nodes.Raise); errors.As(err, &raise) && refuses(raise.Reason) {
			return nil, fmt.Errorf("%s %w: %w", p.node, ErrRefused, err)
		}
		if lacks(err) {
			return nil, fmt.Errorf("%s %w: %w", p.node, ErrNothing, err)
		}
		if err != nil {
			return nil, err
		}
		if err := ei.UnmarshalTerm(t, q.into); err != nil {
			return nil, err
		}
	}
	for _, m := range memory {
		s.Memory[string(m.A)] = m.B
	}
	slices.Sort(s.Nodes)
	p.single = p.single || !strings.Contains(system, "Erlang")
	s.System, s.UptimeMS, s.Reductions = strings.TrimSpace(system), uptime.A, reductions.A
	s.BytesIn, s.BytesOut, s.Processes = io.In.B, io.Out.B, len(pids)
	return s, p.processes(ctx, s, pids)
}

// chunk is how many processes are asked for at once.
const chunk = 1000

// processes asks about processes: lists:zipwith(fun erlang:process_info/2, Pids, [Items, …]) is one
// call, and needs no code there.
func (p *probe) processes(ctx context.Context, s *sample, pids []ei.Pid) error {
	seen := make(map[string]int64, len(pids))
	for some := range slices.Chunk(pids, chunk) {
		answers, err := p.infos(ctx, some)
		if err != nil {
			return err
		}
		for i, answer := range answers {
			if one, ok := read(some[i], answer); ok {
				one.Recent = one.Reductions - cmp.Or(p.before[one.Pid], one.Reductions)
				seen[one.Pid] = one.Reductions
				s.Top = append(s.Top, one)
			}
		}
	}
	p.before = seen
	return nil
}

func (p *probe) infos(ctx context.Context, pids []ei.Pid) (answers []ei.Term, err error) {
	if !p.single {
		list, all := ei.List{}, ei.List{}
		for _, pid := range pids {
			list, all = append(list, pid), append(all, items)
		}
		fun := ei.Export{Module: "erlang", Function: "process_info", Arity: 2}
		t, err := p.n.ERPC(ctx, p.node, "lists", "zipwith", fun, list, all)
		if raised := new(nodes.Raise); errors.As(err, &raised) {
			p.single = true
		} else {
			answers, _ := ei.Elements(t)
			return answers, err
		}
	}
	var asked []*nodes.Request
	for _, pid := range pids {
		r, err := p.n.ERPCRequest(ctx, p.node, "erlang", "process_info", pid, items)
		if err != nil {
			return nil, err
		}
		asked = append(asked, r)
	}
	for _, r := range asked {
		t, err := r.Wait(ctx)
		if err != nil && !errors.As(err, new(*nodes.Raise)) {
			return nil, err
		}
		answers = append(answers, t)
	}
	return answers, nil
}

// read reads the answer about a process; false: it has ended.
func read(pid ei.Pid, answer ei.Term) (process, bool) {
	p := process{Pid: pid.String()}
	list, ok := ei.Elements(answer)
	if !ok || len(list) == 0 {
		return p, false
	}
	for _, t := range list {
		pair, ok := t.(ei.Tuple)
		if !ok || len(pair) != 2 {
			continue
		}
		number, _ := pair[1].(ei.Int)
		switch pair[0] {
		case ei.Atom("registered_name"):
			if name, ok := pair[1].(ei.Atom); ok {
				p.Name = string(name)
			}
		case ei.Atom("initial_call"):
			p.Name = cmp.Or(p.Name, function(pair[1]))
		case ei.Atom("current_function"):
			p.Current = function(pair[1])
		case ei.Atom("status"):
			p.Status = pair[1].String()
		case ei.Atom("memory"):
			p.Memory = int64(number)
		case ei.Atom("message_queue_len"):
			p.Queue = int64(number)
		case ei.Atom("reductions"):
			p.Reductions = int64(number)
		}
	}
	return p, true
}

// function is {Module, Function, Arity} as Erlang prints it.
func function(t ei.Term) string {
	mfa, ok := t.(ei.Tuple)
	if !ok || len(mfa) != 3 {
		return ""
	}
	return mfa[0].String() + ":" + mfa[1].String() + "/" + mfa[2].String()
}

// keys are what processes may be sorted by.
var keys = []string{"memory", "queue", "reductions"}

// sort puts the processes with most of something first, and leaves out all but some; negative:
// none.
func (s *sample) sort(by string, most int) {
	weight := func(p process) int64 {
		switch by {
		case "queue":
			return p.Queue
		case "reductions":
			return cmp.Or(p.Recent, p.Reductions)
		}
		return p.Memory
	}
	slices.SortStableFunc(s.Top, func(a, b process) int { return cmp.Compare(weight(b), weight(a)) })
	if most >= 0 {
		s.Top = s.Top[:min(most, len(s.Top))]
	}
}
