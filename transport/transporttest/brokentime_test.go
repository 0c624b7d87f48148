//go:build linux

package transporttest

import (
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// A Read that waits by itself, without FullImpl, is told what to return.
func TestWaitingReadIsToldEAGAIN(t *testing.T) {
	for _, m := range timeMutants() {
		if m.name == "Read waits where the SDK should" {
			err := m.check(t, limits{
				patience: time.Second / 2, lingering: time.Second / 2, watchdog: 30 * time.Second, tries: 1, starved: 1, rounds: 1,
			})
			require.ErrorContains(t, err, "return EAGAIN")
			return
		}
	}
	t.Fatal("no such mutant")
}

// timeMutants break time-outs and cancellation.
func timeMutants() []mutant {
	return []mutant{
		{"Read reports a time-out as the end of the stream", "ReadDeadline", ofPolling(func(_ *mess, cb *poll) {
			readGives(cb, os.ErrDeadlineExceeded, nil)
		})},
		{"Read reports a time-out as another error", "ReadDeadline", ofPolling(func(_ *mess, cb *poll) {
			readGives(cb, os.ErrDeadlineExceeded, unix.EIO)
		})},
		{"Read waits where the SDK should", "ReadDeadline", ofTCP(func(m *mess, cb *tcp) {
			read := cb.Read
			cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) {
				for {
					n, err := read(fd, p, tmo)
					if !errors.Is(err, unix.EAGAIN) {
						return n, err
					}
					select {
					case <-m.release:
						return 0, unix.EIO
					case <-time.After(time.Millisecond):
					}
				}
			}
		})},
		{"Read does not know time 0", "ReadNoWait", ofPolling(func(_ *mess, cb *poll) {
			read := cb.Read
			cb.Read = func(s *pollSocket, p []byte, _ time.Duration) (int, error) { return read(s, p, transport.Infinite) }
		})},
		{"Read with time 0 does not look", "ReadNoWait", ofPolling(func(_ *mess, cb *poll) {
			read := cb.Read
			cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				if tmo == 0 {
					return 0, os.ErrDeadlineExceeded
				}
				return read(s, p, tmo)
			}
		})},
		{"Write reports a time-out as another error", "WriteDeadline", ofPolling(func(_ *mess, cb *poll) {
			write := cb.Write
			cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				n, err := write(s, p, tmo)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					return 0, unix.EIO
				}
				return n, err
			}
		})},
		{"Write that times out forgets what it has written", "WriteDeadline", ofPolling(func(_ *mess, cb *poll) {
			write := cb.Write
			cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (n int, err error) {
				for n < len(p) {
					var k int
					if k, err = write(s, p[n:], tmo); err != nil {
						return 0, err
					}
					n += k
				}
				return n, nil
			}
		})},
		{"Write does not know time 0", "WriteNoWait", ofPolling(func(_ *mess, cb *poll) {
			write := cb.Write
			cb.Write = func(s *pollSocket, p []byte, _ time.Duration) (int, error) { return write(s, p, transport.Infinite) }
		})},
		{"Accept reports a time-out as another error", "AcceptDeadline", ofPolling(func(_ *mess, cb *poll) {
			accept := cb.Accept
			cb.Accept = func(s *pollSocket, tmo time.Duration) (*pollSocket, transport.Addr, error) {
				n, a, err := accept(s, tmo)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					err = unix.EIO
				}
				return n, a, err
			}
		})},
		{"Accept does not know time 0", "AcceptNoWait", ofPolling(func(_ *mess, cb *poll) {
			accept := cb.Accept
			cb.Accept = func(s *pollSocket, _ time.Duration) (*pollSocket, transport.Addr, error) {
				return accept(s, transport.Infinite)
			}
		})},
		{"Connect reports a time-out as another error", "ConnectDeadline", ofPolling(func(_ *mess, cb *poll) {
			connect := cb.Connect
			cb.Connect = func(s *pollSocket, a transport.Addr, tmo time.Duration) error {
				err := connect(s, a, tmo)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					err = unix.EIO
				}
				return err
			}
		})},
		{"Connect does not know time 0", "ConnectNoWait", ofPolling(func(_ *mess, cb *poll) {
			connect := cb.Connect
			cb.Connect = func(s *pollSocket, a transport.Addr, tmo time.Duration) error {
				if tmo == 0 {
					tmo = transport.Infinite
				}
				return connect(s, a, tmo)
			}
		})},
		{"a month is too long", "LongWaits", ofPolling(func(_ *mess, cb *poll) {
			read := cb.Read
			cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				if tmo != transport.Infinite && tmo.Milliseconds() > 1<<31-1 {
					return 0, unix.EINVAL
				}
				return read(s, p, tmo)
			}
		})},
		{"Read that times out throws bytes away", "TimeoutsLoseNothing", ofPolling(func(_ *mess, cb *poll) {
			read := cb.Read
			cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				n, err := read(s, p, tmo)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					time.Sleep(time.Millisecond) // meanwhile bytes come, and are taken
					_, _, _ = unix.Recvfrom(s.fd, make([]byte, 16), unix.MSG_DONTWAIT)
				}
				return n, err
			}
		})},

		{"Interrupt breaks the connection", "CancelRead", ofPolling(func(_ *mess, cb *poll) {
			interrupt := cb.Interrupt
			cb.Interrupt = func(s *pollSocket) {
				interrupt(s)
				_ = unix.Shutdown(s.fd, unix.SHUT_RDWR)
			}
		})},
		{"Read does not heed Interrupt", "Returns CancelRead", ofPolling(func(_ *mess, cb *poll) {
			cb.Interrupt = func(*pollSocket) {}
		})},
		{"Interrupt does not come back", "Returns CancelRead", ofPolling(func(m *mess, cb *poll) {
			cb.Interrupt = func(*pollSocket) { <-m.release }
		})},
		{"an interrupted Write is another error", "CancelWrite", ofPolling(func(_ *mess, cb *poll) {
			write := cb.Write
			cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				begin := time.Now()
				n, err := write(s, p, tmo)
				if errors.Is(err, os.ErrDeadlineExceeded) && (tmo == transport.Infinite || time.Since(begin) < tmo) {
					err = unix.EIO
				}
				return n, err
			}
		})},
		{"an interrupted Accept is another error", "CancelAccept", ofPolling(func(_ *mess, cb *poll) {
			accept := cb.Accept
			cb.Accept = func(s *pollSocket, tmo time.Duration) (*pollSocket, transport.Addr, error) {
				n, a, err := accept(s, tmo)
				if errors.Is(err, os.ErrDeadlineExceeded) && tmo == transport.Infinite {
					err = unix.EIO
				}
				return n, a, err
			}
		})},
		{"an interrupted Connect is another error", "CancelConnect", ofPolling(func(_ *mess, cb *poll) {
			connect := cb.Connect
			cb.Connect = func(s *pollSocket, a transport.Addr, tmo time.Duration) error {
				err := connect(s, a, tmo)
				if errors.Is(err, os.ErrDeadlineExceeded) && tmo == transport.Infinite {
					err = unix.EIO
				}
				return err
			}
		})},
		{"Interrupt ends a Write for good", "CancelOneWay", ofPolling(func(_ *mess, cb *poll) {
			write := cb.Write
			var ended sync.Map
			interrupt := cb.Interrupt
			cb.Interrupt = func(s *pollSocket) { ended.Store(s, true); interrupt(s) }
			cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				if _, ok := ended.Load(s); ok && len(p) > 1000 {
					return 0, unix.EIO
				}
				return write(s, p, tmo)
			}
		})},
	}
}
