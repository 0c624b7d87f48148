package elixir

import (
	"cmp"
	"fmt"
	"time"

	"github.com/cnode-go/cnode/ei"
)

// A DateTime is a day and a time in a time zone: ~U[2024-02-29 12:34:56Z], %DateTime{}. Two of them
// that Go's == calls different may be the same instant: compare those.
type DateTime struct {
	Date      Date
	Time      Time
	UTCOffset int    // the zone's standard offset, east of UTC, in seconds
	StdOffset int    // what clocks are put forward by in summer, in seconds
	TimeZone  string // its name in the time zone database: Europe/Berlin, Etc/UTC
	ZoneAbbr  string // what its time is called at that moment: CEST, UTC
}

// DateTimeOf gives the date and time of the instant t in its location, cut off to microseconds: see
// TimeOf. Locations without a name that another machine would know, time.Local and those that
// time.Parse makes of an offset alone, give it in UTC, as Elixir's DateTime.from_iso8601/1 does.
func DateTimeOf(t time.Time) DateTime {
	switch t.Location().String() {
	case "UTC", "Local", "":
		t = t.UTC()
		return DateTime{Date: DateOf(t), Time: TimeOf(t), TimeZone: "Etc/UTC", ZoneAbbr: "UTC"}
	}
	abbr, offset := t.Zone()
	saved := savedBy(t)
	return DateTime{DateOf(t), TimeOf(t), offset - saved, saved, t.Location().String(), abbr}
}

// Instant gives the instant, in its time zone if that is known here (see time.LoadLocation) and has
// the same offset then, else in a time.FixedZone of the zone's name and that offset.
func (d DateTime) Instant() time.Time {
	total := d.UTCOffset + d.StdOffset
	t := d.Date.At(d.Time).In(time.UTC).Add(-time.Duration(total) * time.Second)
	if loc := location(d.TimeZone); loc != nil {
		if _, offset := t.In(loc).Zone(); offset == total {
			return t.In(loc)
		}
	}
	return t.In(time.FixedZone(cmp.Or(d.TimeZone, d.ZoneAbbr), total))
}

// Truncate leaves at most so many digits of the second's fraction: see Time.Truncate.
func (d DateTime) Truncate(precision int) DateTime {
	d.Time = d.Time.Truncate(precision)
	return d
}

// Check gives a *ValueError if there is no such day, no such time of a day, or an offset of a day
// or more.
func (d DateTime) Check() error {
	const of, day = "DateTime", 24*60*60 - 1
	err := cmp.Or(d.Date.check(of), d.Time.check(of),
		within(of, "utc_offset", d.UTCOffset, -day, day), within(of, "std_offset", d.StdOffset, -day, day))
	if err == nil && d.TimeZone == "" {
		err = &ValueError{Struct: of, Field: "time_zone", Reason: "it is empty"}
	}
	return err
}

// String gives the text of DateTime.to_string/1: 2024-02-29 12:34:56Z, or
// 2024-07-01 01:02:03+02:00 CEST Europe/Berlin.
func (d DateTime) String() string {
	text := d.Date.At(d.Time).String()
	total, sign := d.UTCOffset+d.StdOffset, '+'
	if total == 0 && d.TimeZone == "Etc/UTC" {
		return text + "Z"
	}
	if total < 0 {
		total, sign = -total, '-'
	}
	return fmt.Sprintf("%s%c%02d:%02d %s %s", text, sign, total/3600, total/60%60, d.ZoneAbbr, d.TimeZone)
}

type dateTimeWire struct {
	_        struct{} `ei:"struct=Elixir.DateTime"`
	Calendar iso
	calendarDay
	calendarTime
	UTCOffset, StdOffset int
	TimeZone, ZoneAbbr   string
}

// AppendTerm appends it as a %DateTime{}.
func (d DateTime) AppendTerm(b []byte) ([]byte, error) {
	if err := d.Check(); err != nil {
		return b, err
	}
	return ei.Append(b, dateTimeWire{
		calendarDay: d.Date.wire(), calendarTime: d.Time.wire(),
		UTCOffset: d.UTCOffset, StdOffset: d.StdOffset, TimeZone: d.TimeZone, ZoneAbbr: d.ZoneAbbr,
	})
}

// ReadTerm reads a %DateTime{}.
func (d *DateTime) ReadTerm(c *ei.Cursor) error {
	w := dateTimeWire{calendarDay: noDay, calendarTime: noTime, UTCOffset: missing, StdOffset: missing}
	if err := c.Unmarshal(&w); err != nil {
		return err
	}
	got := DateTime{w.date(), w.time(), w.UTCOffset, w.StdOffset, w.TimeZone, w.ZoneAbbr}
	if err := got.Check(); err != nil {
		return err
	}
	*d = got
	return nil
}
