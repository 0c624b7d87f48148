package handoff

import (
	"context"
	"net"
	"time"
)

// An acceptor accepts connections, one call at a time: a listener has one deadline, and each caller a context of its own.
type acceptor struct {
	l    *net.UnixListener
	turn turns
}

// accept waits for the next connection. net.ErrClosed is the end.
func (a *acceptor) accept(ctx context.Context) (*net.UnixConn, error) {
	if err := a.turn.take(ctx); err != nil {
		return nil, err
	}
	defer a.turn.pass()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { _ = a.l.SetDeadline(time.Unix(1, 0)); close(fired) })
	c, err := a.l.AcceptUnix()
	if !stop() {
		<-fired
		_ = a.l.SetDeadline(time.Time{})
		if err != nil {
			err = ctx.Err()
		}
	}
	return c, err
}
