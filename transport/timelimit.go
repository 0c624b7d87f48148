package transport

import (
	"context"
	"time"

	"github.com/cnode-go/cnode/transport/internal/await"
	"github.com/cnode-go/cnode/transport/internal/patience"
)

// A TimeLimit bounds the calls of one direction of a FullImpl plug-in that speaks over streams, and
// ends the one in flight: it makes the contexts that streams want of the tmo that callbacks get.
// The zero value is ready. Packages tlstransport and transport/virtual have two for each socket,
// one for Read and Accept, and one for Write and Connect.
type TimeLimit struct{ until patience.Deadline }

// Context is that of a call which begins now and may take tmo: that of NoWait for a tmo of 0. It
// ends with context.DeadlineExceeded. It is for this call only, for the next one moves its end.
func (l *TimeLimit) Context(tmo time.Duration) context.Context {
	var at time.Time
	switch {
	case tmo <= 0:
		return NoWait()
	case tmo != Infinite:
		at = time.Now().Add(tmo)
	}
	l.until.Set(at)
	return l.until.Context()
}

// Interrupt ends the call in flight, as Callbacks.Interrupt has to, but no later one.
func (l *TimeLimit) Interrupt() { l.until.Set(await.Past) }
