package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/line"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/port"
)

//go:embed erlang/bench_line.erl
var lineSource string

// lines are the measurements of a large message over a slow line, and of what else the connection
// does meanwhile. They take minutes, so they are made only for an --only that names them, once.
const (
	lines     = "line"
	lineDead  = lines + "/dead"
	lineLimit = 45 * time.Second // for one peer
	linePort  = 4370             // of all nodes, each at an address of its own
	lineCalls = 100 * time.Millisecond
)

// A slowLine is a line, and the size of the message that goes there and back over it.
type slowLine struct {
	line.Options
	size int
}

// slowLines are those measured: no peer takes longer than 40 s.
var slowLines = []slowLine{
	{line.Options{Rate: 1e6}, 1 << 20},
	{line.Options{Rate: 1e6, Delay: 200 * time.Millisecond}, 1 << 20},
	{line.Options{Rate: 8e6}, 16 << 20},
	{line.Options{Rate: 8e6, Delay: 20 * time.Millisecond}, 4 << 20},
	{line.Options{Rate: 8e6, Delay: 200 * time.Millisecond}, 4 << 20},
	{line.Options{Rate: 100e6}, 16 << 20},
	{line.Options{Rate: 100e6, Delay: 20 * time.Millisecond}, 16 << 20},
	{line.Options{Rate: 100e6, Delay: 200 * time.Millisecond}, 16 << 20},
	{size: 1 << 30}, // over loopback
}

// name is that of the measurement, line/8Mbit-20ms.
func (s slowLine) name() string {
	if s.Rate == 0 {
		return lines + "/loopback"
	}
	return fmt.Sprintf("%s/%dMbit-%dms", lines, s.Rate/1e6, s.Delay.Milliseconds())
}

func (s slowLine) title() string {
	if s.Rate == 0 {
		return "loopback, 1 GB"
	}
	return fmt.Sprintf("%d Mbit/s, %d ms, %s", s.Rate/1e6, s.Delay.Milliseconds(), sizeText(s.size))
}

// lineKinds are the peers, in the order in which they are measured.
var lineKinds = []string{nameLibei, nameBEAM, nameOurs}

// lineRows are in the same table, if they are asked for.
func lineRows(o options) []row {
	if o.only == nil {
		return nil
	}
	var all []row
	for _, s := range slowLines {
		all = append(all,
			row{name: s.name() + "/lived", title: s.title() + ": it lived", targets: []target{{bound: 1}}},
			row{name: s.name() + "/rate", title: s.title() + ": there and back", unit: "Mbit/s"},
			row{name: s.name() + "/idle", title: s.title() + ": small round trip before", unit: "ms"},
			row{name: s.name() + "/median", title: s.title() + ": beside it, median", unit: "ms"},
			row{name: s.name() + "/longest", title: s.title() + ": beside it, longest", unit: "ms", targets: []target{atMost(1, nameBEAM)}},
		)
		if s.Rate == 0 {
			all = append(all,
				row{name: s.name() + "/ratio", title: s.title() + ": median beside it, of that before", targets: []target{atMost(5, "")}},
				row{name: s.name() + "/memory", title: s.title() + ": the peer's memory, of the message", targets: []target{atMost(1.5, "")}})
		}
	}
	return append(all,
		row{name: lineDead + "/noticed", title: "line cut, until the Erlang node notices", unit: "s"},
		row{name: lineDead + "/notices", title: "line cut, until the peer notices", unit: "s", targets: []target{atMost(1.1, nameBEAM)}})
}

// wantsLine reports whether --only names a measurement of these: without it there is none.
func (o options) wantsLine(name string) bool {
	return o.only != nil && !o.tls && o.only.MatchString(name)
}

func (a *arena) measureLines(ctx context.Context) error {
	for _, s := range slowLines {
		if err := a.onLine(ctx, s.name(), s.Options, func(m *encounter) error { return m.talk(ctx, s) }); err != nil {
			return err
		}
	}
	eight := line.Options{Rate: 8e6}
	return a.onLine(ctx, lineDead, eight, func(m *encounter) error { return m.die(ctx) })
}

// onLine measures all kinds of peers, each over a line of its own.
func (a *arena) onLine(ctx context.Context, name string, o line.Options, measure func(m *encounter) error) error {
	if !a.o.wantsLine(name) {
		return nil
	}
	for _, kind := range lineKinds {
		if a.o.peers != nil && !slices.Contains(a.o.peers, kind) {
			continue
		}
		a.say("%s, %s", name, kind)
		err := a.meet(ctx, o, kind, measure)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, line.ErrUnavailable):
			a.note("%s not measured: %v", name, err)
			return nil
		case err != nil:
			a.note("%s: %s not measured: %v", kind, name, err)
		}
	}
	return nil
}

// An encounter is an Erlang node with a peer at the other end of a line.
type encounter struct {
	*arena
	kind string
	line *line.Line // nil: loopback
	erl  *otp.Node
	name string    // of the peer
	beam *otp.Node // the peer, if it is one
	pid  int       // of the peer
	log  func() string
}

// A place is where a node of an encounter runs.
type place struct {
	addr string
	port int
	do   func(func() error) error
}

func (a *arena) meet(ctx context.Context, o line.Options, kind string, measure func(m *encounter) error) error {
	m := &encounter{arena: a, kind: kind}
	here, there, err := m.open(o)
	if err != nil {
		return err
	}
	if m.line != nil {
		defer m.line.Close()
	}
	starting, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if m.erl, err = a.startAt(starting, here, "driver"); err != nil {
		return err
	}
	defer m.erl.Close()
	ended, err := m.startPeer(starting, there)
	if err != nil {
		return err
	}
	defer ended()
	return measure(m)
}

// open makes the two places: those of a line, or two addresses of the loopback interface.
func (m *encounter) open(o line.Options) (here, there place, err error) {
	if o.Rate == 0 {
		number, release, err := port.Reserve()
		if err != nil {
			return here, there, err
		}
		release() // it was free at one address, so it is likely to be free at two others
		direct := func(f func() error) error { return f() }
		return place{"127.0.0.2", number, direct}, place{"127.0.0.3", number, direct}, nil
	}
	if m.line, err = line.Open(o); err != nil {
		return here, there, err
	}
	at := func(e *line.End) place { return place{e.Addr(), linePort, e.Do} }
	return at(m.line.End(0)), at(m.line.End(1)), nil
}

// startAt starts an Erlang node without a port mapper.
func (a *arena) startAt(ctx context.Context, at place, alive string) (n *otp.Node, err error) {
	number := strconv.Itoa(at.port)
	err = at.do(func() (err error) {
		n, err = a.release.Launch(ctx, otp.Options{
			Name: alive + "@" + at.addr, Cookie: cookie, EpmdPort: at.port,
			ExtraArgs: []string{
				"-start_epmd", "false", "-erl_epmd_port", number, "-connect_all", "false", "-kernel", "net_ticktime", "8",
				"prevent_overlapping_partitions", "false", "inet_dist_use_interface", "{" + strings.ReplaceAll(at.addr, ".", ",") + "}",
			},
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := n.LoadContext(ctx, lineSource); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// startPeer starts the peer; ended ends it.
func (m *encounter) startPeer(ctx context.Context, at place) (ended func(), err error) {
	m.name = "peer@" + at.addr
	var cmd *exec.Cmd
	switch m.kind {
	case nameBEAM:
		if m.beam, err = m.startAt(ctx, at, "peer"); err != nil {
			return nil, err
		}
		m.pid, m.log = m.beam.Pid(), m.beam.Log
		_, err := m.beam.EvalContext(ctx, "bench_line:serve(), net_kernel:monitor_nodes(true)")
		return m.beam.Close, err
	case nameLibei:
		program := filepath.Join(m.dir, "libei-echo")
		if err := m.compile(ctx, filepath.Join("test", "interop", "libei", "ei_echo.c"), program); err != nil {
			return nil, err
		}
		cmd = exec.Command(program, "-p", strconv.Itoa(at.port), m.name, cookie)
	default:
		program, err := m.buildGo(ctx, oursPackage)
		if err != nil {
			return nil, err
		}
		cmd = exec.Command(program, "-line", strconv.Itoa(at.port), m.name, cookie)
	}
	var p *peer
	err = at.do(func() (err error) {
		p, err = m.launch(ctx, cmd)
		return err
	})
	if err != nil {
		return nil, err
	}
	m.pid, m.log = p.pid, p.log
	return p.close, nil
}

// talk sends the large message there and back, with small ones beside it: over a slow line one
// every tenth of a second, over loopback one after the other.
func (m *encounter) talk(ctx context.Context, s slowLine) error {
	every := lineCalls
	if s.Rate == 0 {
		every = 0
	}
	ctx, cancel := context.WithTimeout(ctx, lineLimit+grace)
	defer cancel()
	text, err := m.erl.EvalContext(ctx, fmt.Sprintf("bench_line:talk('%s', %d, %d, %d)",
		m.name, s.size, every.Milliseconds(), lineLimit.Milliseconds()))
	if err != nil {
		return err
	}
	how, figures, err := talked(text)
	if err != nil {
		return err
	}
	took, idle, median, longest := figures[0], figures[1]/1e3, figures[2]/1e3, figures[3]/1e3
	lived := 0.0
	if how == "done" {
		lived = 1
		m.results.add(s.name()+"/rate", m.kind, 2*8*float64(s.size)/took)
	} else {
		m.note("%s, %s: %s after %.1f s", m.kind, s.title(), how, took/1e6)
	}
	m.results.add(s.name()+"/lived", m.kind, lived)
	m.results.add(s.name()+"/idle", m.kind, idle)
	m.results.add(s.name()+"/median", m.kind, median)
	m.results.add(s.name()+"/longest", m.kind, longest)
	if s.Rate == 0 && lived == 1 {
		m.results.add(s.name()+"/ratio", m.kind, median/idle)
		if h, err := holds(m.pid); err == nil {
			m.results.add(s.name()+"/memory", m.kind, float64(h.peak)/float64(s.size))
		}
	}
	return nil
}

// talked takes apart what bench_line:talk/4 answers.
func talked(text string) (how string, microseconds [4]float64, err error) {
	term, err := ei.Parse(text)
	if err != nil {
		return "", microseconds, err
	}
	answer, ok := term.(ei.Tuple)
	if !ok || len(answer) != 1+len(microseconds) {
		return "", microseconds, fmt.Errorf("unexpected answer %s", text)
	}
	for i := range microseconds {
		n, ok := answer[1+i].(ei.Int)
		if !ok {
			return "", microseconds, fmt.Errorf("unexpected answer %s", text)
		}
		microseconds[i] = float64(n)
	}
	return answer[0].String(), microseconds, nil
}

// die cuts the line, and waits until both ends have noticed.
func (m *encounter) die(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lineLimit)
	defer cancel()
	_, err := m.erl.EvalContext(ctx, fmt.Sprintf("net_kernel:monitor_nodes(true, [{node_type, all}]), true = net_kernel:connect_node('%s'), "+
		"{small, '%s'} ! {echo, self(), x}, receive x -> ok end", m.name, m.name))
	if err != nil {
		return err
	}
	cut := time.Now()
	m.line.Cut()
	const down = "(fun F() -> receive {nodedown, _} -> ok; {nodedown, _, _} -> ok; _ -> F() end end)(), erlang:system_time(nanosecond)"
	note := func(row, text string) error {
		at, err := strconv.ParseInt(text, 10, 64)
		if err == nil {
			m.results.add(lineDead+row, m.kind, time.Unix(0, at).Sub(cut).Seconds())
		}
		return err
	}
	text, err := m.erl.EvalContext(ctx, down)
	if err != nil {
		return err
	}
	if err := note("/noticed", text); err != nil {
		return err
	}
	switch m.kind {
	case nameLibei:
		m.note("libei does not notice a peer that is silent: it has no ticks of its own")
		return nil
	case nameBEAM:
		text, err = m.beam.EvalContext(ctx, down)
	default:
		text, err = m.printed(ctx, "down ")
	}
	if err != nil {
		return err
	}
	return note("/notices", text)
}

// printed waits for a line that the peer prints, and gives what follows a prefix there.
func (m *encounter) printed(ctx context.Context, prefix string) (string, error) {
	for {
		for text := range strings.Lines(m.log()) {
			if rest, ok := strings.CutPrefix(text, prefix); ok && strings.HasSuffix(rest, "\n") {
				return strings.TrimSpace(rest), nil
			}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("the peer did not print %q: %w", prefix, ctx.Err())
		case <-time.After(pause):
		}
	}
}
