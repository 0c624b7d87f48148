package console

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cnode-go/cnode/ei"
)

// A table is printed in columns.
type table [][]string

func (t *table) add(row ...string) { *t = append(*t, row) }

// text is the table, as wide as the screen is now.
func (t table) text(ctx context.Context) Text {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range t {
		fmt.Fprintln(w, strings.ReplaceAll(strings.Join(row, "\t"), "\n", " "))
	}
	w.Flush()
	columns, err := of(ctx).screen.Columns()
	if err != nil { // it is no terminal
		return Text(b.String())
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i, line := range lines {
		line = strings.TrimRight(line, " ")
		if runes := []rune(line); len(runes) > columns && columns > 10 {
			line = string(runes[:columns-1]) + "…"
		}
		lines[i] = line
	}
	return Text(strings.Join(lines, "\n") + "\n")
}

// size is a number of bytes for people.
func size(n uint64) string {
	if n < 10<<10 {
		return fmt.Sprintf("%d B", n)
	}
	unit := 0
	for ; n >= 10<<20; n >>= 10 {
		unit++
	}
	return fmt.Sprintf("%d %ciB", n>>10, "KMGTP"[unit])
}

// ago is how long ago something was; "" if that is not known.
func ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := time.Since(t)
	if d >= 48*time.Hour {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return d.Round(time.Second).String()
}

// mostStackLines are printed of goroutines.
const mostStackLines = 400

func (c *console) stacks(ctx context.Context, which ...ei.Term) (Text, error) {
	filter := ""
	for _, t := range which {
		var text string
		if pid, ok := t.(ei.Pid); ok {
			d, _ := c.n.Process(pid)
			if d.Goroutine == "" {
				return "", fmt.Errorf("its goroutine is not known: see Config.ProfileLabels")
			}
			text = fmt.Sprintf(`"process":%q`, d.Goroutine)
		} else if err := (&ei.DecodeOptions{AtomText: true, LenientText: true}).UnmarshalTerm(t, &text); err != nil {
			return "", err
		}
		filter = text
	}
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return "", err
	}
	var b strings.Builder
	lines, left := 0, 0
	for i, group := range strings.Split(strings.TrimSpace(profile.String()), "\n\n") {
		n := strings.Count(group, "\n") + 2
		switch {
		case i > 0 && !strings.Contains(group, filter):
		case lines+n > mostStackLines:
			left++
		default:
			lines += n
			b.WriteString(group + "\n\n")
		}
	}
	if left > 0 {
		fmt.Fprintf(&b, "%d more stacks: stacks TEXT shows those that contain it\n", left)
	}
	return Text(b.String()), nil
}
