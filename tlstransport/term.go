package tlstransport

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The literal subset of Erlang terms, in which option files are usually written. Erlang evaluates the file as an expression; here, anything
// that would have to be evaluated is an error.
type (
	atom       string
	text       string // a string
	bytestring []byte
	list       []any
	tuple      []any
	pairs      []tuple // a map
	// An httpsMatch is the one call that is read: public_key:pkix_verify_hostname_match_fun(https).
	httpsMatch struct{}
	// A function is fun Module:Name/Arity.
	function struct {
		module, name string
		arity        int64
	}
)

// Limits of an option file.
const (
	maxOptFile = 1 << 20
	maxDepth   = 64
)

// A syntaxError says where an option file cannot be read, and why.
type syntaxError struct {
	line int
	why  string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.why) }

// A termReader reads one term.
type termReader struct {
	all   string
	rest  string
	line  int
	depth int
}

// parseTerm reads an expression that is one literal term, with or without a full stop.
func parseTerm(s string) (any, error) {
	r := &termReader{all: s, rest: s, line: 1}
	t, err := r.term()
	if err != nil {
		return nil, err
	}
	r.space()
	r.take(".")
	if r.space(); r.rest != "" {
		return nil, r.wrong("%q after the end of the term: only literals are read here, Erlang would evaluate this", r.head())
	}
	return t, nil
}

func (r *termReader) wrong(format string, args ...any) error {
	return &syntaxError{r.line, fmt.Sprintf(format, args...)}
}

// head returns the beginning of the unread text, for an error.
func (r *termReader) head() string {
	const most = 20
	h := r.rest
	for i := range h {
		if i >= most || h[i] == '\n' {
			h = h[:i]
			break
		}
	}
	return r.say(h)
}

// say returns text for an error, or "…" if a password may be near.
func (r *termReader) say(text string) string {
	const near = 1024 + 80 // OpenSSL takes no longer passwords (PEM_BUFSIZE)
	at := len(r.all) - len(r.rest)
	if strings.Contains(r.all[max(at-near, 0):min(at+len(text), len(r.all))], "password") {
		return "…"
	}
	return text
}

// space skips white space and comments.
func (r *termReader) space() {
	for r.rest != "" {
		switch c := r.rest[0]; {
		case c == '\n':
			r.line++
		case c == '%':
			end := strings.IndexByte(r.rest, '\n')
			if end < 0 {
				end = len(r.rest)
			}
			r.rest = r.rest[end:]
			continue
		case c > ' ':
			return
		}
		r.rest = r.rest[1:]
	}
}

func (r *termReader) take(word string) bool {
	if !strings.HasPrefix(r.rest, word) {
		return false
	}
	r.rest = r.rest[len(word):]
	return true
}

func (r *termReader) term() (any, error) {
	if r.depth++; r.depth > maxDepth {
		return nil, r.wrong("terms inside each other deeper than %d", maxDepth)
	}
	defer func() { r.depth-- }()
	r.space()
	if r.rest == "" {
		return nil, r.wrong("a term is missing")
	}
	switch c := r.rest[0]; {
	case r.take("["):
		return r.elements("]")
	case r.take("{"):
		l, err := r.elements("}")
		return tuple(l), err
	case r.take("#{"):
		return r.mapping()
	case r.take("<<"):
		return r.binary()
	case c == '"':
		return r.text()
	case c == '\'':
		s, err := r.quoted('\'')
		if err != nil {
			return nil, err
		}
		return r.named(s)
	case c == '-' || c == '+' || c >= '0' && c <= '9':
		return r.number()
	case c >= 'a' && c <= 'z':
		return r.named(r.word())
	case c == '_' || c >= 'A' && c <= 'Z':
		return nil, r.wrong("%q is a variable: only literals are read here", r.say(r.word()))
	}
	return nil, r.wrong("%q is not the beginning of a literal term", r.head())
}

// elements reads terms up to the closing bracket.
func (r *termReader) elements(end string) (list, error) {
	l := list{}
	if r.space(); r.take(end) {
		return l, nil
	}
	for {
		t, err := r.term()
		if err != nil {
			return nil, err
		}
		l = append(l, t)
		switch r.space(); {
		case r.take(end):
			return l, nil
		case !r.take(","):
			return nil, r.wrong("%q where a comma or %q is expected: only literals are read here", r.head(), end)
		}
	}
}

func (r *termReader) mapping() (any, error) {
	m := pairs{}
	if r.space(); r.take("}") {
		return m, nil
	}
	for {
		k, err := r.term()
		if err != nil {
			return nil, err
		}
		if r.space(); !r.take("=>") {
			return nil, r.wrong("=> is missing in a map")
		}
		v, err := r.term()
		if err != nil {
			return nil, err
		}
		m = append(m, tuple{k, v})
		switch r.space(); {
		case r.take("}"):
			return m, nil
		case !r.take(","):
			return nil, r.wrong("%q where a comma or } is expected", r.head())
		}
	}
}

// binary reads <<"text">>, <<"text"/utf8>> and <<1,2,3>>.
func (r *termReader) binary() (any, error) {
	b := bytestring{}
	if r.space(); r.take(">>") {
		return b, nil
	}
	for {
		t, err := r.term()
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case text:
			if r.take("/utf8") {
				b = append(b, t...)
				break
			}
			for _, c := range string(t) {
				if c > 255 {
					return nil, r.wrong("%q in a binary needs /utf8", c)
				}
				b = append(b, byte(c))
			}
		case int64:
			if t < 0 || t > 255 {
				return nil, r.wrong("%s is not a byte", r.say(strconv.FormatInt(t, 10)))
			}
			b = append(b, byte(t))
		default:
			return nil, r.wrong("only text and bytes are read inside << >>")
		}
		switch r.space(); {
		case r.take(">>"):
			return b, nil
		case !r.take(","):
			return nil, r.wrong("%q where a comma or >> is expected", r.head())
		}
	}
}

// text reads a string, and strings right behind it, which Erlang joins to one.
func (r *termReader) text() (any, error) {
	var all text
	for strings.HasPrefix(r.rest, `"`) {
		if strings.HasPrefix(r.rest, `"""`) { // three strings in OTP 25 and 26, the beginning of one in later releases
			return nil, r.wrong("triple-quoted strings are not read here")
		}
		s, err := r.quoted('"')
		if err != nil {
			return nil, err
		}
		all += text(s)
		r.space()
	}
	return all, nil
}

func (r *termReader) quoted(q byte) (string, error) {
	var b strings.Builder
	line := r.line
	for r.rest = r.rest[1:]; r.rest != ""; {
		c, n := utf8.DecodeRuneInString(r.rest)
		r.rest = r.rest[n:]
		switch {
		case c == rune(q):
			return b.String(), nil
		case c == utf8.RuneError && n == 1:
			return "", r.wrong("the file is not UTF-8")
		case c == '\n':
			r.line++
		case c == '\\':
			var err error
			if c, err = r.escape(); err != nil {
				return "", err
			}
		}
		b.WriteRune(c)
	}
	r.line = line
	return "", r.wrong("%c is not closed", q)
}

// escape reads what follows a backslash.
func (r *termReader) escape() (rune, error) {
	if r.rest == "" {
		return 0, r.wrong("nothing after a backslash")
	}
	c, n := utf8.DecodeRuneInString(r.rest)
	number := func(digits string, base int) (rune, error) {
		v, err := strconv.ParseUint(digits, base, 32)
		if err != nil || !utf8.ValidRune(rune(v)) {
			return 0, r.wrong("\\%s is not a character", r.say(digits))
		}
		return rune(v), nil
	}
	switch {
	case c >= '0' && c <= '7':
		n = 1
		for n < 3 && n < len(r.rest) && r.rest[n] >= '0' && r.rest[n] <= '7' {
			n++
		}
		digits := r.rest[:n]
		r.rest = r.rest[n:]
		return number(digits, 8)
	case c == '^':
		if len(r.rest) < 2 || !isControl(r.rest[1]) {
			return 0, r.wrong("no control character after \\^")
		}
		code := rune(r.rest[1] & 31)
		r.rest = r.rest[2:]
		return code, nil
	case c == 'x' && strings.HasPrefix(r.rest, "x{"):
		digits, rest, ok := strings.Cut(r.rest[2:], "}")
		if !ok {
			return 0, r.wrong("\\x{ is not closed")
		}
		c, err := number(digits, 16)
		r.rest = rest
		return c, err
	case c == 'x':
		if len(r.rest) < 3 {
			return 0, r.wrong("two digits are missing after \\x")
		}
		c, err := number(r.rest[1:3], 16)
		r.rest = r.rest[3:]
		return c, err
	}
	r.rest = r.rest[n:]
	if i := strings.IndexRune("nrtvbfesd0", c); i >= 0 {
		return rune("\n\r\t\v\b\f\x1b \x7f\x00"[i]), nil
	}
	return c, nil
}

// isControl tells whether \^ followed by c is the control character c&31 in every OTP release.
func isControl(c byte) bool { return c >= '@' && c <= '_' || c >= 'a' && c <= 'z' }

// word reads the letters of an atom or a variable.
func (r *termReader) word() string {
	n := strings.IndexFunc(r.rest, func(c rune) bool { return c != '_' && c != '@' && !unicode.IsLetter(c) && !unicode.IsDigit(c) })
	if n < 0 {
		n = len(r.rest)
	}
	w := r.rest[:n]
	r.rest = r.rest[n:]
	return w
}

// httpsMatchCall is what follows the module of an httpsMatch.
var httpsMatchCall = regexp.MustCompile(`^:\s*pkix_verify_hostname_match_fun\s*\(\s*https\s*\)`)

// named returns an atom, or what follows the atom fun. A call, which Erlang would evaluate, is an error.
func (r *termReader) named(name string) (any, error) {
	if name == "fun" {
		return r.function()
	}
	if call := httpsMatchCall.FindString(r.rest); call != "" && name == "public_key" {
		r.rest = r.rest[len(call):]
		r.line += strings.Count(call, "\n")
		return httpsMatch{}, nil
	}
	if strings.HasPrefix(r.rest, "(") || strings.HasPrefix(r.rest, ":") {
		return nil, r.wrong("%s%s is a call: only literals are read here, Erlang would evaluate it", r.say(name), r.head())
	}
	return atom(name), nil
}

func (r *termReader) function() (any, error) {
	r.space()
	f := function{module: r.word()}
	if f.module == "" || !r.take(":") {
		return nil, r.wrong("of funs only those of the form fun Module:Name/Arity are read here")
	}
	if f.name = r.word(); f.name == "" || !r.take("/") {
		return nil, r.wrong("of funs only those of the form fun Module:Name/Arity are read here")
	}
	n, err := r.number()
	f.arity, _ = n.(int64)
	return f, err
}

func (r *termReader) number() (any, error) {
	if r.rest == "" {
		return nil, r.wrong("a number is missing")
	}
	end := strings.IndexFunc(r.rest[1:], func(c rune) bool { return c != '_' && c != '#' && !unicode.IsDigit(c) && !unicode.IsLetter(c) }) + 1
	if end == 0 {
		end = len(r.rest)
	}
	word := r.rest[:end]
	base, digits := 10, strings.TrimLeft(word, "+-")
	sign := word[:len(word)-len(digits)]
	for part := range strings.SplitSeq(digits, "#") {
		if strings.HasPrefix(part, "_") || strings.HasSuffix(part, "_") || strings.Contains(part, "__") {
			return nil, r.wrong("%q is not an integer", r.head())
		}
	}
	digits = strings.ReplaceAll(digits, "_", "")
	if b, d, ok := strings.Cut(digits, "#"); ok {
		n, err := strconv.Atoi(b)
		if err != nil || n < 2 || n > 36 {
			return nil, r.wrong("%q is not a number", r.say(word))
		}
		base, digits = n, d
	}
	n, err := strconv.ParseInt(sign+digits, base, 64)
	if err != nil || strings.HasPrefix(r.rest[end:], ".") && len(r.rest) > end+1 && unicode.IsDigit(rune(r.rest[end+1])) {
		return nil, r.wrong("%q is not an integer", r.head())
	}
	r.rest = r.rest[end:]
	return n, nil
}

// show returns a term in Erlang's notation, as a person would write it.
func show(t any) string {
	inside := func(ts []any) string {
		var parts []string
		for _, t := range ts {
			parts = append(parts, show(t))
		}
		return strings.Join(parts, ",")
	}
	switch t := t.(type) {
	case atom:
		return string(t)
	case text:
		return strconv.Quote(string(t))
	case bytestring:
		return "<<" + strconv.Quote(string(t)) + ">>"
	case int64:
		return strconv.FormatInt(t, 10)
	case list:
		return "[" + inside(t) + "]"
	case tuple:
		return "{" + inside(t) + "}"
	case pairs:
		return "#{…}"
	case httpsMatch:
		return "public_key:pkix_verify_hostname_match_fun(https)"
	case function:
		return fmt.Sprintf("fun %s:%s/%d", t.module, t.name, t.arity)
	}
	return fmt.Sprint(t)
}

// outline is show without the elements of lists, and of tuples without all but the first: a password may be there.
func outline(t any) string {
	switch t := t.(type) {
	case list:
		if len(t) > 0 {
			return "[…]"
		}
	case tuple:
		if len(t) > 1 {
			return "{" + outline(t[0]) + ",…}"
		}
	}
	return show(t)
}
