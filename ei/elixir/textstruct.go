package elixir

import (
	"fmt"
	"strconv"
	"strings"
	"time"

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

// The structs that Elixir writes in a form of their own, with their fields.
var literals = map[ei.Atom][]ei.Atom{
	"Elixir.Date":          {structKey, "calendar", "year", "month", "day"},
	"Elixir.Time":          {structKey, "calendar", "hour", "minute", "second", "microsecond"},
	"Elixir.NaiveDateTime": {structKey, "calendar", "year", "month", "day", "hour", "minute", "second", "microsecond"},
	"Elixir.DateTime": {structKey, "calendar", "year", "month", "day", "hour", "minute", "second", "microsecond",
		"time_zone", "zone_abbr", "utc_offset", "std_offset"},
	"Elixir.Range": {structKey, "first", "last", "step"},
}

const isoCalendar ei.Atom = "Elixir.Calendar.ISO"

// appendLiteral appends a struct in its own form; false if it has none, or not with these
// values.
func appendLiteral(b []byte, m ei.Map, name ei.Atom) ([]byte, bool) {
	fields, ok := literals[name]
	if !ok || len(fields) != len(m) {
		return b, false
	}
	values := map[ei.Atom]ei.Term{}
	for _, field := range fields {
		if values[field], ok = m.Get(field); !ok {
			return b, false
		}
	}
	if name == "Elixir.Range" {
		return appendRange(b, values)
	}
	var d isoTime
	if values["calendar"] != isoCalendar || !d.set(values) {
		return b, false
	}
	switch name {
	case "Elixir.Date":
		return append(d.appendDate(append(b, "~D["...)), ']'), true
	case "Elixir.Time":
		return append(d.appendTime(append(b, "~T["...)), ']'), true
	case "Elixir.NaiveDateTime":
		return append(d.appendTime(append(d.appendDate(append(b, "~N["...)), ' ')), ']'), true
	}
	if !ei.Identical(values["time_zone"], ei.Binary("Etc/UTC")) || !ei.Identical(values["zone_abbr"], ei.Binary("UTC")) ||
		values["utc_offset"] != ei.Int(0) || values["std_offset"] != ei.Int(0) {
		return b, false
	}
	return append(d.appendTime(append(d.appendDate(append(b, "~U["...)), ' ')), "Z]"...), true
}

func appendRange(b []byte, values map[ei.Atom]ei.Term) ([]byte, bool) {
	for _, field := range literals["Elixir.Range"][1:] {
		switch values[field].(type) {
		case ei.Int, ei.BigInt:
		default:
			return b, false
		}
	}
	first, last, step := values["first"], values["last"], values["step"]
	if step == ei.Int(0) {
		return b, false
	}
	b = appendLeaf(append(appendLeaf(b, first), ".."...), last)
	if step != ei.Int(1) || ei.Compare(first, last) > 0 {
		b = appendLeaf(append(b, "//"...), step)
	}
	return b, true
}

// An isoTime is what is in a Date, Time, NaiveDateTime or DateTime.
type isoTime struct {
	year, month, day, hour, minute, second int64
	micro, digits                          int64 // microseconds, and how many digits of them count
}

// set takes the fields that are there; false if one is of the wrong type, or out of range.
func (d *isoTime) set(values map[ei.Atom]ei.Term) bool {
	d.month, d.day = 1, 1
	for field, v := range map[ei.Atom]*int64{"year": &d.year, "month": &d.month, "day": &d.day, "hour": &d.hour, "minute": &d.minute,
		"second": &d.second} {
		if t, ok := values[field]; ok {
			i, isInt := t.(ei.Int)
			if *v = int64(i); !isInt {
				return false
			}
		}
	}
	if t, ok := values["microsecond"]; ok {
		pair, _ := t.(ei.Tuple)
		if len(pair) != 2 {
			return false
		}
		micro, ok1 := pair[0].(ei.Int)
		digits, ok2 := pair[1].(ei.Int)
		if d.micro, d.digits = int64(micro), int64(digits); !ok1 || !ok2 {
			return false
		}
	}
	return d.isValid()
}

func (d *isoTime) isValid() bool {
	const longest = 6
	return d.year >= -9999 && d.year <= 9999 && d.month >= 1 && d.month <= 12 && d.day >= 1 && d.day <= daysOf(d.year, d.month) &&
		d.hour >= 0 && d.hour < 24 && d.minute >= 0 && d.minute < 60 && d.second >= 0 && d.second < 60 &&
		d.micro >= 0 && d.micro < 1e6 && d.digits >= 0 && d.digits <= longest && d.micro%unitOf(d.digits) == 0
}

// daysOf gives the number of days of a month.
func daysOf(year, month int64) int64 {
	return int64(time.Date(int(year), time.Month(month+1), 0, 0, 0, 0, 0, time.UTC).Day())
}

// unitOf gives the microseconds that the last one of so many digits stands for.
func unitOf(digits int64) int64 {
	unit := int64(1)
	for range 6 - digits {
		unit *= 10
	}
	return unit
}

func (d *isoTime) appendDate(b []byte) []byte {
	year := d.year
	if year < 0 {
		b, year = append(b, '-'), -year
	}
	return fmt.Appendf(b, "%04d-%02d-%02d", year, d.month, d.day)
}

func (d *isoTime) appendTime(b []byte) []byte {
	b = fmt.Appendf(b, "%02d:%02d:%02d", d.hour, d.minute, d.second)
	if d.digits > 0 {
		b = fmt.Appendf(b, ".%0*d", int(d.digits), d.micro/unitOf(d.digits))
	}
	return b
}

// literal gives the struct of a sigil, ~D for one; an error says what is wanted.
func literal(sigil, text string) (ei.Term, error) {
	var d isoTime
	in := isoText{rest: text}
	name, want := ei.Atom(""), ""
	switch sigil {
	case "D":
		name, want = "Elixir.Date", "2026-01-31"
		in.date(&d)
	case "T":
		name, want = "Elixir.Time", "23:59:59.999"
		d.month, d.day = 1, 1
		in.time(&d)
	case "N":
		name, want = "Elixir.NaiveDateTime", "2026-01-31 23:59:59.999"
		in.dateTime(&d)
	case "U":
		name, want = "Elixir.DateTime", "2026-01-31 23:59:59.999Z"
		in.dateTime(&d)
		if !in.skip("Z") && !in.skip("+00:00") {
			in.bad = true
		}
	default:
		return nil, fmt.Errorf("the sigil ~%s is not read", sigil)
	}
	if in.bad || in.rest != "" || !d.isValid() {
		return nil, fmt.Errorf("%.40q in ~%s: want what is like %s", text, sigil, want)
	}
	values := map[ei.Atom]ei.Term{structKey: name, "calendar": isoCalendar, "year": ei.Int(d.year), "month": ei.Int(d.month),
		"day": ei.Int(d.day), "hour": ei.Int(d.hour), "minute": ei.Int(d.minute), "second": ei.Int(d.second),
		"microsecond": ei.Tuple{ei.Int(d.micro), ei.Int(d.digits)},
		"time_zone":   ei.Binary("Etc/UTC"), "zone_abbr": ei.Binary("UTC"), "utc_offset": ei.Int(0), "std_offset": ei.Int(0)}
	m := ei.Map{}
	for _, field := range literals[name] {
		m = append(m, ei.Pair{Key: field, Value: values[field]})
	}
	return m, nil
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

// digits reads n digits.
func (t *isoText) digits(n int) int64 {
	if len(t.rest) < n || strings.Trim(t.rest[:n], "0123456789") != "" {
		t.bad = true
		return 0
	}
	v, _ := strconv.ParseInt(t.rest[:n], 10, 64)
	t.rest = t.rest[n:]
	return v
}

func (t *isoText) date(d *isoTime) {
	sign := int64(1)
	if t.skip("-") {
		sign = -1
	} else {
		t.skip("+")
	}
	d.year = sign * t.digits(4)
	t.bad = !t.skip("-") || t.bad
	d.month = t.digits(2)
	t.bad = !t.skip("-") || t.bad
	d.day = t.digits(2)
}

func (t *isoText) time(d *isoTime) {
	d.hour = t.digits(2)
	t.bad = !t.skip(":") || t.bad
	d.minute = t.digits(2)
	t.bad = !t.skip(":") || t.bad
	d.second = t.digits(2)
	if t.skip(".") || t.skip(",") {
		n := len(t.rest) - len(strings.TrimLeft(t.rest, "0123456789"))
		d.digits = int64(min(n, 6)) // Elixir cuts off the rest
		d.micro = t.digits(int(d.digits)) * unitOf(d.digits)
		t.rest = t.rest[n-int(d.digits):]
		t.bad = t.bad || n == 0
	}
}

func (t *isoText) dateTime(d *isoTime) {
	t.date(d)
	if !t.skip(" ") && !t.skip("T") {
		t.bad = true
	}
	t.time(d)
}
