package ei

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

func (p *textParser) quotedAtom() (Term, error) {
	start := p.Pos
	var text []byte
	err := p.quoted('\'', func(r rune) error {
		if len(text) > maxAtomBytes {
			return &TextError{Offset: start, Err: ErrAtom}
		}
		text = utf8.AppendRune(text, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p.atom(string(text), start)
}

// quoted reads text between quotes, character by character.
func (p *textParser) quoted(quote byte, char func(rune) error) error {
	start := p.Pos
	// OTP 27 and later read a triple-quoted text here, earlier releases three texts
	if quote == '"' && strings.HasPrefix(p.S[p.Pos:], `"""`) {
		return p.Bad("triple-quoted text is not read")
	}
	p.Pos++
	for p.Pos < len(p.S) {
		if p.S[p.Pos] == quote {
			p.Pos++
			return nil
		}
		r, err := p.char()
		if err != nil {
			return err
		}
		if err := char(r); err != nil {
			return err
		}
	}
	p.Pos = start
	return p.Bad("no closing quote")
}

// char reads a character of quoted text, or the character after a $.
func (p *textParser) char() (rune, error) {
	r, n := utf8.DecodeRuneInString(p.S[p.Pos:])
	if n == 0 {
		return 0, p.Unexpected()
	}
	if r == utf8.RuneError && n == 1 {
		return 0, p.Bad("not UTF-8")
	}
	if r != '\\' {
		p.Pos += n
		return r, nil
	}
	start := p.Pos
	p.Pos++
	r, n = utf8.DecodeRuneInString(p.S[p.Pos:])
	if n == 0 || r == utf8.RuneError && n == 1 {
		return 0, p.Unexpected()
	}
	if r >= '0' && r <= '7' {
		v := rune(0)
		for i := 0; i < 3 && p.Peek() >= '0' && p.Peek() <= '7'; i++ {
			v = v*8 + rune(p.Peek()-'0')
			p.Pos++
		}
		return v, nil
	}
	p.Pos += n
	switch r {
	case 'b':
		return '\b', nil
	case 'd':
		return 0x7f, nil
	case 'e':
		return 0x1b, nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 's':
		return ' ', nil
	case 't':
		return '\t', nil
	case 'v':
		return '\v', nil
	case '^':
		x := p.Peek()
		if x < '?' || x > '~' {
			return 0, p.Unexpected()
		}
		p.Pos++
		if x == '?' {
			return 0x7f, nil
		}
		return rune(x & 31), nil
	case 'x':
		return p.hexChar(start)
	}
	return r, nil
}

// hexChar reads what follows \x: two digits, or any number in braces.
func (p *textParser) hexChar(start int) (rune, error) {
	digits := ""
	if p.Peek() == '{' {
		if end := strings.IndexByte(p.S[p.Pos:], '}'); end > 0 {
			digits = p.S[p.Pos+1 : p.Pos+end]
			p.Pos += end + 1
		}
	} else if p.Pos+2 <= len(p.S) {
		digits = p.S[p.Pos : p.Pos+2]
		p.Pos += 2
	}
	v, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || !utf8.ValidRune(rune(v)) || v > utf8.MaxRune {
		p.Pos = start
		return 0, p.Bad("bad escape")
	}
	return rune(v), nil
}

// sigil reads ~"text", a binary of UTF-8.
func (p *textParser) sigil() (Term, error) {
	p.Pos++
	if p.Peek() != '"' {
		p.Pos--
		return nil, p.Unexpected()
	}
	text := []byte{}
	err := p.quoted('"', func(r rune) error { text = utf8.AppendRune(text, r); return nil })
	if err != nil {
		return nil, err
	}
	return Binary(text), nil
}

// text reads adjacent strings as one: a String when all characters fit in a byte, else a list of
// integers.
func (p *textParser) text() (Term, error) {
	var latin1 []byte
	var list List // once there is a larger character
	for p.Accept(`"`) {
		p.Pos--
		err := p.quoted('"', func(r rune) error {
			if list == nil && r > 0xff {
				list = make(List, 0, len(latin1)+2+max(0, strings.IndexByte(p.S[p.Pos:], '"')))
				for _, x := range latin1 {
					list = append(list, Int(x))
				}
			}
			if list != nil {
				list = append(list, Int(r))
			} else {
				latin1 = append(latin1, byte(r))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	switch {
	case list != nil:
		return list, nil
	case len(latin1) == 0:
		return emptyList, nil
	case len(latin1) > 0xffff: // STRING_EXT holds no more
		for _, x := range latin1 {
			list = append(list, Int(x))
		}
		return list, nil
	}
	return String(latin1), nil
}
