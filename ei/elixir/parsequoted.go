package elixir

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
)

// quotedTerm reads "text" or 'text': a binary, a list of characters or, with a colon behind it, the
// key of a keyword.
func (p *parser) quotedTerm() (t ei.Term, isKey bool, err error) {
	start, quote := p.Pos, p.Peek()
	text, err := p.quotedText(quote)
	if err != nil {
		return nil, false, err
	}
	switch {
	case p.isKeyEnd():
		t, err = p.atom(string(text), start)
		return t, true, err
	case quote == '\'':
		t, err = p.charlist(text, start)
		return t, false, err
	}
	return ei.Binary(text), false, nil
}

// charlist makes a list of the characters of text, which began at start.
func (p *parser) charlist(text []byte, start int) (ei.Term, error) {
	if !utf8.Valid(text) {
		return nil, &ei.TextError{Offset: start, Reason: "a list of characters that are not UTF-8", Err: ei.ErrText}
	}
	runes := []rune(string(text))
	latin1 := make([]byte, 0, len(runes))
	for _, r := range runes {
		if r <= 0xff {
			latin1 = append(latin1, byte(r))
		}
	}
	if n := len(latin1); n == len(runes) && n > 0 && n <= 0xffff { // STRING_EXT holds no more
		return ei.String(latin1), nil
	}
	list := make(ei.List, len(runes))
	for i, r := range runes {
		list[i] = ei.Int(r)
	}
	return list, nil
}

// quotedText reads text between quotes.
func (p *parser) quotedText(quote byte) ([]byte, error) {
	if strings.HasPrefix(p.S[p.Pos:], strings.Repeat(string(quote), 3)) {
		return nil, p.Bad("a heredoc is not read")
	}
	start := p.Pos
	p.Pos++
	text := []byte{}
	for p.Pos < len(p.S) {
		rest := p.S[p.Pos:]
		switch x := rest[0]; {
		case x == quote:
			p.Pos++
			return text, nil
		case x == '\\':
			var err error
			if text, err = p.escape(text); err != nil {
				return nil, err
			}
		case strings.HasPrefix(rest, "#{"):
			return nil, p.Bad("interpolation is not read")
		default:
			r, n := utf8.DecodeRuneInString(rest)
			if r == utf8.RuneError && n == 1 {
				return nil, p.Bad("not UTF-8")
			}
			text = append(text, rest[:n]...)
			p.Pos += n
		}
	}
	p.Pos = start
	return nil, p.Bad("no closing quote")
}

// escapeIndex gives the place in escaped of the character that stands behind a backslash;
// -1: none.
func escapeIndex(r rune) int { return strings.IndexRune("0abdefnrstv", r) }

const escaped = "\x00\a\b\x7f\x1b\f\n\r \t\v"

// escape reads what begins with a backslash, and appends the bytes that it stands for.
func (p *parser) escape(text []byte) ([]byte, error) {
	start := p.Pos
	p.Pos++
	r, n := utf8.DecodeRuneInString(p.S[p.Pos:])
	if n == 0 || r == utf8.RuneError && n == 1 {
		return nil, p.Unexpected()
	}
	p.Pos += n
	if i := escapeIndex(r); i >= 0 {
		return append(text, escaped[i]), nil
	}
	if r == '\r' && p.Peek() == '\n' {
		p.Pos++
		r = '\n'
	}
	if r == '\n' { // the line goes on
		return text, nil
	}
	if r != 'x' && r != 'u' {
		return utf8.AppendRune(text, r), nil
	}
	digits, isByte := "", false
	if rest := p.S[p.Pos:]; strings.HasPrefix(rest, "{") {
		if end := strings.IndexByte(rest, '}'); end > 0 && end <= 7 {
			digits = rest[1:end]
			p.Pos += end + 1
		}
	} else {
		want := 4
		if isByte = r == 'x'; isByte {
			want = 2
		}
		digits = rest[:min(want, len(rest))]
		if len(digits) < want {
			digits = ""
		}
		p.Pos += len(digits)
	}
	v, err := strconv.ParseUint(digits, 16, 32)
	switch {
	case err != nil || strings.Contains(digits, "_") || !isByte && (v > utf8.MaxRune || !utf8.ValidRune(rune(v))):
		p.Pos = start
		return nil, p.Bad("bad escape")
	case isByte:
		return append(text, byte(v)), nil
	}
	return utf8.AppendRune(text, rune(v)), nil
}

// sigil reads those that inspect writes: ~c"text", ~D[2026-01-31] and its kin.
func (p *parser) sigil() (ei.Term, error) {
	start := p.Pos
	rest := p.S[start+1:]
	n := 0
	for n < len(rest) && (rest[n] >= 'a' && rest[n] <= 'z' || rest[n] >= 'A' && rest[n] <= 'Z') {
		n++
	}
	name, rest := rest[:n], rest[n:]
	end := strings.IndexByte(rest, ']')
	switch {
	case name == "c" && strings.HasPrefix(rest, `"`):
		p.Pos += 1 + n
		text, err := p.quotedText('"')
		if err != nil {
			return nil, err
		}
		return p.charlist(text, start)
	case name == "" || rest == "":
		return nil, p.Unexpected()
	case rest[0] != '[' || end < 0:
		return nil, p.Bad("the sigil ~" + name + " is not read so")
	}
	p.Pos += 1 + n + end + 1
	t, err := literal(name, rest[1:end])
	if err != nil {
		return nil, &ei.TextError{Offset: start, Reason: err.Error(), Err: ei.ErrText}
	}
	return t, nil
}

// opaqueHead gives #Name< if s begins with it: what inspect writes for what has no syntax. Anything
// else behind a # is a comment.
func opaqueHead(s string) string {
	if len(s) < 2 || s[1] < 'A' || s[1] > 'Z' {
		return ""
	}
	end := 1
	for end < len(s) && (isNameByte(s[end]) || s[end] == '.') {
		end++
	}
	if end == len(s) || s[end] != '<' {
		return ""
	}
	return s[:end+1]
}
