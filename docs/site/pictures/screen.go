package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A style is how a character looks.
type style struct {
	colour        int // 0: the usual one; 30 to 37 and 90 to 97, as the sequences number them
	bold, reverse bool
}

// A cell is a place of the screen.
type cell struct {
	char rune
	style
}

// A screen is what a terminal shows. It knows the sequences that programs like ours print, and
// refuses others, so that no picture is wrong.
type screen struct {
	rows        [][]cell
	columns     int
	row, column int  // the cursor's
	full        bool // a character stands in the last column, and the next one goes into the next row
	top, bottom int  // the rows that scroll
	now         style
}

func newScreen(columns, rows int) *screen {
	s := &screen{columns: columns, bottom: rows - 1}
	for range rows {
		s.rows = append(s.rows, s.empty())
	}
	return s
}

func (s *screen) empty() []cell {
	line := make([]cell, s.columns)
	for i := range line {
		line[i].char = ' '
	}
	return line
}

// print takes what a program prints.
func (s *screen) print(text string) error {
	for text != "" {
		if rest, isSequence := strings.CutPrefix(text, "\x1b"); isSequence {
			n, err := s.sequence(rest)
			if err != nil {
				return err
			}
			text = rest[n:]
			continue
		}
		r, n := utf8.DecodeRuneInString(text)
		text = text[n:]
		switch r {
		case '\r':
			s.move(s.row, 0)
		case '\n':
			s.feed()
		case '\b':
			s.move(s.row, s.column-1)
		case '\t':
			s.move(s.row, s.column/8*8+8)
		case '\a', 0:
		default:
			if r < ' ' {
				return fmt.Errorf("unknown control character %q", r)
			}
			s.put(r)
		}
	}
	return nil
}

func (s *screen) put(r rune) {
	if s.full {
		s.feed()
		s.move(s.row, 0)
	}
	s.rows[s.row][s.column] = cell{r, s.now}
	if s.full = s.column == s.columns-1; !s.full {
		s.column++
	}
}

func (s *screen) move(row, column int) {
	s.row, s.column, s.full = min(max(row, 0), len(s.rows)-1), min(max(column, 0), s.columns-1), false
}

// feed goes to the next row; at the last one that scrolls the rows go up.
func (s *screen) feed() {
	if s.row == s.bottom {
		s.shift(s.top, 1)
	} else {
		s.move(s.row+1, s.column)
	}
	s.full = false
}

// shift takes n rows away from a row on, and adds as many at the bottom; the other way round if n
// is negative.
func (s *screen) shift(from, n int) {
	for ; n > 0; n-- {
		s.rows = slices.Insert(slices.Delete(s.rows, from, from+1), s.bottom, s.empty())
	}
	for ; n < 0; n++ {
		s.rows = slices.Insert(slices.Delete(s.rows, s.bottom, s.bottom+1), from, s.empty())
	}
}

// talk is for the terminal, not for its screen: the window's title, and questions.
var talk = regexp.MustCompile(`^[\]P][^\x07\x1b]*(?:\x07|\x1b\\)`)

// sequence does what stands behind an escape character, and gives its length.
func (s *screen) sequence(text string) (int, error) {
	unknown := fmt.Errorf("unknown sequence %q", text[:min(len(text), 20)])
	switch {
	case text == "":
		return 0, unknown
	case text[0] == '=' || text[0] == '>': // what keys send
		return 1, nil
	case text[0] == 'M':
		if s.row == s.top {
			s.shift(s.top, -1)
		} else {
			s.move(s.row-1, s.column)
		}
		return 1, nil
	case talk.MatchString(text):
		return len(talk.FindString(text)), nil
	case text[0] != '[':
		return 0, unknown
	}
	end := strings.IndexFunc(text[1:], func(r rune) bool { return r >= '@' }) + 1
	if end == 0 {
		return 0, unknown
	}
	args := text[1:end]
	switch text[1 : end+1] {
	case "?1049h": // a screen apart
		s.clear(0, 0, len(s.rows), s.columns)
	case "?1049l":
		return 0, errors.New("the program has left the screen: what was there is gone")
	}
	if strings.ContainsAny(args, "?<=>$ ") { // modes, and questions that nobody answers
		return end + 1, nil
	}
	var n []int
	for arg := range strings.SplitSeq(args, ";") {
		v, err := strconv.Atoi(arg)
		if err != nil && arg != "" {
			return 0, unknown
		}
		n = append(n, v)
	}
	if !s.control(text[end], n) {
		return 0, unknown
	}
	return end + 1, nil
}

// control does what a sequence says that ends with a letter.
func (s *screen) control(letter byte, n []int) bool {
	times := max(n[0], 1)
	line := s.rows[s.row]
	switch letter {
	case 'A':
		s.move(s.row-times, s.column)
	case 'B':
		s.move(s.row+times, s.column)
	case 'C':
		s.move(s.row, s.column+times)
	case 'D':
		s.move(s.row, s.column-times)
	case 'G', '`':
		s.move(s.row, times-1)
	case 'd':
		s.move(times-1, s.column)
	case 'H', 'f':
		s.move(times-1, max(append(n, 1)[1], 1)-1)
	case 'I':
		s.move(s.row, (s.column/8+times)*8)
	case 'Z':
		s.move(s.row, ((s.column+7)/8-times)*8)
	case 'J':
		switch n[0] {
		case 0:
			s.clear(s.row, s.column, s.row+1, s.columns)
			s.clear(s.row+1, 0, len(s.rows), s.columns)
		case 2:
			s.clear(0, 0, len(s.rows), s.columns)
		default:
			return false
		}
	case 'K':
		from, to := s.column, s.columns
		if n[0] > 0 {
			from = 0
		}
		if n[0] == 1 {
			to = s.column + 1
		}
		s.clear(s.row, from, s.row+1, to)
	case 'X':
		s.clear(s.row, s.column, s.row+1, min(s.column+times, s.columns))
	case 'P':
		s.rows[s.row] = append(slices.Delete(line, s.column, min(s.column+times, s.columns)), s.empty()...)[:s.columns]
	case '@':
		s.rows[s.row] = slices.Insert(line, s.column, s.empty()[:min(times, s.columns)]...)[:s.columns]
	case 'b':
		last := line[max(s.column-1, 0)].char
		for range times {
			s.put(last)
		}
	case 'L':
		s.shift(s.row, -times)
	case 'M':
		s.shift(s.row, times)
	case 'S':
		s.shift(s.top, times)
	case 'T':
		s.shift(s.top, -times)
	case 'r':
		s.top, s.bottom = times-1, append(n, 0)[1]-1
		if s.bottom < 0 {
			s.bottom = len(s.rows) - 1
		}
		s.move(0, 0)
	case 'm':
		return s.dress(n)
	case 'h', 'l', 't', 'n', 'c': // modes and questions
	default:
		return false
	}
	return true
}

func (s *screen) clear(row, column, beyondRow, beyondColumn int) {
	for ; row < beyondRow; row++ {
		copy(s.rows[row][column:beyondColumn], s.empty())
	}
}

// dress changes the style of what follows.
func (s *screen) dress(codes []int) bool {
	for _, c := range codes {
		switch {
		case c == 0:
			s.now = style{}
		case c == 1 || c == 22:
			s.now.bold = c == 1
		case c == 7 || c == 27:
			s.now.reverse = c == 7
		case c >= 30 && c <= 37 || c >= 90 && c <= 97:
			s.now.colour = c
		case c == 39:
			s.now.colour = 0
		default:
			return false
		}
	}
	return true
}
