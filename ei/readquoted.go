package ei

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

func (p *textParser) quotedAtom() (Term, error) {
	start := p.pos
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
	start := p.pos
	// OTP 27 and later read a triple-quoted text here, earlier releases three texts
	if quote == '"' && strings.HasPrefix(p.s[p.pos:], `"""`) {
		return p.fail("triple-quoted text is not read")
	}
	p.pos++
	for p.pos < len(p.s) {
		if p.s[p.pos] == quote {
			p.pos++
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
	p.pos = start
	return p.fail("no closing quote")
}

// char reads a character of quoted text, or the character after a $.
func (p *textParser) char() (rune, error) {
	r, n := utf8.DecodeRuneInString(p.s[p.pos:])
	if n == 0 {
		return 0, p.unexpected()
	}
	if r == utf8.RuneError && n == 1 {
		return 0, p.fail("not UTF-8")
	}
	if r != '\\' {
		p.pos += n
		return r, nil
	}
	start := p.pos
	p.pos++
	r, n = utf8.DecodeRuneInString(p.s[p.pos:])
	if n == 0 || r == utf8.RuneError && n == 1 {
		return 0, p.unexpected()
	}
	if r >= '0' && r <= '7' {
		v := rune(0)
		for i := 0; i < 3 && p.peek() >= '0' && p.peek() <= '7'; i++ {
			v = v*8 + rune(p.peek()-'0')
			p.pos++
		}
		return v, nil
	}
	p.pos += n
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
		x := p.peek()
		if x < '?' || x > '~' {
			return 0, p.unexpected()
		}
		p.pos++
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
	if p.peek() == '{' {
		if end := strings.IndexByte(p.s[p.pos:], '}'); end > 0 {
			digits = p.s[p.pos+1 : p.pos+end]
			p.pos += end + 1
		}
	} else if p.pos+2 <= len(p.s) {
		digits = p.s[p.pos : p.pos+2]
		p.pos += 2
	}
	v, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || !utf8.ValidRune(rune(v)) || v > utf8.MaxRune {
		p.pos = start
		return 0, p.fail("bad escape")
	}
	return rune(v), nil
}

// sigil reads ~"text", a binary of UTF-8.
func (p *textParser) sigil() (Term, error) {
	p.pos++
	if p.peek() != '"' {
		p.pos--
		return nil, p.unexpected()
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
	for p.accept(`"`) {
		p.pos--
		err := p.quoted('"', func(r rune) error {
			if list == nil && r > 0xff {
				list = make(List, 0, len(latin1)+2+max(0, strings.IndexByte(p.s[p.pos:], '"')))
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
