package elixir_test

import (
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei/elixir"
)

func load(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	require.NoError(t, err)
	return loc
}

func TestDateAndTimeOf(t *testing.T) {
	berlin := load(t, "Europe/Berlin")
	at := time.Date(2024, 7, 1, 23, 30, 5, 123_456_789, time.UTC)
	require.Equal(t, "2024-07-01", elixir.DateOf(at).String())
	require.Equal(t, "2024-07-02", elixir.DateOf(at.In(berlin)).String())
	require.Equal(t, "01:30:05.123456", elixir.TimeOf(at.In(berlin)).String())
	require.Equal(t, "2024-07-02 01:30:05.123456", elixir.NaiveDateTimeOf(at.In(berlin)).String())
	require.Equal(t, at.Truncate(time.Microsecond).In(berlin), elixir.NaiveDateTimeOf(at.In(berlin)).In(berlin))
	require.Equal(t, time.Date(2024, 7, 2, 0, 0, 0, 0, berlin), elixir.DateOf(at.In(berlin)).In(berlin))
	require.Equal(t, 90*time.Minute+5*time.Second+123456*time.Microsecond, elixir.TimeOf(at.In(berlin)).Duration())

	for year, text := range map[int]string{0: "0000-01-01", -1: "-0001-01-01", 12345: "12345-01-01", -12345: "-12345-01-01"} {
		d := elixir.Date{Year: year, Month: 1, Day: 1}
		require.Equal(t, text, d.String())
		require.NoError(t, d.Check())
		require.Equal(t, d, elixir.DateOf(d.In(time.UTC)))
	}
}

func TestTruncate(t *testing.T) {
	for _, tt := range []struct {
		from      elixir.Microsecond
		precision int
		want      elixir.Microsecond
	}{
		{elixir.Microsecond{Value: 123456, Precision: 6}, 6, elixir.Microsecond{Value: 123456, Precision: 6}},
		{elixir.Microsecond{Value: 123456, Precision: 6}, 3, elixir.Microsecond{Value: 123000, Precision: 3}},
		{elixir.Microsecond{Value: 123456, Precision: 6}, 0, elixir.Microsecond{}},
		{elixir.Microsecond{Value: 123456, Precision: 6}, -1, elixir.Microsecond{}},
		{elixir.Microsecond{Value: 120000, Precision: 2}, 3, elixir.Microsecond{Value: 120000, Precision: 2}},
	} {
		at := elixir.Time{Hour: 1, Microsecond: tt.from}
		want := elixir.Time{Hour: 1, Microsecond: tt.want}
		require.Equal(t, want, at.Truncate(tt.precision))
		require.Equal(t, want, elixir.NaiveDateTime{Time: at}.Truncate(tt.precision).Time)
		require.Equal(t, want, elixir.DateTime{Time: at}.Truncate(tt.precision).Time)
	}
}

// A DateTime is the instant in its location; where that has no name to send, it is in UTC.
func TestDateTimeOf(t *testing.T) {
	for _, tt := range []struct {
		at       time.Time
		want     string
		utc, std int
	}{
		{time.Date(2024, 7, 1, 1, 2, 3, 0, time.UTC), "2024-07-01 01:02:03.000000Z", 0, 0},
		{time.Date(2024, 7, 1, 1, 2, 3, 0, load(t, "Etc/UTC")), "2024-07-01 01:02:03.000000Z", 0, 0},
		{time.Date(2024, 7, 1, 1, 2, 3, 0, load(t, "Europe/Berlin")), "2024-07-01 01:02:03.000000+02:00 CEST Europe/Berlin", 3600, 3600},
		{time.Date(2024, 1, 1, 1, 2, 3, 0, load(t, "Europe/Berlin")), "2024-01-01 01:02:03.000000+01:00 CET Europe/Berlin", 3600, 0},
		{time.Date(2024, 1, 1, 1, 2, 3, 0, load(t, "Europe/London")), "2024-01-01 01:02:03.000000+00:00 GMT Europe/London", 0, 0},
		{time.Date(1945, 6, 1, 1, 2, 3, 0, load(t, "Europe/London")), "1945-06-01 01:02:03.000000+02:00 BDST Europe/London",
			3600, 3600}, // 0 and 7200 by right; what counts is the sum
		{time.Date(2024, 7, 1, 1, 2, 3, 0, load(t, "America/St_Johns")), "2024-07-01 01:02:03.000000-02:30 NDT America/St_Johns", -12600, 3600},
		{time.Date(2024, 1, 1, 1, 2, 3, 0, load(t, "Australia/Lord_Howe")), "2024-01-01 01:02:03.000000+11:00 +11 Australia/Lord_Howe",
			37800, 1800},
		{time.Date(2024, 1, 1, 1, 2, 3, 0, load(t, "Asia/Kolkata")), "2024-01-01 01:02:03.000000+05:30 IST Asia/Kolkata", 19800, 0},
		{time.Date(2024, 1, 1, 1, 2, 3, 0, time.FixedZone("Base", -1800)), "2024-01-01 01:02:03.000000-00:30 Base Base", -1800, 0},
		{time.Date(2024, 1, 1, 1, 2, 3, 0, time.FixedZone("", 7200)), "2023-12-31 23:02:03.000000Z", 0, 0},
		{time.Date(2024, 1, 1, 1, 2, 3, 0, time.FixedZone("Local", 7200)), "2023-12-31 23:02:03.000000Z", 0, 0},
	} {
		d := elixir.DateTimeOf(tt.at)
		require.NoError(t, d.Check())
		require.Equal(t, tt.want, d.String())
		require.Equal(t, [2]int{tt.utc, tt.std}, [2]int{d.UTCOffset, d.StdOffset}, tt.want)
		back := d.Instant()
		require.True(t, tt.at.Equal(back), "%v, not %v", back, tt.at)
		require.Equal(t, d, elixir.DateTimeOf(back))
	}
	at := time.Now()
	require.True(t, at.Truncate(time.Microsecond).Equal(elixir.DateTimeOf(at).Instant()))
}

// The offset is right, whatever the zone's name says here.
func TestInstant(t *testing.T) {
	day := elixir.Date{Year: 2024, Month: 7, Day: 1}
	for _, tt := range []struct {
		d        elixir.DateTime
		want     string
		location string
	}{
		{elixir.DateTime{TimeZone: "Europe/Berlin", ZoneAbbr: "CEST", UTCOffset: 3600, StdOffset: 3600}, "2024-07-01T00:00:00+02:00",
			"Europe/Berlin"},
		{elixir.DateTime{TimeZone: "Europe/Berlin", ZoneAbbr: "CET", UTCOffset: 3600}, "2024-07-01T00:00:00+01:00", "Europe/Berlin"},
		{elixir.DateTime{TimeZone: "Mars/Olympus", UTCOffset: -60}, "2024-07-01T00:00:00-00:01", "Mars/Olympus"},
		{elixir.DateTime{TimeZone: "../../etc/passwd"}, "2024-07-01T00:00:00Z", "../../etc/passwd"},
		{elixir.DateTime{TimeZone: "Local", UTCOffset: 60}, "2024-07-01T00:00:00+00:01", "Local"},
		{elixir.DateTime{ZoneAbbr: "X", UTCOffset: 60}, "2024-07-01T00:00:00+00:01", "X"},
		{elixir.DateTime{TimeZone: "Etc/UTC"}, "2024-07-01T00:00:00Z", "UTC"},
	} {
		tt.d.Date = day
		for range 2 {
			got := tt.d.Instant()
			require.Equal(t, tt.want, got.Format(time.RFC3339))
			require.Equal(t, tt.location, got.Location().String())
		}
	}
}
