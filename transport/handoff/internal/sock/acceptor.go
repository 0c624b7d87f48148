package sock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/await"
	"github.com/cnode-go/cnode/transport/internal/patience"
)

// An Acceptor accepts connections, one call at a time, because a listener has only one deadline,
// and each caller has its own context.
type Acceptor struct {
	l      *net.UnixListener
	closed chan struct{}
	turn   patience.Turns
}

// NewAcceptor makes an Acceptor of a listener, which it owns. The file of the listener is that of a
// Pin, or nobody's.
func NewAcceptor(l *net.UnixListener) *Acceptor {
	l.SetUnlinkOnClose(false) // the Pin removes the socket's file
	return &Acceptor{l: l, closed: make(chan struct{})}
}

// Accept waits for the next connection. While the system lacks descriptors or memory, Accept pauses
// and tries again. After Close it returns net.ErrClosed.
func (a *Acceptor) Accept(ctx context.Context) (*net.UnixConn, error) {
	if err := a.turn.Take(ctx); err != nil {
		return nil, err
	}
	defer a.turn.Pass()
	pause := patience.Backoff{First: 5 * time.Millisecond, Most: time.Second}
	for {
		c, err := a.next(ctx)
		if !await.Exhausted(err) || transport.IsNoWait(ctx) {
			return c, err
		}
		if e := pause.Wait(ctx, a.closed, nil); e != nil {
			return nil, fmt.Errorf("%w while waiting after: %w", e, err)
		}
	}
}

func (a *Acceptor) next(ctx context.Context) (*net.UnixConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if transport.IsNoWait(ctx) {
		return a.look()
	}
	var c *net.UnixConn
	err := patience.ByDeadline(ctx, a.l.SetDeadline, func() (err error) { c, err = a.l.AcceptUnix(); return err })
	return c, err
}

// look is next without waiting. Package net does not call accept(2) once the deadline has passed,
// so look first asks the system whether a connection is pending. Another process, which shares the
// socket during a hand-off, may still accept it first.
func (a *Acceptor) look() (*net.UnixConn, error) {
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

// Addr returns the address of the listener.
func (a *Acceptor) Addr() transport.Addr { return transport.FromNetAddr(a.l.Addr()) }

// SyscallConn gives access to the listener.
func (a *Acceptor) SyscallConn() (syscall.RawConn, error) { return a.l.SyscallConn() }

// ListenAnew calls listen(2) again, so that those who connect from now on see this process as the
// one that listens.
func (a *Acceptor) ListenAnew() { listenAnew(a.l) }

// Waiting tells whether a call of Accept is at work, for tests.
func (a *Acceptor) Waiting() bool { return a.turn.Callers() > 0 }

// Close closes the listener and leaves its file. Accept returns net.ErrClosed.
func (a *Acceptor) Close() error {
	err := a.l.Close()
	if !errors.Is(err, net.ErrClosed) { // it was open
		close(a.closed)
	}
	return err
}
