package elixir

import (
	"cmp"
	"fmt"
	"time"

	"github.com/cnode-go/cnode/ei"
)

// A Date is a day of the proleptic Gregorian calendar: ~D[2024-02-29], %Date{}.
type Date struct {
	Year  int // 0 is the year before 1, as for time.Date
	Month time.Month
	Day   int
}

// DateOf gives the day of t, where t is (in its location).
func DateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

// In gives the first moment of the day in a location: midnight, unless clocks leap over that.
func (d Date) In(loc *time.Location) time.Time {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, loc)
}

// At gives a time of the day.
func (d Date) At(t Time) NaiveDateTime { return NaiveDateTime{d, t} }

// Check gives a *ValueError if there is no such day.
func (d Date) Check() error { return d.check("Date") }

func (d Date) check(of string) error {
	err := cmp.Or(within(of, "year", d.Year, -maxYear, maxYear), within(of, "month", int(d.Month), 1, 12))
	if err == nil {
		err = within(of, "day", d.Day, 1, daysIn(d.Year, d.Month))
	}
	return err
}

// String gives the text of Date.to_string/1: 2024-02-29.
func (d Date) String() string {
	sign, year := "", d.Year
	if year < 0 {
		sign, year = "-", -year
	}
	return fmt.Sprintf("%s%04d-%02d-%02d", sign, year, int(d.Month), d.Day)
}

// iso is the calendar that all these structs have.
type iso struct {
	_ struct{} `ei:"atom=Elixir.Calendar.ISO"`
}

// calendarDay is what the structs with a day have.
type calendarDay struct{ Year, Month, Day int }

var noDay = calendarDay{missing, missing, missing}

func (d Date) wire() calendarDay { return calendarDay{d.Year, int(d.Month), d.Day} }
func (w calendarDay) date() Date { return Date{w.Year, time.Month(w.Month), w.Day} }

type dateWire struct {
	_        struct{} `ei:"struct=Elixir.Date"`
	Calendar iso
	calendarDay
}

// AppendTerm appends the day as a %Date{}.
func (d Date) AppendTerm(b []byte) ([]byte, error) {
	if err := d.Check(); err != nil {
		return b, err
	}
	return ei.Append(b, dateWire{calendarDay: d.wire()})
}

// ReadTerm reads a %Date{}.
func (d *Date) ReadTerm(c *ei.Cursor) error {
	w := dateWire{calendarDay: noDay}
	if err := c.Unmarshal(&w); err != nil {
		return err
	}
	if err := w.date().Check(); err != nil {
		return err
	}
	*d = w.date()
	return nil
}
