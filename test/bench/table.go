package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A quotient is a column of ratios.
type quotient struct {
	head   string
	of     func(o *outcome) *float64
	spread func(o *outcome) []float64
}

// quotients are the columns before the target, and those after the peers.
func (r report) quotients() (first, last []quotient) {
	defer func() {
		if slices.Contains(r.Kinds, nameMoved) {
			first = append(first, quotient{"moved/ours", func(o *outcome) *float64 { return o.Moved },
				func(o *outcome) []float64 { return o.ByRound.Moved }})
		}
		if slices.Contains(r.Kinds, namePair) {
			first = append(first, quotient{"pair/BEAM", func(o *outcome) *float64 { return o.Pair },
				func(o *outcome) []float64 { return o.ByRound.Pair }})
		}
	}()
	beam := quotient{"ours/BEAM", func(o *outcome) *float64 { return o.BEAM }, func(o *outcome) []float64 { return o.ByRound.BEAM }}
	if r.TLS {
		return []quotient{beam}, []quotient{{head: "serve/BEAM", of: func(o *outcome) *float64 { return o.Upper }}}
	}
	libei := quotient{"ours/libei", func(o *outcome) *float64 { return o.Libei }, func(o *outcome) []float64 { return o.ByRound.Libei }}
	first = []quotient{libei, beam}
	if slices.Contains(r.Kinds, nameC) {
		first = append(first, quotient{"ours/C", func(o *outcome) *float64 { return o.C }, func(o *outcome) []float64 { return o.ByRound.C }})
	}
	if slices.Contains(r.Kinds, nameErgo) {
		first = append(first, quotient{"ours/ergo", func(o *outcome) *float64 { return o.Ergo },
			func(o *outcome) []float64 { return o.ByRound.Ergo }})
	}
	if slices.Contains(r.Kinds, nameJSON) {
		first = append(first, quotient{"ours/json", func(o *outcome) *float64 { return o.JSON },
			func(o *outcome) []float64 { return o.ByRound.JSON }})
	}
	return first, []quotient{
		{head: "asleep/libei", of: func(o *outcome) *float64 { return o.Asleep }},
		{head: "serve/libei", of: func(o *outcome) *float64 { return o.Serve }},
	}
}

// A column is a column of a table: its head, and its cell in a row.
type column struct {
	head string
	cell func(o *outcome) string
}

// none is a cell without a value.
const none = "-"

var (
	titles = column{"", func(o *outcome) string { return o.Title }}
	units  = column{"unit", func(o *outcome) string { return o.Unit }}
)

// medians are the columns of the first table: the ratios with the targets, and every peer's
// medians.
func (r report) medians() []column {
	all := []column{titles}
	first, last := r.quotients()
	for _, q := range first {
		all = append(all, column{q.head, q.cell})
	}
	all = append(all,
		column{"target", func(o *outcome) string { return o.Target }}, column{"met", func(o *outcome) string { return o.Met }}, units)
	all = append(all, r.peers(func(v values) string { return figure(v.Median) })...)
	for _, q := range last {
		all = append(all, column{q.head, q.cell})
	}
	return all
}

// spreads are the columns of the second table: the lowest and the highest figures of the rounds.
func (r report) spreads() []column {
	all := []column{titles}
	first, _ := r.quotients()
	for _, q := range first {
		all = append(all, column{q.head, func(o *outcome) string { return extent(q.spread(o)) }})
	}
	all[0].head = "lowest .. highest"
	return append(append(all, units), r.peers(func(v values) string { return figure(v.Min) + " .. " + figure(v.Max) })...)
}

// cell is the quotient of a row.
func (q quotient) cell(o *outcome) string { return ratio(q.of(o)) }

// peers gives a column for each kind of peer.
func (r report) peers(text func(values) string) []column {
	var all []column
	for _, kind := range r.Kinds {
		all = append(all, column{kind, func(o *outcome) string {
			if v, ok := o.Peers[kind]; ok {
				return text(v)
			}
			return none
		}})
	}
	return all
}

// table gives the line of the heads, and one for each row. A column without a value in any row is
// left out.
func (r report) table(columns []column) [][]string {
	var rows []outcome
	for _, o := range r.Rows {
		if !o.aside {
			rows = append(rows, o)
		}
	}
	lines := make([][]string, 1+len(rows))
	for _, c := range columns {
		var cells []string
		valued := len(rows) == 0
		for _, o := range rows {
			cell := c.cell(&o)
			cells = append(cells, cell)
			valued = valued || cell != none && cell != ""
		}
		if !valued {
			continue
		}
		for i, cell := range append([]string{c.head}, cells...) {
			lines[i] = append(lines[i], cell)
		}
	}
	return lines
}

// writeText prints both tables.
func (r report) writeText(w io.Writer) error {
	var b strings.Builder
	carrier := ""
	if r.TLS {
		carrier = strings.TrimSuffix(", TLS by "+r.OptFile, " by ")
	}
	fmt.Fprintf(&b, "%s; OTP %d%s; %s; %s; medians of %s; %.0f s; load %s\n\n",
		r.Machine, r.OTP, carrier, r.Go, r.Date, plural(r.Rounds, "round"), r.Seconds, r.Load)
	writeTable(&b, r.table(r.medians()))
	b.WriteString("\n")
	writeTable(&b, r.table(r.spreads()))
	if len(r.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(strings.TrimSpace(note), "\n", "\n  "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeTable writes a Markdown table with padded columns, of which the first is aligned left and
// the others right.
func writeTable(b *strings.Builder, lines [][]string) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, line := range lines {
		for i, cell := range line {
			width := widths[i]
			if i == 0 {
				width = -width
			}
			fmt.Fprintf(b, "| %*s ", width, cell)
		}
		b.WriteString("|\n")
		if n == 0 {
			for i, width := range widths {
				b.WriteString("|" + strings.Repeat("-", width+1))
				if i == 0 {
					b.WriteString("-")
				} else {
					b.WriteString(":")
				}
			}
			b.WriteString("|\n")
		}
	}
}

func ratio(q *float64) string {
	if q == nil {
		return none
	}
	return strconv.FormatFloat(*q, 'f', 2, 64)
}

// extent prints the lowest and the highest ratio of all rounds.
func extent(ratios []float64) string {
	if len(ratios) == 0 {
		return none
	}
	low, high := slices.Min(ratios), slices.Max(ratios)
	return ratio(&low) + " .. " + ratio(&high)
}

// figure prints no decimals from 100 on, one from 10 on, and two below.
func figure(v float64) string {
	switch size := math.Abs(v); {
	case size >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case size == 0:
		return "0"
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
