package observer

import (
	"cmp"
	"context"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/asker"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/introspect"
)

// What observer_backend does: see the module of that name in OTP's application runtime_tools.

// processesAtOnce is how many processes a message of procs_info has.
const processesAtOnce = 10_000

// procsInfo is observer_backend:procs_info/1: it sends the processes, in several messages.
func (b *observer) procsInfo(ctx context.Context, collector ei.Pid) (ei.Atom, error) {
	self := nodes.MailboxOf(ctx)
	send := func(l *processList) error {
		list, err := l.list()
		if err != nil {
			return err
		}
		return b.send(ctx, collector, ei.Tuple{ei.Atom("procs_info"), self.Pid(), list})
	}
	l := processList{labels: b.showsLabels(ctx)}
	for p := range b.n.Processes() {
		if p.Pid == self.Pid() {
			continue
		}
		if l.add(&p); l.n == processesAtOnce {
			if err := send(&l); err != nil {
				return "", err
			}
			l.reset()
		}
	}
	return "ok", send(&l)
}

// etopCollect is observer_backend:etop_collect/1: it sends what etop shows, in one message.
func (b *observer) etopCollect(ctx context.Context, collector ei.Pid) (ei.Atom, error) {
	self := nodes.MailboxOf(ctx)
	l := processList{labels: b.showsLabels(ctx)}
	// if etop sorts by run times, which are all 0, it shows first what is last here
	all := slices.SortedStableFunc(b.n.Processes(), func(x, y introspect.Process) int { return cmp.Compare(x.Handled, y.Handled) })
	for _, p := range all {
		if p.Pid != self.Pid() {
			l.add(&p)
		}
	}
	list, err := l.list()
	if err != nil {
		return "", err
	}
	info := ei.Tuple{ei.Atom("etop_info"), timestamp(time.Now()), ei.Int(l.n), ei.Atom("undefined"), b.schedulers(), runnable(),
		ei.List{}, b.memory(), list}
	return "ok", b.send(ctx, collector, ei.Tuple{self.Pid(), info})
}

// send sends to a process that the caller has named, if the caller could send there itself.
func (b *observer) send(ctx context.Context, to ei.Pid, t ei.Term) error {
	if !asker.MaySend(b.n, nodes.ConnOf(ctx), to) {
		return eacces
	}
	return nodes.MailboxOf(ctx).Send(nodes.NoConnect(ctx), to, t)
}

// asker is the node of the caller of a function.
func (b *observer) asker(ctx context.Context) string { return asker.Of(b.n, nodes.ConnOf(ctx)) }

// showsLabels tells whether the node that asks shows processes by their labels: Observer before OTP
// 27 fails when it sorts them.
func (b *observer) showsLabels(ctx context.Context) bool {
	c := nodes.ConnOf(ctx)
	switch {
	case c == nil:
		return true
	case !asks(ctx):
		return false
	}
	ctx, cancel := context.WithTimeout(nodes.NoConnect(ctx), time.Second)
	defer cancel()
	release, err := nodes.RPCAs[string](ctx, b.n, c.Name(), "erlang", "system_info", ei.Atom("otp_release"))
	return err == nil && release >= "27"
}

// A processList is a list of #etop_proc_info{}, encoded one by one: there may be very many.
type processList struct {
	labels bool
	n      int
	b      []byte
	err    error
}

func (l *processList) reset() { l.n, l.b = 0, make([]byte, 0, len(l.b)+len(l.b)/8) }

func (l *processList) add(p *introspect.Process) {
	l.n++
	l.b = ei.AppendTupleHeader(l.b, 8)
	l.atom("etop_proc_info")
	b, err := ei.AppendPid(l.b, p.Pid)
	l.err = cmp.Or(l.err, err)
	b = ei.AppendInt(b, int64(p.Memory()))
	l.b = ei.AppendInt(b, int64(p.Handled))
	switch {
	case len(p.Names) > 0:
		l.atom(p.Names[0])
	case p.Label != nil && l.labels:
		c := ei.NewCursor(p.Label)
		if label, err := c.Binary(); err == nil && utf8.Valid(label) {
			l.b = ei.AppendBinary(l.b, label)
		} else {
			l.b = ei.AppendBinary(l.b, []byte(text(p.Label)))
		}
	default:
		l.function(runs(p))
	}
	l.b = ei.AppendInt(l.b, 0)
	l.function(current(p))
	l.b = ei.AppendInt(l.b, int64(p.Queue))
}

func (l *processList) atom(a ei.Atom) {
	b, err := ei.AppendAtom(l.b, a)
	l.b, l.err = b, cmp.Or(l.err, err)
}

func (l *processList) function(f introspect.MFA) {
	l.b = ei.AppendTupleHeader(l.b, 3)
	l.atom(f.Module)
	l.atom(f.Function)
	l.b = ei.AppendInt(l.b, int64(f.Arity))
}

func (l *processList) list() (ei.Raw, error) {
	if l.n == 0 {
		return ei.AppendNil(nil), l.err
	}
	b := ei.AppendListHeader(make([]byte, 0, len(l.b)+8), l.n)
	return ei.AppendNil(append(b, l.b...)), l.err
}

// fetchStats is observer_backend:fetch_stats/2, behind Observer's Load Charts: it sends figures
// until it gets a message, or the caller has gone.
func (b *observer) fetchStats(ctx context.Context, parent ei.Pid, ms int64) (ei.Atom, error) {
	nodes.EndAtStop(ctx)
	self := nodes.MailboxOf(ctx)
	self.TrapExit(true)
	every := time.Duration(min(max(ms, 10), 3_600_000)) * time.Millisecond
	for !received(ctx, self, every) {
		if ctx.Err() != nil {
			break
		}
		io, err := b.statistics("io")
		if err == nil {
			err = b.send(ctx, parent, ei.Tuple{ei.Atom("stats"), ei.Int(1), b.schedulers(), io, b.memory()})
		}
		if err != nil && ctx.Err() == nil {
			return "", err
		}
	}
	return "ok", nil
}

// received waits for a message; false: none has come in that time.
func received(ctx context.Context, self *nodes.Mailbox, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, err := self.Receive(ctx)
	return err == nil
}

// getTables is observer_backend:get_table_list/2: there are none.
func getTables(kind ei.Atom, _ ei.Term) ei.Term {
	if kind == "mnesia" {
		return pair("error", otp.Charlist("A node of Go has no Mnesia"))
	}
	return ei.List{}
}
