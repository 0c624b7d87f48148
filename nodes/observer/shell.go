package observer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/groupleader"
	"github.com/cnode-go/cnode/nodes/introspect"
)

// What the shell's helpers show, called by rpc:call: see module c of OTP's stdlib. They print where
// the caller prints.

// columns are a line of texts, as io:format("~-21ts ~8s") prints them: padded to so many
// characters, and cut there. Those of a negative width begin at the left.
type columns []int

func (c columns) print(w io.Writer, texts ...any) {
	cells := make([]string, len(c))
	for i, width := range c {
		var cell []rune
		if i < len(texts) {
			cell = []rune(fmt.Sprint(texts[i]))
		}
		cells[i] = fmt.Sprintf("%*s", width, string(cell[:min(len(cell), max(width, -width))]))
	}
	fmt.Fprintln(w, strings.Join(cells, " "))
}

// printed prints what f writes at the caller's group leader.
func printed(ctx context.Context, f func(w io.Writer)) (ei.Atom, error) {
	w := bufio.NewWriterSize(groupleader.Of(ctx), 32<<10)
	f(w)
	return "ok", w.Flush()
}

// inOrder are all processes, in the order of their pids.
func (b *observer) inOrder() []introspect.Process {
	return slices.SortedFunc(b.n.Processes(), func(x, y introspect.Process) int { return x.Pid.Compare(y.Pid) })
}

// number is an item of process_info that is one.
func (b *observer) number(p *introspect.Process, item ei.Atom) ei.Int {
	n, _ := b.item(&looked{Details: introspect.Details{Process: *p}}, item).(ei.Int)
	return n
}

// shellI is c:i/0.
func (b *observer) shellI(ctx context.Context) (ei.Atom, error) {
	return printed(ctx, func(w io.Writer) {
		row := columns{-21, -33, 8, 8, 4}
		row.print(w, "Pid", "Initial Call", "Heap", "Reds", "Msgs")
		row.print(w, "Registered", "Current Function", "Stack")
		var heaps, handled, stacks, unread ei.Int
		for _, p := range b.inOrder() {
			heap, stack := b.number(&p, "heap_size"), b.number(&p, "stack_size")
			row.print(w, pidText(p.Pid), short(runs(&p)), heap, p.Handled, p.Queue)
			row.print(w, nameIn(&p), short(current(&p)), stack)
			heaps, stacks, handled, unread = heaps+heap, stacks+stack, handled+ei.Int(p.Handled), unread+ei.Int(p.Queue)
		}
		row.print(w, "Total", "", heaps, handled, unread)
		row.print(w, "", "", stacks)
	})
}

// short is a function without the path of its package, which would fill the column.
func short(f introspect.MFA) introspect.MFA {
	f.Module = ei.Atom(path.Base(string(f.Module)))
	return f
}

// nameIn is the name of a process as Erlang writes it; "" if it has none.
func nameIn(p *introspect.Process) string {
	if len(p.Names) == 0 {
		return ""
	}
	return ei.Brief(p.Names[0], 300)
}

// shellRegs is c:regs/0. What of it is about ports has no lines here.
func (b *observer) shellRegs(ctx context.Context) (ei.Atom, error) {
	type named struct {
		name ei.Atom
		introspect.Process
	}
	var all []named
	for p := range b.n.Processes() {
		for _, name := range p.Names {
			all = append(all, named{name, p})
		}
	}
	slices.SortFunc(all, func(x, y named) int { return ei.Compare(x.name, y.name) })
	return printed(ctx, func(w io.Writer) {
		node, row := ei.Brief(ei.Atom(b.n.Name()), 300), columns{-21, -12, -25, 12, 4}
		fmt.Fprintf(w, "\n** Registered procs on node %s **\n", node)
		row.print(w, "Name", "Pid", "Initial Call", "Reds", "Msgs")
		for _, p := range all {
			row.print(w, ei.Brief(p.name, 300), pidText(p.Pid), short(runs(&p.Process)), p.Handled, p.Queue)
		}
		fmt.Fprintf(w, "\n** Registered ports on node %s **\n", node)
		columns{-21, -15, -40}.print(w, "Name", "Id", "Command")
	})
}

// shellUptime is c:uptime/0.
func (b *observer) shellUptime(ctx context.Context) (ei.Atom, error) {
	return printed(ctx, func(w io.Writer) { fmt.Fprintln(w, uptime(time.Since(b.began))) })
}

func uptime(d time.Duration) string {
	s := int64(d / time.Second)
	text := fmt.Sprintf("%d seconds", s%60)
	for _, unit := range []struct {
		seconds int64
		format  string
	}{{60, "%d minutes and "}, {3600, "%d hours, "}, {86400, "%d days, "}} {
		if s < unit.seconds {
			break
		}
		n := s / unit.seconds
		switch unit.seconds {
		case 60:
			n %= 60
		case 3600:
			n %= 24
		}
		text = fmt.Sprintf(unit.format, n) + text
	}
	return text
}
