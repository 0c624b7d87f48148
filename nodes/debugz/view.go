package debugz

import (
	"cmp"
	"fmt"
	"html/template"
	"iter"
	"maps"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/introspect"
	calls "github.com/cnode-go/cnode/nodes/metrics"
)

// A view is what the page shows: the figures of a moment, and rates since an earlier look.
type view struct {
	Node, State, Go, Program string
	Pid                      int
	At                       time.Time
	Listeners                []string
	Published                bool
	Stats                    nodes.Stats `json:"-"`
	Memory, Heap             uint64      // bytes: of the operating system's, and in use
	Goroutines               uint64
	Rates                    rates
	Charts                   []chart `json:"-"`
	Peers                    []peer
	Processes                []process // the first by Sort
	Sort                     string
	Trees                    []tree
	Calls                    []function
	Groups                   []group
	Incomplete               []string // of which nodes members of groups are left out
	Names                    []globalName
	Events                   []event // latest first
}

// rates are per second.
type rates struct{ MessagesIn, MessagesOut, BytesIn, BytesOut, Calls float64 }

// A peer is a node that is connected.
type peer struct {
	Name, Over, Address string
	Hidden, Here        bool      // Here: this node has opened the connection
	Since               time.Time // zero: before the page was there
	Rates               rates
	MessagesIn          int64
	MessagesOut         int64
	Queued              int
}

// A process is a row of the table of processes.
type process struct {
	Pid, Name, Kind, Runs string
	Short                 string `json:"-"` // the pid as its own node prints it
	Queue, QueueBytes     int
	Handled               uint64
	Running, Suspended    bool
	Age                   time.Duration
}

// A tree is a process with those whose parent it is.
type tree struct {
	process
	Children []tree
}

// A function is one with how its calls went.
type function struct {
	Name          string
	Out           bool
	Count, Errors int64
	Mean, P50     time.Duration
	P99           time.Duration
}

// A group has members, here and in all.
type group struct {
	Name      string
	Here, All int
}

// A globalName is a global one.
type globalName struct {
	Name, Pid, Node string
	Short           string `json:"-"` // the pid as its own node prints it
}

// So much of a kind is shown.
const (
	mostProcesses = 30
	mostOthers    = 200
	mostInTrees   = 500
)

// look takes it all.
func (p *Page) look(sort string) *view {
	v := &view{
		Node: cut(p.n.Name()), State: p.n.State().String(), Go: runtime.Version(), Program: programName(), Pid: os.Getpid(),
		At: time.Now(), Stats: p.n.Stats(), Sort: sort,
	}
	v.Published = v.Stats.Published
	figures := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(figures)
	v.Memory, v.Heap, v.Goroutines = figures[0].Value.Uint64(), figures[1].Value.Uint64(), figures[2].Value.Uint64()
	for _, l := range p.n.Listeners() {
		v.Listeners = append(v.Listeners, l.Addr().Network()+" "+l.Addr().String())
	}
	p.lookAtProcesses(v)
	v.Calls = callsOf(v.Stats.Functions)
	p.mu.Lock()
	rates, up := p.sampleLocked(v), maps.Clone(p.up)
	v.Events = slices.Clone(p.events)
	p.mu.Unlock() // hooks want it, perhaps with locks of the node held
	for _, s := range v.Stats.Peers {
		peer := peer{
			Name: cut(s.Name), Since: up[s.Name], Rates: rates[s.Name],
			MessagesIn: s.MessagesReceived, MessagesOut: s.MessagesSent, Queued: s.BytesQueued,
		}
		if c := p.n.Conn(s.Name); c != nil {
			peer.Hidden = !c.Peer().Announced.Has(dist.FlagPublished)
			peer.Here = c.Stream().Origin() == "connected"
			if a := c.Stream().RemoteAddr(); a != nil {
				peer.Over, peer.Address = cut(a.Network()), cut(a.String())
			}
		}
		v.Peers = append(v.Peers, peer)
	}
	slices.Reverse(v.Events)
	slices.SortFunc(v.Peers, func(a, b peer) int { return strings.Compare(a.Name, b.Name) })
	for _, s := range p.o.Groups {
		if err := s.Incomplete(); err != nil {
			v.Incomplete = append(v.Incomplete, strings.Split(err.Error(), "\n")...)
		}
		for g := range s.Groups() {
			if len(v.Groups) == mostOthers {
				break
			}
			v.Groups = append(v.Groups, group{title(g), count(s.LocalMembers(g)), count(s.Members(g))})
		}
	}
	slices.SortFunc(v.Groups, func(a, b group) int { return strings.Compare(a.Name, b.Name) })
	if p.o.Names != nil {
		for name := range p.o.Names.Names() {
			if pid, ok := p.o.Names.Whereis(name); ok && len(v.Names) < mostOthers {
				v.Names = append(v.Names, globalName{title(name), cut(pid.String()), cut(string(pid.Node)), short(pid)})
			}
		}
	}
	return v
}

const (
	mostText = 300          // bytes of a text that others may have chosen
	mostTerm = 4 * mostText // bytes of a term in the external format, for it to be printed
)

// cut is a text of so much, and valid UTF-8.
func cut(text string) string {
	if len(text) <= mostText {
		return strings.ToValidUTF8(text, "\ufffd")
	}
	return head(text) + left(len(text))
}

// head is the beginning of a text, up to the end of a character.
func head(text string) string {
	end := min(len(text), mostText)
	for end > 0 && end < len(text) && !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.ToValidUTF8(text[:end], "\ufffd")
}

// left is the mark of what has been cut.
func left(size int) string { return fmt.Sprintf("… (%d bytes)", size) }

// title is a term as text. One that is much too large is not printed first: that would take several
// times its size, each time that somebody looks.
func title(t ei.Term) string {
	raw, err := ei.AppendTerm(nil, t)
	if err == nil && len(raw) > mostTerm {
		if b, ok := t.(ei.Binary); ok {
			return head(fmt.Sprint(b[:mostText])) + left(len(b))
		}
		return "a term" + left(len(raw))
	}
	return cut(fmt.Sprint(t))
}

// label is a process's label as Observer shows it: text without marks, and any other term as Erlang
// prints it.
func label(t ei.Term) string {
	if b, ok := t.(ei.Binary); ok && utf8.Valid(b) {
		return cut(string(b))
	}
	if text, ok := ei.Charlist(t); ok && text != "" {
		return cut(text)
	}
	return title(t)
}

// short is a pid as its own node prints it.
func short(p ei.Pid) string { return fmt.Sprintf("<0.%d.%d>", p.ID, p.Serial) }

func count[T any](all iter.Seq[T]) (n int) {
	for range all {
		n++
	}
	return n
}

func programName() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Path != "" {
		return strings.TrimSuffix(info.Main.Path+" "+info.Main.Version, " ")
	}
	return "a Go program"
}

// orders are the ways to sort processes; those that come first have most.
var orders = map[string]func(p introspect.Process) uint64{
	"queue":   func(p introspect.Process) uint64 { return uint64(p.Queue) },
	"bytes":   func(p introspect.Process) uint64 { return uint64(p.QueueBytes) },
	"handled": func(p introspect.Process) uint64 { return p.Handled },
}

// lookAtProcesses finds the first processes by v.Sort, and those that have parents.
func (p *Page) lookAtProcesses(v *view) {
	key := orders[v.Sort]
	if key == nil {
		v.Sort, key = "queue", orders["queue"]
	}
	var first []introspect.Process
	parents, inTrees := map[ei.Pid][]introspect.Process{}, 0
	most := func(a, b introspect.Process) int {
		return cmp.Or(cmp.Compare(key(b), key(a)), cmp.Compare(b.Handled, a.Handled), cmp.Compare(a.Pid.ID, b.Pid.ID))
	}
	for q := range p.n.Processes() {
		if first = append(first, q); len(first) == 8*mostProcesses { // a sort for many
			slices.SortFunc(first, most)
			first = first[:mostProcesses]
		}
		if q.Parent != (ei.Pid{}) && q.Kind != introspect.KindFunction && q.Kind != introspect.KindSystem && inTrees < mostInTrees {
			parents[q.Parent] = append(parents[q.Parent], q)
			inTrees++
		}
	}
	slices.SortFunc(first, most)
	for _, q := range first[:min(len(first), mostProcesses)] {
		v.Processes = append(v.Processes, row(q))
	}
	children := map[ei.Pid]bool{}
	for _, all := range parents {
		for _, q := range all {
			children[q.Pid] = true
		}
	}
	for root := range parents {
		if d, ok := p.n.Process(root); ok && !children[root] {
			v.Trees = append(v.Trees, treeOf(d.Process, parents))
		}
	}
	slices.SortFunc(v.Trees, byName)
}

func byName(a, b tree) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Pid, b.Pid))
}

// tree has those that were found to have the process as their parent. It ends: a process is
// younger than its parent.
func treeOf(q introspect.Process, parents map[ei.Pid][]introspect.Process) tree {
	t := tree{process: row(q)}
	for _, child := range parents[q.Pid] {
		t.Children = append(t.Children, treeOf(child, parents))
	}
	slices.SortFunc(t.Children, byName)
	return t
}

func row(q introspect.Process) process {
	r := process{
		Pid: cut(q.Pid.String()), Short: short(q.Pid), Kind: q.Kind.String(), Queue: q.Queue, QueueBytes: q.QueueBytes,
		Handled: q.Handled, Running: q.Running, Suspended: q.Suspended,
	}
	if len(q.Names) > 0 {
		r.Name = cut(string(q.Names[0]))
	} else if decoded, err := q.Label.Decode(); err == nil && len(q.Label) > 0 {
		r.Name = label(decoded)
	}
	if q.Runs.Function != "" {
		r.Runs = cut(string(q.Runs.Module) + ":" + string(q.Runs.Function))
	}
	if !q.Started.IsZero() {
		r.Age = time.Since(q.Started)
	}
	return r
}

// callsOf are the functions, the slowest first.
func callsOf(all []calls.CallStats) []function {
	var rows []function
	for _, s := range all {
		c := function{Name: cut(s.Module + ":" + s.Function), Out: s.Out, Count: s.Count(), Errors: s.Errors()}
		if s.Module == "" && s.Function == "" {
			c.Name = "none of those exposed"
		}
		if c.Count > 0 {
			c.Mean = s.Latency.Sum / time.Duration(c.Count)
		}
		c.P50, c.P99 = quantile(s.Latency, 0.5), quantile(s.Latency, 0.99)
		rows = append(rows, c)
	}
	slices.SortStableFunc(rows, func(a, b function) int { return cmp.Compare(b.P99, a.P99) })
	return rows[:min(len(rows), mostOthers)]
}

// quantile is the bound that so much of all does not exceed.
func quantile(h calls.Histogram, part float64) time.Duration {
	var all, so int64
	for _, n := range h.Counts {
		all += n
	}
	for i, n := range h.Counts {
		if so += n; n > 0 && float64(so) >= part*float64(all) {
			return h.Bounds[min(i, len(h.Bounds)-1)]
		}
	}
	return 0
}

// A sample is a look at the counters.
type sample struct {
	at     time.Time
	all    counters
	peers  map[string]counters
	memory uint64
	rates  rates // since the sample before
}

type counters struct{ messagesIn, messagesOut, bytesIn, bytesOut, calls int64 }

func (c counters) since(before counters, d time.Duration) rates {
	s := d.Seconds()
	rate := func(now, then int64) float64 { return float64(max(now-then, 0)) / s }
	return rates{
		rate(c.messagesIn, before.messagesIn), rate(c.messagesOut, before.messagesOut),
		rate(c.bytesIn, before.bytesIn), rate(c.bytesOut, before.bytesOut), rate(c.calls, before.calls),
	}
}

const (
	mostSamples = 120
	samplePause = 900 * time.Millisecond // looks that are nearer to the one before show its rates
	sampleGap   = time.Minute            // after which a chart begins anew
)

// sampleLocked takes a sample if it is time to, and gives the rates of peers. It is called with
// p.mu held.
func (p *Page) sampleLocked(v *view) map[string]rates {
	s := sample{at: v.At, peers: map[string]counters{}, memory: v.Memory}
	for _, q := range v.Stats.Peers {
		c := counters{q.MessagesReceived, q.MessagesSent, q.BytesReceived, q.BytesSent, 0}
		s.peers[q.Name] = c
		s.all.messagesIn, s.all.messagesOut = s.all.messagesIn+c.messagesIn, s.all.messagesOut+c.messagesOut
		s.all.bytesIn, s.all.bytesOut = s.all.bytesIn+c.bytesIn, s.all.bytesOut+c.bytesOut
	}
	for i := range v.Stats.Functions {
		if f := &v.Stats.Functions[i]; !f.Out {
			s.all.calls += f.Count()
		}
	}
	if n := len(p.samples); n > 0 && s.at.Sub(p.samples[n-1].at) > sampleGap {
		p.samples = nil
	}
	n := len(p.samples)
	if n == 0 || s.at.Sub(p.samples[n-1].at) >= samplePause {
		if n > 0 {
			s.rates = s.all.since(p.samples[n-1].all, s.at.Sub(p.samples[n-1].at))
		}
		if p.samples = append(p.samples, s); n == mostSamples {
			p.samples = slices.Delete(p.samples, 0, 1)
		}
		n = len(p.samples)
	}
	rates := map[string]rates{}
	if n > 1 {
		last, before := p.samples[n-1], p.samples[n-2]
		v.Rates = last.rates
		for name, c := range last.peers {
			rates[name] = c.since(before.peers[name], last.at.Sub(before.at))
		}
	}
	v.Charts = []chart{
		p.chart("messages/s", number, func(s sample) float64 { return s.rates.MessagesIn },
			func(s sample) float64 { return s.rates.MessagesOut }),
		p.chart("bytes/s", size, func(s sample) float64 { return s.rates.BytesIn }, func(s sample) float64 { return s.rates.BytesOut }),
		p.chart("calls served/s", number, func(s sample) float64 { return s.rates.Calls }),
		p.chart("memory", size, func(s sample) float64 { return float64(s.memory) }),
	}
	return rates
}

// A chart is one or two lines, newest right, in a box of chartWidth by chartHeight.
type chart struct {
	Title, Top string
	Now, Lines []string // of in and out, if there are two; the lines are points of SVG polylines
}

const chartWidth, chartHeight = 240, 60

func (p *Page) chart(title string, show func(any) string, of ...func(sample) float64) chart {
	c, top := chart{Title: title}, 1.0
	for _, s := range p.samples {
		for _, f := range of {
			top = max(top, f(s))
		}
	}
	for i, f := range of {
		var line strings.Builder
		for i, s := range p.samples {
			x := chartWidth - float64(len(p.samples)-1-i)*chartWidth/(mostSamples-1)
			fmt.Fprintf(&line, "%.1f,%.1f ", x, chartHeight-f(s)/top*chartHeight)
		}
		c.Lines = append(c.Lines, line.String())
		if n := len(p.samples); n > 0 {
			now := show(f(p.samples[n-1]))
			if len(of) > 1 {
				now += [...]string{" in", " out"}[i]
			}
			c.Now = append(c.Now, now)
		}
	}
	c.Top = show(top)
	return c
}

// A spot is where a node is on the map.
type spot struct {
	X, Y, TextY float64
	Label       string
	Width       float64 // of the line, by what goes over it
	peer
}

const mostSpots = 24

// spots puts nodes on a circle around this one.
func spots(all []peer) (placed []spot) {
	n := min(len(all), mostSpots)
	for i, p := range all[:n] {
		angle := 2*math.Pi*float64(i)/float64(n) - math.Pi/2
		x, y := 320+190*math.Cos(angle), 150+105*math.Sin(angle)
		s := spot{X: x, Y: y, TextY: y + 24, Label: alive(p.Name), Width: 1 + min(math.Log10(1+p.Rates.BytesIn+p.Rates.BytesOut), 6), peer: p}
		if y < 150 {
			s.TextY = y - 14
		}
		placed = append(placed, s)
	}
	return placed
}

// alive is a node's name as short as it has to be on the map of a narrow screen.
func alive(node string) string {
	const most = 14
	alive, _, _ := strings.Cut(node, "@")
	if r := []rune(alive); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return alive
}

func number(v any) string {
	f := numeric(v)
	switch {
	case f >= 1e6:
		return fmt.Sprintf("%.1f M", f/1e6)
	case f >= 1e4:
		return fmt.Sprintf("%.0f k", f/1e3)
	case f != math.Trunc(f):
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.0f", f)
}

func size(v any) string {
	f := numeric(v)
	for _, unit := range []string{"B", "KB", "MB", "GB"} {
		if f < 1000 {
			return strings.Replace(fmt.Sprintf("%.3g ", f), "e+03", "", 1) + unit
		}
		f /= 1024
	}
	return fmt.Sprintf("%.3g TB", f)
}

func numeric(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	}
	return math.NaN()
}

// took is a time as people want it: two or three digits.
func took(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	case d < time.Minute:
		return fmt.Sprintf("%.3g s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

var functions = template.FuncMap{
	"number": number, "size": size, "took": took, "spots": spots,
	"ago": func(at time.Time) string {
		if at.IsZero() {
			return "before this page"
		}
		return took(max(time.Since(at), time.Microsecond))
	},
	"clock": func(at time.Time) string { return at.Format(time.TimeOnly) },
	"join":  func(all []string) string { return strings.Join(all, ", ") },
	"sorts": func() []string { return []string{"queue", "bytes", "handled"} },
	"more":  func(all []peer) int { return max(len(all)-mostSpots, 0) },
}
