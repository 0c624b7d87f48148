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

// writeText prints the ratios with the targets and every peer's medians, then the spread.
func (r report) writeText(w io.Writer) error {
	head := []string{"", "ours/libei", "ours/BEAM", "target", "met", "unit"}
	medians := [][]string{append(append([]string{}, head...), append(r.Kinds, "asleep/libei", "serve/libei")...)}
	spread := [][]string{append([]string{"lowest .. highest", "ours/libei", "ours/BEAM", "unit"}, r.Kinds...)}
	for _, o := range r.Rows {
		if o.aside {
			continue
		}
		line := []string{o.Title, ratio(o.Libei), ratio(o.BEAM), o.Target, o.Met, o.Unit}
		low := []string{o.Title, extent(o.ByRound.Libei), extent(o.ByRound.BEAM), o.Unit}
		for _, kind := range r.Kinds {
			v, ok := o.Peers[kind]
			if !ok {
				line, low = append(line, "-"), append(low, "-")
				continue
			}
			line = append(line, figure(v.Median))
			low = append(low, figure(v.Min)+" .. "+figure(v.Max))
		}
		medians = append(medians, append(line, ratio(o.Asleep), ratio(o.Serve)))
		spread = append(spread, low)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s; OTP %d; %s; %s; medians of %s; %.0f s; load %s\n\n",
		r.Machine, r.OTP, r.Go, r.Date, plural(r.Rounds, "round"), r.Seconds, r.Load)
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
