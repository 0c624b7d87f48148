package top

import (
	"fmt"
	"strings"
	"time"

	"github.com/cnode-go/cnode/ei"
)

// text is the picture, of so many lines (negative: as many as there are) and columns; before, if
// not nil, is the sample before it, for rates.
func (s *sample) text(before *sample, by string, lines, width int) string {
	var b strings.Builder
	rate := func(now, then int64) string { return amount(now) + " in all" }
	if before != nil && before.UptimeMS < s.UptimeMS {
		rate = func(now, then int64) string { return amount((now-then)*1000/(s.UptimeMS-before.UptimeMS)) + "/s" }
	} else {
		before = s
	}
	up := (time.Duration(s.UptimeMS) * time.Millisecond).Round(time.Second)
	row := func(format string, args ...any) {
		if lines != 0 {
			b.WriteString(clip(fmt.Sprintf(format, args...), width) + "\n")
			lines--
		}
	}
	row("%s  up %v  %s", s.Node, up, s.System)
	row("%d schedulers, run queue %d, %d processes, reductions %s, in %s, out %s", s.Schedulers, s.RunQueue, s.Processes,
		rate(s.Reductions, before.Reductions), rate(s.BytesIn, before.BytesIn), rate(s.BytesOut, before.BytesOut))
	var memory []string
	for _, key := range []string{"total", "processes", "system", "atom", "binary", "code", "ets"} {
		memory = append(memory, key+" "+amount(s.Memory[key]))
	}
	row("memory: %s", strings.Join(memory, ", "))
	row("nodes: %s", strings.Join(names(s.Nodes), " "))
	row("")
	row("%-18s %9s %8s %9s %9s  %-30s %s", "pid", title("memory", by), title("queue", by), title("reductions", by), "status", "name",
		"current function")
	for _, p := range s.Top {
		reductions := p.Reductions
		if before != s {
			reductions = p.Recent
		}
		row("%-18s %9s %8d %9s %9s  %-30s %s", short(p.Pid), amount(p.Memory), p.Queue, amount(reductions), p.Status, clip(p.Name, 30), p.Current)
	}
	return b.String()
}

// title is the head of a column, marked if the rows are in its order.
func title(column, by string) string {
	mark := ""
	if column == by {
		mark = "*"
	}
	return strings.ReplaceAll(column, "reductions", "reds") + mark
}

// short is a pid without its node and creation.
func short(pid string) string {
	if at := strings.LastIndex(pid, "@"); at >= 0 {
		if parts := strings.Split(strings.TrimSuffix(pid[at:], ">"), "."); len(parts) > 3 {
			return "<0." + strings.Join(parts[len(parts)-3:len(parts)-1], ".") + ">"
		}
	}
	return pid
}

func names(atoms []ei.Atom) (list []string) {
	for _, a := range atoms {
		list = append(list, string(a))
	}
	return list
}

// amount is a number that is short to read: 1234567 is 1.2M.
func amount(n int64) string {
	v, unit := float64(n), ""
	for _, next := range []string{"k", "M", "G", "T"} {
		if v < 1000 && v > -1000 {
			break
		}
		v, unit = v/1000, next
	}
	if unit == "" {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%.1f%s", v, unit)
}

// clip cuts a line to a width, without what could move the terminal's cursor.
func clip(s string, width int) string {
	r := []rune(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s))
	return string(r[:min(len(r), max(width, 0))])
}
