package elixir

import (
	"cmp"
	"fmt"
	"time"

	"github.com/cnode-go/cnode/ei"
)

// A Time is a time of the day: ~T[12:34:56.120], %Time{}.
type Time struct {
	Hour, Minute, Second int // a second 60 is none, as for Elixir
	Microsecond          Microsecond
}

// A Microsecond is a fraction of a second, with the number of its decimal digits that count:
// {120000, 3} is .120, and {0, 0} none.
type Microsecond struct {
	Value     int // 0 to 999,999
	Precision int // digits, 0 to 6
}

// TimeOf gives the time of the day of t, where t is (in its location), cut off to microseconds, of
// which all six digits count. Truncate takes some away.
func TimeOf(t time.Time) Time {
	return Time{t.Hour(), t.Minute(), t.Second(), Microsecond{t.Nanosecond() / 1000, 6}}
}

// Duration gives the time since midnight, on a day of 24 hours.
func (t Time) Duration() time.Duration {
	return time.Duration(t.Hour)*time.Hour + time.Duration(t.Minute)*time.Minute +
		time.Duration(t.Second)*time.Second + time.Duration(t.Microsecond.Value)*time.Microsecond
}

// Truncate leaves at most so many digits of the second's fraction, as Time.truncate/2: 0 for
// :second, 3 for :millisecond. A schema of Ecto asks for 0 unless its type ends in _usec.
func (t Time) Truncate(precision int) Time {
	t.Microsecond = t.Microsecond.truncate(precision)
	return t
}

func (m Microsecond) truncate(precision int) Microsecond {
	precision = max(0, precision)
	if precision >= m.Precision {
		return m
	}
	unit := 1
	for range 6 - precision {
		unit *= 10
	}
	return Microsecond{m.Value - m.Value%unit, precision}
}

// Check gives a *ValueError if there is no such time of a day.
func (t Time) Check() error { return t.check("Time") }

func (t Time) check(of string) error {
	return cmp.Or(
		within(of, "hour", t.Hour, 0, 23), within(of, "minute", t.Minute, 0, 59), within(of, "second", t.Second, 0, 59),
		within(of, "microsecond", t.Microsecond.Value, 0, 999_999),
		within(of, "microsecond's precision", t.Microsecond.Precision, 0, 6),
	)
}

// String gives the text of Time.to_string/1: 12:34:56.120.
func (t Time) String() string {
	return fmt.Sprintf("%02d:%02d:%02d%v", t.Hour, t.Minute, t.Second, t.Microsecond)
}

// String gives the digits that count, after a point: .120; nothing if none do.
func (m Microsecond) String() string {
	if m.Precision <= 0 {
		return ""
	}
	text := fmt.Sprintf(".%06d", m.Value)
	return text[:min(len(text), 1+m.Precision)]
}

// calendarTime is what the structs with a time have.
type calendarTime struct {
	Hour, Minute, Second int
	Microsecond          [2]int `ei:",tuple"`
}

var noTime = calendarTime{Hour: missing, Minute: missing, Second: missing}

func (t Time) wire() calendarTime {
	return calendarTime{t.Hour, t.Minute, t.Second, [2]int{t.Microsecond.Value, t.Microsecond.Precision}}
}

func (w calendarTime) time() Time {
	return Time{w.Hour, w.Minute, w.Second, Microsecond{w.Microsecond[0], w.Microsecond[1]}}
}

type timeWire struct {
	_        struct{} `ei:"struct=Elixir.Time"`
	Calendar iso
	calendarTime
}

// AppendTerm appends the time as a %Time{}.
func (t Time) AppendTerm(b []byte) ([]byte, error) {
	if err := t.Check(); err != nil {
		return b, err
	}
	return ei.Append(b, timeWire{calendarTime: t.wire()})
}

// ReadTerm reads a %Time{}.
func (t *Time) ReadTerm(c *ei.Cursor) error {
	w := timeWire{calendarTime: noTime}
	if err := c.Unmarshal(&w); err != nil {
		return err
	}
	if err := w.time().Check(); err != nil {
		return err
	}
	*t = w.time()
	return nil
}
