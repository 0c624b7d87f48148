package handoff

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// An acceptor accepts connections, one call at a time: a listener has one deadline, and each caller a context of its own.
type acceptor struct {
	l      *net.UnixListener
	closed chan struct{}
	turn   turns
}

func newAcceptor(l *net.UnixListener) *acceptor {
	l.SetUnlinkOnClose(false) // the pin knows better
	return &acceptor{l: l, closed: make(chan struct{})}
}

// accept waits for the next connection. A want of descriptors or memory is waited out. net.ErrClosed is the end.
func (a *acceptor) accept(ctx context.Context) (*net.UnixConn, error) {
	if err := a.turn.take(ctx); err != nil {
		return nil, err
	}
	defer a.turn.pass()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		c, err := a.next(ctx)
		if !exhausted(err) || transport.IsNoWait(ctx) {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w while waiting after: %w", ctx.Err(), err)
		case <-a.closed:
			return nil, net.ErrClosed
		case <-time.After(pause):
		}
	}
}

func (a *acceptor) next(ctx context.Context) (*net.UnixConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if transport.IsNoWait(ctx) {
		return a.look()
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

// look is next without waiting. Package net does not try after its deadline, so this asks the system first; and then another process, which
// shares the socket during a hand-off, may be the first.
func (a *acceptor) look() (*net.UnixConn, error) {
	defer a.l.SetDeadline(time.Time{})
	for {
		there, err := pending(a.l)
		switch {
		case err != nil:
			return nil, err
		case !there:
			return nil, os.ErrDeadlineExceeded
		}
		_ = a.l.SetDeadline(time.Now().Add(10 * time.Millisecond))
		if c, err := a.l.AcceptUnix(); !errors.Is(err, os.ErrDeadlineExceeded) {
			return c, err
		}
	}
}

func (a *acceptor) close() error {
	err := a.l.Close()
	if !errors.Is(err, net.ErrClosed) { // it was open
		close(a.closed)
	}
	return err
}
