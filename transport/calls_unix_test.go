//go:build unix

package transport

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// A callback that ends its caller's goroutine, at whichever of its calls, leaves no socket open:
// neither one that nobody has yet, nor one that is being closed.
func TestExitsLeaveNothingOpen(t *testing.T) {
	plain := expect.Open(TCP().Listen(loopback(), 0)).In(t)
	dials := func(to *Listener) *Stream {
		return expect.NoError(TCP().Connect(soon(t), to.Addr())).In(t)
	}
	for _, tt := range []struct {
		name string
		life func(tr Transport) error // opens and closes, over a transport whose callback may exit
	}{
		{"Listen", func(tr Transport) error {
			l, err := tr.Listen(loopback(), 0)
			if err != nil {
				return err
			}
			return l.Close()
		}},
		{"Connect", func(tr Transport) error {
			s, err := tr.Connect(context.Background(), plain.Addr())
			if err != nil {
				return err
			}
			return s.Close()
		}},
		{"Accept", func(tr Transport) (err error) {
			l, err := tr.Listen(loopback(), 0)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, l.Close()) }()
			defer dials(l).Close()
			s, err := l.Accept(context.Background())
			if err != nil {
				return err
			}
			return s.Close()
		}},
		{"Import", func(tr Transport) error {
			s := dials(plain)
			defer s.Close()
			fd, err := s.Descriptor()
			if err == nil {
				fd, err = sys.Dup(fd)
			}
			if err != nil {
				return err
			}
			return lend(fd, func() (io.Closer, error) { return tr.Import(fd, nil) })
		}},
		{"ImportListener", func(tr Transport) error {
			l, err := TCP().Listen(loopback(), 0)
			if err != nil {
				return err
			}
			defer l.Close()
			fd, err := sys.Dup(l.sock.(*ready[int]).c)
			if err != nil {
				return err
			}
			return lend(fd, func() (io.Closer, error) { return tr.ImportListener(fd) })
		}},
	} {
		for _, callback := range []string{"GetFD", "Listen", "Connect", "Import", "LocalAddr"} {
			t.Run(tt.name+", "+callback, func(t *testing.T) {
				before := leak.Descriptors()
				for at := int32(1); ; at++ {
					tr, calls := exiting(t, callback, at)
					life := make(chan error, 1)
					go func() {
						err := errExited
						defer func() { life <- err }()
						err = tt.life(tr)
					}()
					err := expect.Returns(t, life)
					require.Eventually(t, func() bool { return len(leak.Left(before)) == 0 }, tooLong, time.Millisecond, "call %d: %v", at, err)
					if calls.Load() < at { // none has exited
						require.NoError(t, err)
						return
					}
					require.Error(t, err)
				}
			})
		}
	}
}

// exiting is TCP with a callback whose call number at ends its goroutine.
func exiting(t *testing.T, callback string, at int32) (Transport, *atomic.Int32) {
	t.Helper()
	cb, calls := TCPCallbacks(), new(atomic.Int32)
	try := func(name string) {
		if name == callback && calls.Add(1) == at {
			runtime.Goexit()
		}
	}
	getFD, listen, connect, imported, localAddr := cb.GetFD, cb.Listen, cb.Connect, cb.Import, cb.LocalAddr
	cb.GetFD = func(fd int) (int, error) { try("GetFD"); return getFD(fd) }
	cb.Listen = func(fd int, a Addr, backlog int) (Addr, error) { try("Listen"); return listen(fd, a, backlog) }
	cb.Connect = func(fd int, a Addr, tmo time.Duration) error { try("Connect"); return connect(fd, a, tmo) }
	cb.Import = func(setup any, fd int, state []byte) (int, error) { try("Import"); return imported(setup, fd, state) }
	cb.LocalAddr = func(fd int) (Addr, error) { try("LocalAddr"); return localAddr(fd) }
	tr := expect.NoError(New(cb, nil)).In(t)
	return tr, calls
}

// lend lets take have a descriptor, and closes it unless take succeeds.
func lend(fd int, take func() (io.Closer, error)) error {
	lent := false
	defer func() {
		if !lent {
			_ = sys.Close(fd)
		}
	}()
	taken, err := take()
	if err != nil {
		return err
	}
	lent = true
	return taken.Close()
}
