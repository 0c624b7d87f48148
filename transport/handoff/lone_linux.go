package handoff

import (
	"context"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/transport/internal/await"
	"github.com/cnode-go/cnode/transport/internal/patience"
	"github.com/cnode-go/cnode/transport/internal/sys"
	"golang.org/x/sys/unix"
)

// A lone is a socket that the Go poller does not watch. On a watched socket each message costs a
// call-back on either side, even if no goroutine waits: a sixth of a message's processor time. So a
// goroutine that has to wait uses a Pair, and only then the poller watches.
//
// Close ends the waits, then waits for calls in progress, and only then closes the socket, so that
// no call uses a number that has been reused. A call in progress holds one of the Conn's turns, or
// else use. A lone that is dropped without Close is closed as well.
type lone struct {
	fd                 int
	pair               *await.Pair
	sending, receiving *patience.Turns // of the Conn
	use                sync.RWMutex    // Close locks it for good
	closed             atomic.Bool
	ending             chan struct{} // closed when Close begins
	dropped            runtime.Cleanup
}

// own takes the socket from the Go poller. If that fails, the socket stays with the poller.
func (c *Conn) own() {
	s := &lone{sending: &c.sending, receiving: &c.receiving, ending: make(chan struct{})}
	var err error
	e := c.raw.Control(func(fd uintptr) { s.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3) })
	if err != nil || e != nil {
		return
	}
	if s.pair, err = await.New(s.fd, await.NewPolicy(0), true, false); err != nil {
		_ = sys.Close(s.fd)
		return
	}
	s.dropped = runtime.AddCleanup(s, func(fd int) { _ = sys.Close(fd) }, s.fd)
	_ = c.conn.Close()
	c.alone, c.conn, c.raw = s, nil, s
	out, in := &c.outward, &c.inward
	send, receive := func() bool { return out.try(uintptr(s.fd)) }, func(uintptr) bool { return in.try(uintptr(s.fd)) }
	out.park = func(ctx context.Context) error { return s.ended(s.pair.Out.Do(ctx, send)) }
	in.park = func(ctx context.Context) error { return s.ended(s.pair.In.Wait(ctx, receive)) }
}

// ended makes what a Pair says after Close net.ErrClosed.
func (s *lone) ended(err error) error {
	if err != nil && s.closed.Load() {
		return net.ErrClosed
	}
	return err
}

// open tells the holder of a turn whether the descriptor can be used until it passes the turn on.
func (s *lone) open() bool { return s != nil && !s.closed.Load() }

// closing returns a channel that is closed when Close begins; nil for a socket that the Go poller
// watches.
func (s *lone) closing() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.ending
}

// Close closes the socket: see lone.
func (s *lone) Close() error {
	if s.closed.Swap(true) {
		return net.ErrClosed
	}
	s.dropped.Stop()
	close(s.ending)
	s.pair.Close()
	for _, t := range []*patience.Turns{s.sending, s.receiving} {
		_ = t.Take(context.Background())
		defer t.Pass()
	}
	s.use.Lock()
	_ = sys.Close(s.fd)
	return nil
}

// Control, Read and Write are those of syscall.RawConn.
func (s *lone) Control(f func(fd uintptr)) error {
	if !s.use.TryRLock() {
		return net.ErrClosed
	}
	defer s.use.RUnlock()
	f(uintptr(s.fd))
	return nil
}

func (s *lone) Read(f func(fd uintptr) bool) error {
	_ = s.receiving.Take(context.Background())
	defer s.receiving.Pass()
	return s.ended(s.pair.In.Wait(context.Background(), func(uintptr) bool { return f(uintptr(s.fd)) }))
}

func (s *lone) Write(f func(fd uintptr) bool) error {
	_ = s.sending.Take(context.Background())
	defer s.sending.Pass()
	return s.ended(s.pair.Out.Do(context.Background(), func() bool { return f(uintptr(s.fd)) }))
}

func (s *lone) closeWrite() error {
	var err error
	if e := s.Control(func(fd uintptr) { err = os.NewSyscallError("shutdown", unix.Shutdown(int(fd), unix.SHUT_WR)) }); e != nil {
		return e
	}
	return err
}
