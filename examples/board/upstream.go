package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/cnode-go/cnode/nodes"
)

// An upstreamLink keeps the node connected to another one.
type upstreamLink struct {
	n    *nodes.Node
	node string // "": none
	end  context.CancelFunc
	over chan struct{}
}

const (
	firstPause = 100 * time.Millisecond
	mostPause  = 10 * time.Second
)

func (u *upstreamLink) start() {
	if u.node == "" {
		return
	}
	var ctx context.Context
	ctx, u.end = context.WithCancel(context.Background())
	u.over = make(chan struct{})
	go func() {
		defer close(u.over)
		u.keep(ctx)
	}()
}

// stop ends keep, and leaves the connection as it is.
func (u *upstreamLink) stop() {
	if u.end != nil {
		u.end()
		<-u.over
	}
}

// keep connects whenever there is no connection, after longer and longer pauses.
func (u *upstreamLink) keep(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		if c := u.connection(ctx, pause); c != nil {
			pause = firstPause
			select {
			case <-c.Done():
				slog.Warn("the upstream node is gone", "node", u.node, "error", c.Err())
			case <-ctx.Done():
			}
			continue
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, mostPause)
	}
}

// connection gives the existing connection, or a new one; nil if no connection can be made.
func (u *upstreamLink) connection(ctx context.Context, pause time.Duration) *nodes.Conn {
	if c := u.n.Conn(u.node); c != nil {
		return c
	}
	c, err := u.n.Connect(ctx, u.node)
	switch {
	case err == nil:
		slog.Info("connected", "node", u.node)
	case ctx.Err() == nil:
		slog.Warn("no connection to the upstream node", "node", u.node, "error", err, "again in", pause)
	}
	return c
}
