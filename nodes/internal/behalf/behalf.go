// Package behalf says for whom a process passes a message on.
package behalf

import "context"

type key struct{}

// With derives a context under which a message to a process of the same node is from somebody else:
// the peer of conn, a *nodes.Conn, or, if that is nil, nobody else.
func With(ctx context.Context, conn any) context.Context {
	return context.WithValue(ctx, key{}, conn)
}

// Of is what With was given; nil: nothing.
func Of(ctx context.Context) any { return ctx.Value(key{}) }
