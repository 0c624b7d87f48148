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
		{"Read waits where the SDK should", "ReadDeadline", ofTCP(onRead(func(o *tcpCall) {
			for o.do(); errors.Is(o.err, unix.EAGAIN); o.do() {
				select {
				case <-o.m.release:
					o.fails(unix.EIO)
				case <-time.After(time.Millisecond):
				}
			}
		}))},
		{"Read does not know time 0", "ReadNoWait", ofPolling(onRead(func(o *pollCall) {
			o.tmo = transport.Infinite
			o.do()
		}))},
		{"Read with time 0 does not look", "ReadNoWait", ofPolling(onRead(func(o *pollCall) {
			if o.tmo == 0 {
				o.fails(os.ErrDeadlineExceeded)
			}
			o.do()
		}))},
		{"Write reports a time-out as another error", "WriteDeadline", ofPolling(onWrite(func(o *pollCall) {
			o.do()
			if errors.Is(o.err, os.ErrDeadlineExceeded) {
				o.n, o.err = 0, unix.EIO
			}
		}))},
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
		{"Write does not know time 0", "WriteNoWait", ofPolling(onWrite(func(o *pollCall) {
			o.tmo = transport.Infinite
			o.do()
		}))},
		{"Accept reports a time-out as another error", "AcceptDeadline", ofPolling(onAccept(func(o *pollCall) {
			o.do()
			o.turns(os.ErrDeadlineExceeded, unix.EIO)
		}))},
		{"Accept does not know time 0", "AcceptNoWait", ofPolling(onAccept(func(o *pollCall) {
			o.tmo = transport.Infinite
			o.do()
		}))},
		{"Connect reports a time-out as another error", "ConnectDeadline", ofPolling(onConnect(func(o *pollCall) {
			o.do()
			o.turns(os.ErrDeadlineExceeded, unix.EIO)
		}))},
		{"Connect does not know time 0", "ConnectNoWait", ofPolling(onConnect(func(o *pollCall) {
			if o.tmo == 0 {
				o.tmo = transport.Infinite
			}
			o.do()
		}))},
		{"a month is too long", "LongWaits", ofPolling(onRead(func(o *pollCall) {
			if o.tmo != transport.Infinite && o.tmo.Milliseconds() > 1<<31-1 {
				o.fails(unix.EINVAL)
			}
			o.do()
		}))},
		{"Read that times out throws bytes away", "TimeoutsLoseNothing", ofPolling(onRead(func(o *pollCall) {
			o.do()
			if errors.Is(o.err, os.ErrDeadlineExceeded) {
				time.Sleep(time.Millisecond) // meanwhile bytes come, and are taken
				_, _, _ = unix.Recvfrom(o.c.fd, make([]byte, 16), unix.MSG_DONTWAIT)
			}
		}))},

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
		{"an interrupted Write is another error", "CancelWrite", ofPolling(onWrite(func(o *pollCall) {
			begin := time.Now()
			o.do()
			if errors.Is(o.err, os.ErrDeadlineExceeded) && (o.tmo == transport.Infinite || time.Since(begin) < o.tmo) {
				o.err = unix.EIO
			}
		}))},
		{"an interrupted Accept is another error", "CancelAccept", ofPolling(onAccept(func(o *pollCall) {
			o.do()
			if errors.Is(o.err, os.ErrDeadlineExceeded) && o.tmo == transport.Infinite {
				o.err = unix.EIO
			}
		}))},
		{"an interrupted Connect is another error", "CancelConnect", ofPolling(onConnect(func(o *pollCall) {
			o.do()
			if errors.Is(o.err, os.ErrDeadlineExceeded) && o.tmo == transport.Infinite {
				o.err = unix.EIO
			}
		}))},
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
