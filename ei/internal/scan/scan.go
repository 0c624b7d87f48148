// Package scan has what the readers of Erlang's and of Elixir's text share: a place in a text, the
// tokens there, and how terms are nested. Nothing here knows what a term is. Package ei and its
// sub-packages call it; nothing blocks.
package scan

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Language is what differs between the two.
type Language struct {
	LastComma  bool                                  // the last part of a term may have a comma, too
	Comment    byte                                  // begins a comment, which ends with its line
	NoComment  func(rest string) bool                // whether rest, with that byte, begins none; nil: never
	IsVariable func(first rune) bool                 // whether a variable may begin so, besides _
	AtomOf     func(variable string) string          // the atom that looks like a variable
	Fail       func(offset int, reason string) error // the error of a text that is wrong there
}

// A Text is a text that has been read up to Pos.
type Text struct {
	*Language
	S   string
	Pos int
}

// Bad is the error of what stands at Pos.
func (t *Text) Bad(reason string) error { return t.Fail(t.Pos, reason) }

// longest is how many bytes of a name an error may have: those of a long atom.
const longest = 255

// Unexpected is the error of what stands at Pos, where it has no place.
func (t *Text) Unexpected() error {
	if t.Pos >= len(t.S) {
		return t.Bad("unexpected end")
	}
	rest := t.S[t.Pos:]
	hint := ""
	if name := t.variable(rest); name != "" && len(name) <= longest {
		hint = ", a variable: an atom is " + t.AtomOf(name)
	}
	if len(rest) > 20 {
		rest = strings.ToValidUTF8(rest[:20], "") + "..."
	}
	return t.Bad("unexpected " + strconv.Quote(rest) + hint)
}

// variable is the name of a variable, which has no value here, that text begins with; "": none.
func (t *Text) variable(text string) string {
	if first, _ := utf8.DecodeRuneInString(text); first != '_' && !t.IsVariable(first) {
		return ""
	}
	end := strings.IndexFunc(text, func(r rune) bool {
		return r != '_' && r != '@' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	if end < 0 {
		return text
	}
	return text[:end]
}

// Peek gives the next byte, 0 at the end (where every caller fails as with any unexpected byte).
func (t *Text) Peek() byte {
	if t.Pos < len(t.S) {
		return t.S[t.Pos]
	}
	return 0
}

// Space skips white space and comments.
func (t *Text) Space() {
	for t.Pos < len(t.S) {
		switch x := t.S[t.Pos]; {
		case x <= ' ':
			t.Pos++
		case x == t.Comment && (t.NoComment == nil || !t.NoComment(t.S[t.Pos:])):
			end := strings.IndexByte(t.S[t.Pos:], '\n')
			if end < 0 {
				t.Pos = len(t.S)
			} else {
				t.Pos += end
			}
		case x == 0xc2 && t.Pos+1 < len(t.S) && t.S[t.Pos+1] <= 0xa0: // U+0080 to U+00A0
			t.Pos += 2
		default:
			return
		}
	}
}

// Accept skips white space, and the token when it is next.
func (t *Text) Accept(token string) bool {
	t.Space()
	if strings.HasPrefix(t.S[t.Pos:], token) {
		t.Pos += len(token)
		return true
	}
	return false
}

// Expect is Accept, and an error when another token is next.
func (t *Text) Expect(token string) error {
	if t.Accept(token) {
		return nil
	}
	return t.Unexpected()
}

// Digits reads one or more digits, with single underscores between them.
func (t *Text) Digits(base int) (string, error) {
	start := t.Pos
	for IsDigit(t.Peek(), base) {
		t.Pos++
		if t.Peek() == '_' && t.Pos+1 < len(t.S) && IsDigit(t.S[t.Pos+1], base) {
			t.Pos++
		}
	}
	if t.Pos == start {
		return "", t.Unexpected()
	}
	return t.S[start:t.Pos], nil
}

// IsDigit tells whether x is a digit to a base of 2 to 36.
func IsDigit(x byte, base int) bool {
	switch {
	case x >= '0' && x <= '9':
		return int(x-'0') < base
	case x >= 'a' && x <= 'z':
		return int(x-'a')+10 < base
	case x >= 'A' && x <= 'Z':
		return int(x-'A')+10 < base
	}
	return false
}

// Fraction reads, behind the digits of a number, a point with digits, and an exponent; false if no
// point with a digit is next.
func (t *Text) Fraction() (bool, error) {
	if t.Peek() != '.' || t.Pos+1 >= len(t.S) || !IsDigit(t.S[t.Pos+1], 10) {
		return false, nil
	}
	t.Pos++
	if _, err := t.Digits(10); err != nil {
		return true, err
	}
	if x := t.Peek(); x == 'e' || x == 'E' {
		t.Pos++
		if x := t.Peek(); x == '+' || x == '-' {
			t.Pos++
		}
		if _, err := t.Digits(10); err != nil {
			return true, err
		}
	}
	return true, nil
}
