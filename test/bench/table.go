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

// quotients are the columns before the target, and those behind the peers.
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
	return first, []quotient{
		{head: "asleep/libei", of: func(o *outcome) *float64 { return o.Asleep }},
		{head: "serve/libei", of: func(o *outcome) *float64 { return o.Serve }},
	}
}

// writeText prints the ratios with the targets and every peer's medians, then the spread.
func (r report) writeText(w io.Writer) error {
	first, last := r.quotients()
	head, low := []string{""}, []string{"lowest .. highest"}
	for _, q := range first {
		head, low = append(head, q.head), append(low, q.head)
	}
	head = append(append(head, "target", "met", "unit"), r.Kinds...)
	for _, q := range last {
		head = append(head, q.head)
	}
	medians, spread := [][]string{head}, [][]string{append(append(low, "unit"), r.Kinds...)}
	for _, o := range r.Rows {
		if o.aside {
			continue
		}
		line, low := []string{o.Title}, []string{o.Title}
		for _, q := range first {
			line, low = append(line, ratio(q.of(&o))), append(low, extent(q.spread(&o)))
		}
		line, low = append(line, o.Target, o.Met, o.Unit), append(low, o.Unit)
		for _, kind := range r.Kinds {
			v, ok := o.Peers[kind]
			if !ok {
				line, low = append(line, "-"), append(low, "-")
				continue
			}
			line = append(line, figure(v.Median))
			low = append(low, figure(v.Min)+" .. "+figure(v.Max))
		}
		for _, q := range last {
			line = append(line, ratio(q.of(&o)))
		}
		medians, spread = append(medians, line), append(spread, low)
	}
	var b strings.Builder
	carrier := ""
	if r.TLS {
		carrier = strings.TrimSuffix(", TLS by "+r.OptFile, " by ")
	}
	fmt.Fprintf(&b, "%s; OTP %d%s; %s; %s; medians of %s; %.0f s; load %s\n\n",
		r.Machine, r.OTP, carrier, r.Go, r.Date, plural(r.Rounds, "round"), r.Seconds, r.Load)
	writeTable(&b, medians)
	b.WriteString("\n")
	writeTable(&b, spread)
	if len(r.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(strings.TrimSpace(note), "\n", "\n  "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeTable writes a Markdown table, its columns padded; the first is set to the left.
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
		return "-"
	}
	return strconv.FormatFloat(*q, 'f', 2, 64)
}

// extent prints the lowest and the highest ratio of all rounds.
func extent(ratios []float64) string {
	if len(ratios) == 0 {
		return "-"
	}
	low, high := slices.Min(ratios), slices.Max(ratios)
	return ratio(&low) + " .. " + ratio(&high)
}

// figure prints three significant digits, and more where they are whole.
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
