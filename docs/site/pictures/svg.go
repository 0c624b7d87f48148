package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
)

// draw makes a picture of a terminal as it is at the end of an asciicast of version 2.
func draw(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	var head struct {
		Version, Width, Height int
		Title                  string
	}
	lines := json.NewDecoder(in)
	if err := lines.Decode(&head); err != nil {
		return err
	}
	if head.Version != 2 || head.Width < 1 || head.Height < 1 {
		return errors.New(from + ": no asciicast of version 2")
	}
	s := newScreen(head.Width, head.Height)
	for lines.More() {
		var event [3]any
		if err := lines.Decode(&event); err != nil {
			return err
		}
		if text, ok := event[2].(string); ok && event[1] == "o" {
			if err := s.print(text); err != nil {
				return fmt.Errorf("%s: %w", from, err)
			}
		}
	}
	return os.WriteFile(to, []byte(s.svg(head.Title)), 0o644)
}

// The places of the picture, in its own pixels.
const (
	wide   = 8.4 // a column
	high   = 19  // a row
	margin = 16
	bar    = 36 // the window's, with its title
)

const (
	ground = "#0d1117"
	ink    = "#e6edf3"
	pale   = "#9198a1"
)

var colours = map[int]string{
	0: ink, 30: "#484f58", 31: "#ff7b72", 32: "#3fb950", 33: "#d29922", 34: "#58a6ff", 35: "#bc8cff", 36: "#39c5cf", 37: "#b1bac4",
	90: "#6e7681", 91: "#ffa198", 92: "#56d364", 93: "#e3b341", 94: "#79c0ff", 95: "#d2a8ff", 96: "#56d4dd", 97: "#ffffff",
}

// svg is the picture, as a window with a title. Rows below the last one with text are left out.
func (s *screen) svg(title string) string {
	rows := s.rows
	for len(rows) > 0 && strings.TrimSpace(text(rows[len(rows)-1])) == "" {
		rows = rows[:len(rows)-1]
	}
	width, height := math.Ceil(float64(s.columns)*wide)+2*margin, len(rows)*high+bar+2*margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%g" height="%d" viewBox="0 0 %[1]g %[2]d" role="img" font-size="14" `+
		`font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" fill="%[3]s">`+"\n", width, height, ink)
	fmt.Fprintf(&b, "<title>%s, in a terminal</title>\n", escaped(title))
	fmt.Fprintf(&b, `<rect x="0.5" y="0.5" width="%g" height="%d" rx="8" fill="%s" stroke="#3d444d"/>`+"\n", width-1, height-1, ground)
	fmt.Fprintf(&b, `<path d="M0.5 %d.5H%g" stroke="#3d444d"/>`+"\n", bar, width-0.5)
	fmt.Fprintf(&b, `<text x="%d" y="23" fill="%s">$ %s</text>`+"\n", margin, pale, escaped(title))
	for i, row := range rows {
		for begin := 0; begin < len(row); {
			end := begin + run(row[begin:])
			s.write(&b, row[begin:end], margin+float64(begin)*wide, bar+margin+i*high)
			begin = end
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// run is how many cells are alike, up to a gap: what stands behind a gap has a place of its own,
// so that columns stay columns in any font.
func run(row []cell) int {
	n, gap := 1, row[0].char == ' '
	for n < len(row) && row[n].style == row[0].style {
		if blank := strings.TrimSpace(text(row[n:min(n+2, len(row))])) == ""; gap && row[n].char != ' ' || !gap && blank {
			break
		}
		n++
	}
	return n
}

// write writes cells of one style.
func (s *screen) write(b *strings.Builder, cells []cell, x float64, y int) {
	look, words, width := cells[0].style, text(cells), float64(len(cells))*wide
	colour, more := colours[look.colour], ""
	if look.reverse {
		fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", x, y, width, high, colour)
		colour = ground
	}
	if strings.TrimSpace(words) == "" {
		return
	}
	if colour != ink {
		more = fmt.Sprintf(" fill=%q", colour)
	}
	if look.bold {
		more += ` font-weight="bold"`
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%d" textLength="%.1f"%s>%s</text>`+"\n", x, y+14, width, more, escaped(words))
}

func text(cells []cell) string {
	var b strings.Builder
	for _, c := range cells {
		b.WriteRune(c.char)
	}
	return b.String()
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes all
	return b.String()
}
