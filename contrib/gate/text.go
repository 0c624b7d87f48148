package gate

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/cnode-go/cnode/ei"
)

// A value is a term of a configuration, and where it stands.
type value struct {
	ei.Term
	at *place
}

// A place is where a term begins, and of a tuple or list where its elements do.
type place struct {
	line  int
	parts []*place
}

// parseValue reads the text of a file.
func parseValue(text string) (value, error) {
	t, err := ei.Parse(text)
	if err != nil {
		if e, ok := errors.AsType[*ei.TextError](err); ok {
			line, column := e.Position(text)
			err = fmt.Errorf("line %d, column %d: %w", line, column, err)
		}
		return value{}, err
	}
	return value{t, places(text)}, nil
}

// places finds the places of a text that is a term.
func places(text string) *place {
	root := &place{}
	open, line, begins := []*place{root}, 1, true
	for i := 0; i < len(text); i++ {
		c, in := text[i], open[len(open)-1]
		switch {
		case c == '\n':
			line++
			continue
		case c <= ' ':
			continue
		case c == '%':
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
			continue
		case c == ',' || c == '|':
			begins = true
			continue
		case (c == '}' || c == ']' || c == '>' && text[i-1] != '=') && len(open) > 1:
			open, begins = open[:len(open)-1], false
			continue
		}
		if begins {
			in.parts, begins = append(in.parts, &place{line: line}), false
		}
		switch c {
		case '{', '[', '<':
			open, begins = append(open, in.parts[len(in.parts)-1]), true
		case '$':
			if i++; text[i] == '\\' {
				i++
			}
		case '"', '\'':
			for i++; text[i] != c; i++ {
				if text[i] == '\\' {
					i++
				}
				line += strings.Count(text[i:i+1], "\n")
			}
		}
	}
	return root.parts[0]
}

// elements are those of a list.
func (v value) elements() ([]value, bool) {
	list, ok := ei.Elements(v.Term)
	return v.with(list), ok
}

// tuple gives the elements of a tuple of n.
func (v value) tuple(n int) ([]value, bool) {
	t, ok := v.Term.(ei.Tuple)
	return v.with(t), ok && len(t) == n
}

// with tells terms of v where they stand: a text is a list of one place.
func (v value) with(terms []ei.Term) (list []value) {
	for i, t := range terms {
		at := v.at
		if i < len(at.parts) {
			at = at.parts[i]
		}
		list = append(list, value{t, at})
	}
	return list
}

// quote writes text as Erlang reads it.
func quote(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\x{%x}`, r)
		}
	}
	return `"` + b.String() + `"`
}
