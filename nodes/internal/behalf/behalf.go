// Package behalf says for whom a process passes a message on.
package behalf

import "context"

type key struct{}

// With derives a context under which a message to a process of the same node counts as the peer's
// behind conn, a *nodes.Conn. With nil it counts as the process's own again.
func With(ctx context.Context, conn any) context.Context {
	return context.WithValue(ctx, key{}, conn)
}

// Of is what With was given; nil: nothing.
func Of(ctx context.Context) any { return ctx.Value(key{}) }
