package elixir

import (
	"cmp"
	"time"

	"github.com/cnode-go/cnode/ei"
)

// A NaiveDateTime is a day and a time, wherever that is: ~N[2024-02-29 12:34:56], %NaiveDateTime{}.
type NaiveDateTime struct {
	Date Date
	Time Time
}

// NaiveDateTimeOf gives what calendar and clock show at t, where t is (in its location): see
// TimeOf. Many schemas mean UTC by it, so give them t.UTC().
func NaiveDateTimeOf(t time.Time) NaiveDateTime { return NaiveDateTime{DateOf(t), TimeOf(t)} }

// In gives the moment when calendar and clock show this in a location. Where the clocks leap over
// it or show it twice, it is what time.Date takes.
func (n NaiveDateTime) In(loc *time.Location) time.Time {
	return time.Date(n.Date.Year, n.Date.Month, n.Date.Day, n.Time.Hour, n.Time.Minute, n.Time.Second,
		n.Time.Microsecond.Value*1000, loc)
}

// Truncate leaves at most so many digits of the second's fraction: see Time.Truncate.
func (n NaiveDateTime) Truncate(precision int) NaiveDateTime {
	return NaiveDateTime{n.Date, n.Time.Truncate(precision)}
}

// Check gives a *ValueError if there is no such day, or no such time of a day.
func (n NaiveDateTime) Check() error { return n.check("NaiveDateTime") }

func (n NaiveDateTime) check(of string) error { return cmp.Or(n.Date.check(of), n.Time.check(of)) }

// String gives the text of NaiveDateTime.to_string/1: 2024-02-29 12:34:56.120.
func (n NaiveDateTime) String() string { return n.Date.String() + " " + n.Time.String() }

type naiveWire struct {
	_        struct{} `ei:"struct=Elixir.NaiveDateTime"`
	Calendar iso
	calendarDay
	calendarTime
}

// AppendTerm appends it as a %NaiveDateTime{}.
func (n NaiveDateTime) AppendTerm(b []byte) ([]byte, error) {
	if err := n.Check(); err != nil {
		return b, err
	}
	return ei.Append(b, naiveWire{calendarDay: n.Date.wire(), calendarTime: n.Time.wire()})
}

// ReadTerm reads a %NaiveDateTime{}.
func (n *NaiveDateTime) ReadTerm(c *ei.Cursor) error {
	w := naiveWire{calendarDay: noDay, calendarTime: noTime}
	if err := c.Unmarshal(&w); err != nil {
		return err
	}
	got := w.date().At(w.time())
	if err := got.Check(); err != nil {
		return err
	}
	*n = got
	return nil
}
