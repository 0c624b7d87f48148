package groupleader

import (
	"errors"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
)

// What io_lib:format/2 does (OTP stdlib, io:fwrite/3): io:format sends the format and its arguments
// to the group leader.

// errFormat: the format, and the arguments, do not go together.
var errFormat = errors.New("bad format")

// maxPadding is how many characters of padding and repetition one format may ask for: the format is
// a peer's, and a few of its bytes could take any amount of memory.
const maxPadding = 1 << 20

// A spec is one ~F.P.PadModC.
type spec struct {
	width, precision int // -1: none
	left             bool
	pad              rune
	unicode          bool
	strings          bool // false: ~lp
	control          rune
}

// A formatter has the arguments that are left.
type formatter struct {
	args    []ei.Term
	padding int
	out     strings.Builder
}

// format is io_lib:format(Format, Args).
func format(f, list ei.Term) (string, error) {
	var text string
	if a, ok := f.(ei.Atom); ok {
		text = string(a)
	} else {
		var err error
		if text, err = charsOf(f); err != nil {
			return "", err
		}
	}
	args, ok := ei.Elements(list)
	if !ok {
		return "", errFormat
	}
	w := formatter{args: args}
	for text != "" {
		plain, after, found := strings.Cut(text, "~")
		w.out.WriteString(plain)
		if text = after; !found {
			break
		}
		s, rest, err := w.spec(text)
		if err == nil {
			err = w.control(s)
		}
		if err != nil {
			return "", err
		}
		text = rest
	}
	if len(w.args) > 0 {
		return "", errFormat
	}
	return w.out.String(), nil
}

// next takes an argument.
func (w *formatter) next() (ei.Term, error) {
	if len(w.args) == 0 {
		return nil, errFormat
	}
	t := w.args[0]
	w.args = w.args[1:]
	return t, nil
}

// number reads a field: digits, * for an argument, or nothing (-1).
func (w *formatter) number(text string) (n int, rest string, err error) {
	if rest, ok := strings.CutPrefix(text, "*"); ok {
		t, err := w.next()
		v, ok := t.(ei.Int)
		if err != nil || !ok || v < -maxPadding || v > maxPadding {
			return 0, "", errFormat
		}
		return int(v), rest, nil
	}
	rest = strings.TrimLeft(text, "0123456789")
	if rest == text {
		return -1, text, nil
	}
	if n, err = strconv.Atoi(text[:len(text)-len(rest)]); err != nil || n > maxPadding {
		return 0, "", errFormat
	}
	return n, rest, nil
}

// spec reads what follows a ~.
func (w *formatter) spec(text string) (s spec, rest string, err error) {
	s = spec{precision: -1, pad: ' ', strings: true}
	text, s.left = strings.CutPrefix(text, "-")
	if s.width, text, err = w.number(text); err != nil {
		return s, "", err
	}
	if s.width < -1 { // of an argument
		s.left, s.width = !s.left, -s.width
	}
	if after, ok := strings.CutPrefix(text, "."); ok {
		if s.precision, text, err = w.number(after); err != nil || s.precision < -1 {
			return s, "", errFormat
		}
		if after, ok := strings.CutPrefix(text, "."); ok {
			var n int
			if s.pad, n = utf8.DecodeRuneInString(after); n == 0 {
				return s, "", errFormat
			}
			text = after[n:]
			if s.pad == '*' {
				t, err := w.next()
				r, ok := t.(ei.Int)
				if err != nil || !ok {
					return s, "", errFormat
				}
				s.pad = rune(r)
			}
		}
	}
	for text != "" {
		r, n := utf8.DecodeRuneInString(text)
		text = text[n:]
		switch r {
		case 't':
			s.unicode = true
		case 'l':
			s.strings = false
		case 'k':
		case 'K': // the order of maps: by a fun, which only the caller's node could run
			if _, err := w.next(); err != nil {
				return s, "", err
			}
		default:
			s.control = r
			return s, text, nil
		}
	}
	return s, "", errFormat
}

// control prints an argument.
func (w *formatter) control(s spec) error {
	switch s.control {
	case '~':
		return w.repeat("~", s)
	case 'n':
		return w.repeat("\n", s)
	}
	t, err := w.next()
	if err != nil {
		return err
	}
	switch s.control {
	case 'i':
		return nil
	case 'c':
		r, ok := t.(ei.Int)
		if !ok || r < 0 || r > utf8.MaxRune {
			return errFormat
		}
		if !s.unicode {
			r &= 0xff
		}
		return w.char(string(rune(r)), s)
	case 's':
		text, err := stringOf(t, s.unicode)
		if err != nil {
			return err
		}
		return w.string(text, s)
	case 'w', 'p':
		return w.term(t, -1, s)
	case 'W', 'P':
		depth, err := w.next()
		n, ok := depth.(ei.Int)
		if err != nil || !ok {
			return errFormat
		}
		return w.term(t, int(min(max(n, -1), maxDepth)), s)
	case 'b', 'B', '#', '+':
		return w.integer(t, "", s)
	case 'x', 'X':
		prefix, err := w.next()
		if err != nil {
			return err
		}
		text, err := stringOf(prefix, true)
		if err != nil {
			return err
		}
		return w.integer(t, text, s)
	case 'e', 'f', 'g':
		f, ok := t.(ei.Float)
		if !ok {
			return errFormat
		}
		return w.float(float64(f), s)
	}
	return errFormat
}

// stringOf is the text for ~s: an atom, or text.
func stringOf(t ei.Term, unicode bool) (string, error) {
	if a, ok := t.(ei.Atom); ok {
		return string(a), nil
	}
	if unicode {
		return charsOf(t)
	}
	return decoded(t, "latin1")
}

// fill gives padding, of which there is not any amount.
func (w *formatter) fill(text string, n int) (string, error) {
	n = max(n, 0)
	if w.padding += n; w.padding > maxPadding {
		return "", errFormat
	}
	return strings.Repeat(text, n), nil
}

func (w *formatter) repeat(text string, s spec) error {
	if s.width < 0 {
		s.width = 1
	}
	all, err := w.fill(text, s.width)
	w.out.WriteString(all)
	return err
}

func (w *formatter) char(c string, s spec) error {
	times := s.precision
	if times < 0 {
		times = max(s.width, 1)
	}
	text, err := w.fill(c, times)
	if err != nil {
		return err
	}
	return w.adjust(text, s)
}

// adjust prints text within the width of a field; of longer text nothing is cut.
func (w *formatter) adjust(text string, s spec) error {
	fill, err := w.fill(string(s.pad), s.width-utf8.RuneCountInString(text))
	if s.left {
		text += fill
	} else {
		text = fill + text
	}
	w.out.WriteString(text)
	return err
}

// string prints text: the precision is how many characters of it there are, cut or filled up on the
// right, and the width that of the field; alone either is both.
func (w *formatter) string(text string, s spec) error {
	size := s.precision
	if size < 0 {
		size = s.width
	}
	if size < 0 {
		w.out.WriteString(text)
		return nil
	}
	n := utf8.RuneCountInString(text)
	if n > size {
		text = string([]rune(text)[:size])
	}
	if s.precision >= 0 && n < size {
		fill, err := w.fill(string(s.pad), size-n)
		if err != nil {
			return err
		}
		text += fill
	}
	return w.adjust(text, s)
}

// inField prints text that is * for each character of a field that is too short for it.
func (w *formatter) inField(text string, s spec) error {
	if s.width >= 0 && utf8.RuneCountInString(text) > s.width {
		stars, err := w.fill("*", s.width)
		w.out.WriteString(stars)
		return err
	}
	return w.adjust(text, s)
}

// term prints a term; for ~p the width is that of a line, and lines are not broken.
func (w *formatter) term(t ei.Term, depth int, s spec) error {
	pretty := s.control == 'p' || s.control == 'P'
	text := written(t, depth, pretty && s.strings)
	if pretty {
		w.out.WriteString(text)
		return nil
	}
	return w.inField(text, s)
}

// integer prints an integer in a base, which the precision is. Capitals have capital digits; # and
// + print the base before it.
func (w *formatter) integer(t ei.Term, prefix string, s spec) error {
	v := new(big.Int)
	switch t := t.(type) {
	case ei.Int:
		v.SetInt64(int64(t))
	case ei.BigInt:
		v = t.Big()
	default:
		return errFormat
	}
	base := s.precision
	if base < 0 {
		base = 10
	}
	if base < 2 || base > 36 || v.BitLen() > maxBits {
		return errFormat
	}
	text := new(big.Int).Abs(v).Text(base)
	if strings.ContainsRune("BX#", s.control) {
		text = strings.ToUpper(text)
	}
	if strings.ContainsRune("#+", s.control) {
		prefix = strconv.Itoa(base) + "#"
	}
	if text = prefix + text; v.Sign() < 0 {
		text = "-" + text
	}
	return w.inField(text, s)
}

// maxBits bounds integers whose digits are printed, which takes more than linear time.
const maxBits = 1 << 17

// float prints a float: ~f with so many digits after the point, ~e with so many in all.
func (w *formatter) float(f float64, s spec) error {
	digits := s.precision
	if digits < 0 {
		digits = 6
	}
	kind := s.control
	if kind == 'g' {
		abs := max(f, -f)
		kind = 'e'
		for limit, before := 1.0, 0; before <= 4 && abs >= 0.1; limit, before = limit*10, before+1 {
			if abs < limit {
				kind, digits = 'f', digits-before
				break
			}
		}
		digits = max(digits, 1)
	}
	if digits < 1 || kind == 'e' && digits < 2 || digits > maxDigits {
		return errFormat
	}
	var text string
	if kind == 'f' {
		text = strconv.FormatFloat(f, 'f', digits, 64)
	} else {
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', digits-1, 64), "e")
		zeros := strings.TrimLeft(exponent[1:], "0")
		if zeros == "" {
			zeros = "0"
		}
		text = mantissa + "e" + exponent[:1] + zeros
	}
	if w.padding += max(len(text)-32, 0); w.padding > maxPadding {
		return errFormat
	}
	return w.inField(text, s)
}

// maxDigits bounds the digits of a float.
const maxDigits = 1000
