package elixir

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cnode-go/cnode/ei"
)

// structKey is the key of a map under which Elixir keeps the module of a struct.
const structKey ei.Atom = "__struct__"

// structName gives the module of a struct.
func structName(m ei.Map) (ei.Atom, bool) {
	for i := range m {
		if m[i].Key == structKey {
			name, ok := m[i].Value.(ei.Atom)
			return name, ok && atomFormOf(name) == atomAlias
		}
	}
	return "", false
}

// appendLiteral appends a struct in its own form; false if it has none, or not with these
// values.
func appendLiteral(b []byte, m ei.Map, name ei.Atom) ([]byte, bool) {
	text := ""
	switch name {
	case "Elixir.Date":
		text = literalOf[Date](m, "~D[%v]")
	case "Elixir.Time":
		text = literalOf[Time](m, "~T[%v]")
	case "Elixir.NaiveDateTime":
		text = literalOf[NaiveDateTime](m, "~N[%v]")
	case "Elixir.DateTime":
		text = literalOf[DateTime](m, "~U[%v]")
	case "Elixir.Range":
		text = literalOf[Range](m, "%v")
	}
	return append(b, text...), text != ""
}

// literalOf is the text of a struct; "" if it would not be read back as that.
func literalOf[T any](m ei.Map, format string) string {
	for i := range m {
		switch v := m[i].Value.(type) {
		case ei.Int, ei.Atom, ei.Binary:
		case ei.Tuple:
			if len(v) > 2 {
				return ""
			}
		default: // it may be as large as it likes, and is looked at by itself
			return ""
		}
	}
	var v T
	if ei.UnmarshalTerm(m, &v) != nil {
		return ""
	}
	text := fmt.Sprintf(format, v)
	if same, err := Parse(text); err != nil || !ei.Identical(same, m) {
		return ""
	}
	return text
}

// literal gives the struct of a sigil, ~D for one; an error says what is wanted.
func literal(sigil, text string) (ei.Term, error) {
	in := isoText{rest: text}
	var v ei.Marshaler
	want := ""
	switch sigil {
	case "D":
		v, want = in.date(), "2026-01-31"
	case "T":
		v, want = in.time(), "23:59:59.999"
	case "N":
		v, want = in.dateTime(), "2026-01-31 23:59:59.999"
	case "U":
		n := in.dateTime()
		v, want = DateTime{Date: n.Date, Time: n.Time, TimeZone: "Etc/UTC", ZoneAbbr: "UTC"}, "2026-01-31 23:59:59.999Z"
		in.bad = in.bad || !in.skip("Z") && !in.skip("+00:00")
	default:
		return nil, fmt.Errorf("the sigil ~%s is not read", sigil)
	}
	raw, err := v.AppendTerm(nil)
	if in.bad || in.rest != "" || err != nil {
		return nil, fmt.Errorf("%.40q in ~%s: want what is like %s", text, sigil, want)
	}
	return ei.Raw(raw).Decode()
}

// An isoText is read from its beginning.
type isoText struct {
	rest string
	bad  bool
}

func (t *isoText) skip(what string) bool {
	rest, ok := strings.CutPrefix(t.rest, what)
	t.rest = rest
	return ok
}

func (t *isoText) expect(what string) { t.bad = !t.skip(what) || t.bad }

// digits reads n digits.
func (t *isoText) digits(n int) int {
	if len(t.rest) < n || strings.Trim(t.rest[:n], "0123456789") != "" {
		t.bad = true
		return 0
	}
	v, _ := strconv.Atoi(t.rest[:n])
	t.rest = t.rest[n:]
	return v
}

func (t *isoText) date() Date {
	sign := 1
	if t.skip("-") {
		sign = -1
	} else {
		t.skip("+")
	}
	w := calendarDay{Year: sign * t.digits(4)}
	t.expect("-")
	w.Month = t.digits(2)
	t.expect("-")
	w.Day = t.digits(2)
	return w.date()
}

func (t *isoText) time() (of Time) {
	of.Hour = t.digits(2)
	t.expect(":")
	of.Minute = t.digits(2)
	t.expect(":")
	of.Second = t.digits(2)
	if t.skip(".") || t.skip(",") {
		n := len(t.rest) - len(strings.TrimLeft(t.rest, "0123456789"))
		of.Microsecond.Precision = min(n, 6) // Elixir cuts off the rest
		of.Microsecond.Value, _ = strconv.Atoi((t.rest[:n] + "000000")[:6])
		t.rest, t.bad = t.rest[n:], t.bad || n == 0
	}
	return of
}

func (t *isoText) dateTime() NaiveDateTime {
	day := t.date()
	if !t.skip(" ") {
		t.expect("T")
	}
	return day.At(t.time())
}
