package elixir

import (
	"fmt"
	"math"
	"time"

	"github.com/cnode-go/cnode/ei"
)

// A ValueError says that a field of a struct has a value that it cannot have. It is an ei.ErrRange.
type ValueError struct {
	Struct string // as Elixir calls it: "Date"
	Field  string // its key: "month"
	Reason string // as "13 is not in 1..12"
}

// Error names the struct, the field and the reason.
func (e *ValueError) Error() string {
	return fmt.Sprintf("elixir: %s of a %s: %s", e.Field, e.Struct, e.Reason)
}

// Is makes a ValueError an ei.ErrRange.
func (e *ValueError) Is(target error) bool { return target == ei.ErrRange }

// missing is the value of a field before it is read, if the field must be there.
const missing = math.MinInt

// maxYear bounds a year, so that every date is one of package time, too.
const maxYear = 999_999_999

// within checks that first <= v <= last.
func within(of, field string, v, first, last int) error {
	switch {
	case v == missing:
		return &ValueError{Struct: of, Field: field, Reason: "the key is missing"}
	case v < first || v > last:
		return &ValueError{Struct: of, Field: field, Reason: fmt.Sprintf("%d is not in %d..%d", v, first, last)}
	}
	return nil
}

// daysIn counts the days of a month.
func daysIn(year int, m time.Month) int { return time.Date(year, m+1, 0, 0, 0, 0, 0, time.UTC).Day() }
