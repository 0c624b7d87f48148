// Package meter is how a node measures itself in the words of package metrics.
package meter

import (
	"context"

	"github.com/cnode-go/cnode/nodes/metrics"
)

// Join makes one of several Hooks: each function calls theirs in order, and CallEnded in the
// reverse one.
func Join(all ...*metrics.Hooks) *metrics.Hooks {
	if len(all) == 1 {
		return all[0]
	}
	var j metrics.Hooks
	for _, h := range all {
		j.ConnUp = both(j.ConnUp, h.ConnUp)
		j.HandshakeFailed = both(j.HandshakeFailed, h.HandshakeFailed)
		j.MessageIn = both2(j.MessageIn, h.MessageIn)
		j.MessageOut = both2(j.MessageOut, h.MessageOut)
		j.QueueFull = both(j.QueueFull, h.QueueFull)
		j.TickMissed = both(j.TickMissed, h.TickMissed)
		j.Overflow = both2(j.Overflow, h.Overflow)
		j.MailboxFull = both(j.MailboxFull, h.MailboxFull)
		j.CallEnded = both2(h.CallEnded, j.CallEnded)
		j.ConnDown = both3(j.ConnDown, h.ConnDown)
		j.Denied = both3(j.Denied, h.Denied)
		if first, then := j.CallBegun, h.CallBegun; first == nil {
			j.CallBegun = then
		} else if then != nil {
			j.CallBegun = func(ctx context.Context, c *metrics.CallInfo) context.Context { return then(first(ctx, c), c) }
		}
	}
	return &j
}

func both[A any](f, g func(A)) func(A) {
	switch {
	case f == nil:
		return g
	case g == nil:
		return f
	}
	return func(a A) { f(a); g(a) }
}

func both2[A, B any](f, g func(A, B)) func(A, B) {
	switch {
	case f == nil:
		return g
	case g == nil:
		return f
	}
	return func(a A, b B) { f(a, b); g(a, b) }
}

func both3[A, B, C any](f, g func(A, B, C)) func(A, B, C) {
	switch {
	case f == nil:
		return g
	case g == nil:
		return f
	}
	return func(a A, b B, c C) { f(a, b, c); g(a, b, c) }
}
