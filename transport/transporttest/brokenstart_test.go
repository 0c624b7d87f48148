//go:build linux

package transporttest

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// startMutants break addresses, descriptors and what comes before the first byte.
func startMutants() []mutant {
	return []mutant{
		{"Listen gives the address it was asked for", "BoundAddress", ofTCP(func(_ *mess, cb *tcp) {
			listen := cb.Listen
			cb.Listen = func(fd int, a transport.Addr, backlog int) (transport.Addr, error) {
				_, err := listen(fd, a, backlog)
				return a, err
			}
		})},
		{"Listen gives no address", "BoundAddress", ofTCP(func(_ *mess, cb *tcp) {
			listen := cb.Listen
			cb.Listen = func(fd int, a transport.Addr, backlog int) (transport.Addr, error) {
				_, err := listen(fd, a, backlog)
				return nil, err
			}
		})},
		{"Accept drops every third connection", "Connects", ofTCP(onAccept(func(o *tcpCall) {
			o.do()
			if o.err == nil && o.m.sometimes(4) {
				o.m.closing(o.accepted)
				unix.Close(o.accepted)
				o.accepted, o.addr, o.err = -1, nil, unix.EAGAIN
			}
		}))},
		{"GetFD changes from the start", "Descriptor", ofTCP(func(m *mess, cb *tcp) {
			cb.GetFD = func(fd int) (int, error) {
				dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
				return m.opened(dup, err)
			}
		})},
		{"GetFD changes after the first write", "Descriptor", ofTCP(func(m *mess, cb *tcp) {
			var mu sync.Mutex
			dups := map[int]int{}
			write := cb.Write
			cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				if dups[fd] == 0 {
					dups[fd], _ = m.opened(unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3))
				}
				return write(fd, p, tmo)
			}
			cb.GetFD = func(fd int) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				if dup := dups[fd]; dup != 0 {
					return dup, nil
				}
				return fd, nil
			}
		})},
		{"GetFD gives none, without FullImpl", "Descriptor", ofTCP(func(_ *mess, cb *tcp) {
			cb.GetFD = func(int) (int, error) { return -1, errors.ErrUnsupported }
		})},
		{"GetFD gives a descriptor that is not open", "Descriptor", ofTCP(func(_ *mess, cb *tcp) {
			cb.GetFD = func(fd int) (int, error) { return fd + 1<<16, nil }
		})},
		{"GetFD gives the same descriptor for all", "Descriptor", ofPolling(func(_ *mess, cb *poll) {
			var first atomic.Int64
			get := cb.GetFD
			cb.GetFD = func(s *pollSocket) (int, error) {
				fd, err := get(s)
				first.CompareAndSwap(0, int64(fd))
				if _, e := unix.FcntlInt(uintptr(first.Load()), unix.F_GETFD, 0); e != nil {
					first.Store(int64(fd)) // so that the descriptor is at least an open one
				}
				return int(first.Load()), err
			}
		})},
		{"GetFD has a descriptor only sometimes", "Descriptor", ofPolling(func(m *mess, cb *poll) {
			get := cb.GetFD
			cb.GetFD = func(s *pollSocket) (int, error) {
				if m.sometimes(3) {
					return -1, errors.ErrUnsupported
				}
				return get(s)
			}
		})},
		{"GetFD gives another socket's descriptor", "Moves", ofPolling(func(m *mess, cb *poll) {
			var mu sync.Mutex
			fake := map[*pollSocket]int{}
			cb.GetFD = func(s *pollSocket) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				if fake[s] == 0 {
					fd, err := m.opened(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
					if err != nil {
						return -1, err
					}
					fake[s] = fd
				}
				return fake[s], nil
			}
			free := cb.Close
			cb.Close = func(s *pollSocket) error {
				mu.Lock()
				defer mu.Unlock()
				if fd := fake[s]; fd != 0 {
					m.closing(fd)
					unix.Close(fd)
				}
				delete(fake, s)
				return free(s)
			}
		})},
		{"Accept leaves its descriptor to child processes", "CloseOnExec", ofTCP(onAccept(func(o *tcpCall) {
			o.do()
			if o.err == nil {
				_, o.err = unix.FcntlInt(uintptr(o.accepted), unix.F_SETFD, 0)
			}
		}))},
		{"Socket leaves its descriptor to child processes", "CloseOnExec", ofPolling(func(_ *mess, cb *poll) {
			socket := cb.Socket
			cb.Socket = func(setup any, a transport.Addr) (*pollSocket, error) {
				s, err := socket(setup, a)
				if err == nil {
					_, err = unix.FcntlInt(uintptr(s.fd), unix.F_SETFD, 0)
				}
				return s, err
			}
		})},
		{"Import leaves its descriptor to child processes", "CloseOnExec", ofTCP(func(_ *mess, cb *tcp) {
			imported := cb.Import
			cb.Import = func(setup any, fd int, state []byte) (int, error) {
				fd, err := imported(setup, fd, state)
				if err == nil {
					_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
				}
				return fd, err
			}
		})},
		{"Read sets blocking mode", "Mode", ofTCP(onRead(func(o *tcpCall) {
			o.do()
			if o.n > 0 {
				o.err = errors.Join(o.err, unix.SetNonblock(o.c, false))
			}
		}))},
		{"with FullImpl, a write leaves non-blocking mode", "Mode", ofPolling(onWrite(func(o *pollCall) {
			if err := unix.SetNonblock(o.c.fd, true); err != nil {
				o.fails(err)
			}
			o.do()
		}))},
		{"a header of 3 bytes", "HeaderSize", ofTCP(func(_ *mess, cb *tcp) {
			cb.HandshakePacketHeaderSize = func(int) (int, error) { return 3, nil }
		})},
		{"headers of 2 and of 4 bytes", "HeaderSize", ofTCP(func(m *mess, cb *tcp) {
			cb.HandshakePacketHeaderSize = func(int) (int, error) {
				if m.sometimes(2) {
					return 4, nil
				}
				return 2, nil
			}
		})},
	}
}
