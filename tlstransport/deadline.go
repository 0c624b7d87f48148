package tlstransport

import (
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A deadline is the time that a callback may take.
type deadline struct {
	until time.Time // zero: no limit
	once  bool      // try once, do not wait
}

func after(tmo time.Duration) deadline {
	switch {
	case tmo <= 0:
		return deadline{once: true}
	case tmo == transport.Infinite:
		return deadline{}
	}
	return deadline{until: time.Now().Add(tmo)}
}

// over tells whether the time is over.
func (d deadline) over() bool { return d.once || !d.until.IsZero() && !time.Now().Before(d.until) }

// expiry returns a channel that fires when the time is over; stop must be called.
func (d deadline) expiry() (fires <-chan time.Time, stop func()) {
	if d.until.IsZero() {
		return nil, func() {}
	}
	t := time.NewTimer(time.Until(d.until))
	return t.C, func() { t.Stop() }
}

// past returns a time that is over: as a deadline it ends a wait at once.
func past() time.Time { return time.Unix(1, 0) }
