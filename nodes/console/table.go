package console

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// A table is printed in columns.
type table [][]any

func (t *table) add(row ...any) { *t = append(*t, row) }

// text is the table. Lines of more than two columns are cut where the screen ends now.
func (t table) text(ctx context.Context) Text {
	var b, text strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range t {
		line := strings.TrimSuffix(fmt.Sprintf(strings.Repeat("%v\t", len(row)), row...), "\t")
		fmt.Fprintln(w, strings.Map(printable, line))
	}
	w.Flush()
	columns, err := of(ctx).screen.Columns()
	for line := range strings.Lines(b.String()) {
		runes := []rune(strings.TrimRight(line, " \n"))
		if err == nil && len(t[0]) > 2 && len(runes) > columns && columns > 3 {
			runes = append(runes[:columns-3], []rune("...")...)
		}
		text.WriteString(string(runes) + "\n")
	}
	return Text(text.String())
}

// printable keeps what peers have named from moving the cursor.
func printable(r rune) rune {
	if r != '\t' && r != '\n' && unicode.IsControl(r) {
		return '?'
	}
	return r
}

// size is a number of bytes for people.
func size[N int | int64 | uint64](n N) string {
	unit := 0
	for ; n >= 10<<10 && unit < 5; n >>= 10 {
		unit++
	}
	return fmt.Sprintf("%d %s", n, []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}[unit])
}

// ago is how long ago something was; "" if that is not known.
func ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return time.Since(t).Round(time.Second).String()
}
