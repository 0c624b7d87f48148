//go:build linux

package transporttest

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// A mutant is a good plug-in with one rule broken.
type mutant struct {
	name string
	rule string // must be reported
	make func(m *mess) transport.Transport
}

// A mess is what a mutant leaves behind: it is cleaned up when the test is over.
type mess struct {
	release chan struct{} // what blocks for ever blocks until this is closed

	mu    sync.Mutex
	open  map[int]bool         // descriptors that the mutant has opened and not closed
	socks map[*pollSocket]bool // the same of sockets
}

func newMess() *mess {
	return &mess{release: make(chan struct{}), open: map[int]bool{}, socks: map[*pollSocket]bool{}}
}

func (m *mess) opened(fd int, err error) (int, error) {
	if err == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.open[fd] = true
	}
	return fd, err
}

// closing forgets a descriptor that is about to be closed; false if it has been.
func (m *mess) closing(fd int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	open := m.open[fd]
	delete(m.open, fd)
	return open
}

// others calls f with every other open descriptor, none of which is closed meanwhile.
func (m *mess) others(fd int, f func(o int)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for o := range m.open {
		if o != fd {
			f(o)
		}
	}
}

func (m *mess) openedSocket(s *pollSocket, err error) (*pollSocket, error) {
	if err == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.socks[s] = true
	}
	return s, err
}

func (m *mess) closingSocket(s *pollSocket) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	open := m.socks[s]
	delete(m.socks, s)
	return open
}

// cleanUp ends what was left behind, and closes what was left open. It comes when all mutants are done: the number of a descriptor
// that is closed under a callback would be somebody else's next.
func (m *mess) cleanUp() {
	m.mu.Lock()
	for s := range m.socks {
		_ = unix.Shutdown(s.fd, unix.SHUT_RDWR)
	}
	for fd := range m.open {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	}
	nothing := len(m.socks)+len(m.open) == 0
	m.mu.Unlock()
	if nothing {
		return
	}
	time.Sleep(100 * time.Millisecond) // what waited goes on
	m.mu.Lock()
	defer m.mu.Unlock()
	for fd := range m.open {
		unix.Close(fd)
	}
	for s := range m.socks {
		_ = s.free()
	}
	clear(m.open)
	clear(m.socks)
}

// ofTCP breaks TCP's callbacks, for which the SDK waits.
func ofTCP(breakIt func(m *mess, cb *transport.Callbacks[int])) func(*mess) transport.Transport {
	return func(m *mess) transport.Transport {
		cb := transport.TCPCallbacks()
		socket, accept, imported, closing, release := cb.Socket, cb.Accept, cb.Import, cb.Close, cb.Release
		cb.Socket = func(setup any, a transport.Addr) (int, error) { return m.opened(socket(setup, a)) }
		cb.Accept = func(fd int, tmo time.Duration) (int, transport.Addr, error) {
			nfd, a, err := accept(fd, tmo)
			_, _ = m.opened(nfd, err)
			return nfd, a, err
		}
		cb.Import = func(setup any, fd int, state []byte) (int, error) { return m.opened(imported(setup, fd, state)) }
		cb.Close = func(fd int) error {
			if !m.closing(fd) {
				return unix.EBADF
			}
			return closing(fd)
		}
		cb.Release = func(fd int) error {
			if !m.closing(fd) {
				return unix.EBADF
			}
			return release(fd)
		}
		breakIt(m, &cb)
		return mustNew(cb)
	}
}

// ofPolling breaks a FullImpl plug-in with Interrupt.
func ofPolling(breakIt func(m *mess, cb *transport.Callbacks[*pollSocket])) func(*mess) transport.Transport {
	return func(m *mess) transport.Transport {
		cb := polling(true)
		socket, accept, imported, closing, release := cb.Socket, cb.Accept, cb.Import, cb.Close, cb.Close
		cb.Socket = func(setup any, a transport.Addr) (*pollSocket, error) { return m.openedSocket(socket(setup, a)) }
		cb.Accept = func(s *pollSocket, tmo time.Duration) (*pollSocket, transport.Addr, error) {
			n, a, err := accept(s, tmo)
			_, _ = m.openedSocket(n, err)
			return n, a, err
		}
		cb.Import = func(setup any, fd int, state []byte) (*pollSocket, error) {
			return m.openedSocket(imported(setup, fd, state))
		}
		cb.Close = func(s *pollSocket) error {
			if !m.closingSocket(s) {
				return unix.EBADF
			}
			return closing(s)
		}
		cb.Release = func(s *pollSocket) error {
			if !m.closingSocket(s) {
				return unix.EBADF
			}
			return release(s)
		}
		breakIt(m, &cb)
		return mustNew(cb)
	}
}

func mustNew[C any](cb transport.Callbacks[C]) transport.Transport {
	tr, err := transport.New(cb, nil)
	if err != nil {
		panic(err)
	}
	return tr
}

// sometimes is true once in every n calls.
func sometimes(n int64) func() bool {
	var calls atomic.Int64
	return func() bool { return calls.Add(1)%n == 0 }
}

type (
	tcp  = transport.Callbacks[int]
	poll = transport.Callbacks[*pollSocket]
)

func mutants() []mutant {
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
		{"Accept drops every third connection", "Connects", ofTCP(func(m *mess, cb *tcp) {
			accept, drop := cb.Accept, sometimes(4)
			cb.Accept = func(fd int, tmo time.Duration) (int, transport.Addr, error) {
				nfd, a, err := accept(fd, tmo)
				if err == nil && drop() {
					m.closing(nfd)
					unix.Close(nfd)
					return -1, nil, unix.EAGAIN
				}
				return nfd, a, err
			}
		})},
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
					first.Store(int64(fd)) // so that it is an open one at least
				}
				return int(first.Load()), err
			}
		})},
		{"GetFD has a descriptor only sometimes", "Descriptor", ofPolling(func(_ *mess, cb *poll) {
			get, refuse := cb.GetFD, sometimes(3)
			cb.GetFD = func(s *pollSocket) (int, error) {
				if refuse() {
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
		{"Read sets blocking mode", "Mode", ofTCP(func(_ *mess, cb *tcp) {
			read := cb.Read
			cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) {
				n, err := read(fd, p, tmo)
				if n > 0 {
					err = errors.Join(err, unix.SetNonblock(fd, false))
				}
				return n, err
			}
		})},
		{"with FullImpl, a write leaves non-blocking mode", "Mode", ofPolling(func(_ *mess, cb *poll) {
			write := cb.Write
			cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				if err := unix.SetNonblock(s.fd, true); err != nil {
					return 0, err
				}
				return write(s, p, tmo)
			}
		})},
		{"a header of 3 bytes", "HeaderSize", ofTCP(func(_ *mess, cb *tcp) {
			cb.HandshakePacketHeaderSize = func(int) (int, error) { return 3, nil }
		})},
		{"headers of 2 and of 4 bytes", "HeaderSize", ofTCP(func(_ *mess, cb *tcp) {
			other := sometimes(2)
			cb.HandshakePacketHeaderSize = func(int) (int, error) {
				if other() {
					return 4, nil
				}
				return 2, nil
			}
		})},

		{"Read says end of stream when it would have to wait", "WaitsForBytes", ofTCP(func(_ *mess, cb *tcp) {
			read := cb.Read
			cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) {
				n, err := read(fd, p, tmo)
				if errors.Is(err, unix.EAGAIN) {
					return 0, nil
				}
				return n, err
			}
		})},
		{"Read says end of stream after some bytes", "Contents", ofTCP(func(_ *mess, cb *tcp) {
			read, early := cb.Read, sometimes(100)
			cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) {
				if early() {
					return 0, nil
				}
				return read(fd, p, tmo)
			}
		})},
		{"Read counts more than the buffer", "ReadCount", ofTCP(func(_ *mess, cb *tcp) {
			read := cb.Read
			cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) {
				n, err := read(fd, p, tmo)
				if n > 0 {
					n = len(p) + 1
				}
				return n, err
			}
		})},
		{"Read counts below zero", "ReadCount", ofTCP(func(_ *mess, cb *tcp) {
			cb.Read = func(fd int, p []byte, _ time.Duration) (int, error) {
				n, err := unix.Read(fd, p)
				if err == nil {
					return -1, nil
				}
				return max(n, 0), err
			}
		})},
		{"Read counts bytes that it has not read", "ReadCount", ofTCP(func(_ *mess, cb *tcp) {
			read := cb.Read
			cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) {
				n, err := read(fd, p, tmo)
				if n > 1 {
					n = len(p)
				}
				return n, err
			}
		})},
		{"Read writes beyond the buffer", "ReadCount", ofTCP(func(_ *mess, cb *tcp) {
			read := cb.Read
			cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) {
				n, err := read(fd, p, tmo)
				if n > 0 && cap(p) > len(p) {
					p[:cap(p)][len(p)] = 0
				}
				return n, err
			}
		})},
		{"Write counts twice what it has written", "WriteCount", ofTCP(func(_ *mess, cb *tcp) {
			write := cb.Write
			cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) {
				n, err := write(fd, p[:(len(p)+1)/2], tmo)
				return min(2*n, len(p)), err
			}
		})},
		{"Write counts more than the buffer", "WriteCount", ofTCP(func(_ *mess, cb *tcp) {
			write := cb.Write
			cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) {
				n, err := write(fd, p, tmo)
				if n > 0 {
					n = len(p) + 1
				}
				return n, err
			}
		})},
		{"Write counts less than it has written", "WriteCount", ofTCP(func(_ *mess, cb *tcp) {
			write := cb.Write
			cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) {
				n, err := write(fd, p, tmo)
				if n > 100 {
					n -= 3
				}
				return n, err
			}
		})},
		{"Write writes nothing and says so", "WriteCount", ofTCP(func(_ *mess, cb *tcp) {
			write := cb.Write
			cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) {
				if len(p) > 1 {
					return 0, nil
				}
				return write(fd, p, tmo)
			}
		})},
		{"Read panics", "NoPanic", ofTCP(func(_ *mess, cb *tcp) {
			cb.Read = func(int, []byte, time.Duration) (int, error) { panic("a mutant") }
		})},
		{"bytes go nowhere", "Exchange", ofTCP(func(_ *mess, cb *tcp) {
			write := cb.Write
			cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) {
				if len(p) == 1 && p[0] == 's' { // the greeting
					return 1, nil
				}
				return write(fd, p, tmo)
			}
		})},

		{"Accept gives no peer", "PeerAddress", ofTCP(func(_ *mess, cb *tcp) {
			accept := cb.Accept
			cb.Accept = func(fd int, tmo time.Duration) (int, transport.Addr, error) {
				nfd, _, err := accept(fd, tmo)
				return nfd, nil, err
			}
		})},
		{"Accept gives its own address as the peer's", "PeerAddress", ofTCP(func(_ *mess, cb *tcp) {
			accept := cb.Accept
			cb.Accept = func(fd int, tmo time.Duration) (int, transport.Addr, error) {
				nfd, a, err := accept(fd, tmo)
				if err == nil {
					a, err = cb.LocalAddr(nfd)
				}
				return nfd, a, err
			}
		})},
		{"LocalAddr is the peer's", "LocalAddress", ofTCP(func(_ *mess, cb *tcp) {
			cb.LocalAddr = func(fd int) (transport.Addr, error) {
				sa, err := unix.Getpeername(fd)
				if err != nil {
					return nil, err
				}
				return transport.FromSockaddr(sa), nil
			}
		})},
		{"Connect does not know named addresses", "NamedAddress", ofTCP(func(_ *mess, cb *tcp) {
			connect := cb.Connect
			cb.Connect = func(fd int, a transport.Addr, tmo time.Duration) error {
				if _, ok := a.(interface{ PeerName() string }); ok {
					return unix.EAFNOSUPPORT
				}
				return connect(fd, a, tmo)
			}
		})},
		{"any address will do", "OddAddress", ofTCP(func(_ *mess, cb *tcp) {
			socket, listen := cb.Socket, cb.Listen
			cb.Socket = func(setup any, a transport.Addr) (int, error) {
				if _, err := transport.AddrPort(a); err != nil {
					a = loopback()
				}
				return socket(setup, a)
			}
			cb.Listen = func(fd int, a transport.Addr, backlog int) (transport.Addr, error) {
				if _, err := transport.AddrPort(a); err != nil {
					a = loopback()
				}
				return listen(fd, a, backlog)
			}
		})},
		{"Connect succeeds where nobody listens", "RefusedConnect", ofPolling(func(_ *mess, cb *poll) {
			connect := cb.Connect
			cb.Connect = func(s *pollSocket, a transport.Addr, tmo time.Duration) error {
				if err := connect(s, a, tmo); !errors.Is(err, unix.ECONNREFUSED) {
					return err
				}
				return nil
			}
		})},

		{"Read changes a byte", "Contents", ofTCP(func(_ *mess, cb *tcp) {
			read := cb.Read
			var total atomic.Int64
			cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) {
				n, err := read(fd, p, tmo)
				if n > 0 && total.Add(int64(n)) > 250_000 {
					p[n-1] ^= 4
				}
				return n, err
			}
		})},
		{"Write loses a byte now and then", "Contents", ofTCP(func(_ *mess, cb *tcp) {
			write, lose := cb.Write, sometimes(60)
			cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) {
				if len(p) > 1 && lose() {
					n, err := write(fd, p[1:], tmo)
					return n + 1, err
				}
				return write(fd, p, tmo)
			}
		})},
		{"Write repeats a byte now and then", "Contents", ofTCP(func(_ *mess, cb *tcp) {
			write, again := cb.Write, sometimes(60)
			cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) {
				if len(p) > 1 && again() {
					_, _ = write(fd, p[:1], tmo)
				}
				return write(fd, p, tmo)
			}
		})},
		{"Writev changes the order", "Writev", ofTCP(func(_ *mess, cb *tcp) {
			writev := cb.Writev
			cb.Writev = func(fd int, v [][]byte, tmo time.Duration) (int64, error) {
				v = append([][]byte{v[1], v[0]}, v[2:]...)
				return writev(fd, v, tmo)
			}
		})},
		{"Writev writes one buffer and counts them all", "Writev", ofTCP(func(_ *mess, cb *tcp) {
			cb.Writev = func(fd int, v [][]byte, tmo time.Duration) (int64, error) {
				if _, err := cb.Write(fd, v[0], tmo); err != nil {
					return 0, err
				}
				var n int64
				for _, b := range v {
					n += int64(len(b))
				}
				return n, nil
			}
		})},
		{"Writev fails on long vectors", "Writev", ofTCP(func(_ *mess, cb *tcp) {
			cb.Writev = func(fd int, v [][]byte, _ time.Duration) (int64, error) {
				n, err := unix.Writev(fd, v)
				return int64(max(n, 0)), err
			}
		})},

		{"Read reports a time-out as the end of the stream", "ReadDeadline", ofPolling(func(_ *mess, cb *poll) {
			read := cb.Read
			cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				n, err := read(s, p, tmo)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					return 0, nil
				}
				return n, err
			}
		})},
		{"Read reports a time-out as another error", "ReadDeadline", ofPolling(func(_ *mess, cb *poll) {
			read := cb.Read
			cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				n, err := read(s, p, tmo)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					return 0, unix.EIO
				}
				return n, err
			}
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
					time.Sleep(time.Millisecond) // bytes come, and are taken
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
		{"Read does not heed Interrupt", "Returns", ofPolling(func(_ *mess, cb *poll) {
			cb.Interrupt = func(*pollSocket) {}
		})},
		{"Interrupt does not come back", "Returns", ofPolling(func(m *mess, cb *poll) {
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

		{"Write starts again when it was partial", "PartialWrites", ofTCP(func(_ *mess, cb *tcp) {
			write, writev := cb.Write, cb.Writev
			cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) {
				n, err := write(fd, p[:min(len(p), 64<<10)], tmo)
				if n > 0 && n < len(p) {
					return 0, unix.EAGAIN
				}
				return n, err
			}
			cb.Writev = func(fd int, v [][]byte, tmo time.Duration) (int64, error) {
				n, err := writev(fd, v, tmo)
				if n > 0 && n < 1<<20 && len(v) < 1024 {
					return n - 1, err
				}
				return n, err
			}
		})},
		{"the two directions share a buffer", "BigTransfers", ofTCP(func(_ *mess, cb *tcp) {
			shareBuffer(cb, func(int) int { return 0 })
		})},
		{"Pending counts below zero", "PendingBytes", ofTCP(func(_ *mess, cb *tcp) {
			cb.Pending = func(int) (int, error) { return -1, nil }
		})},
		{"Pending fails", "PendingBytes", ofTCP(func(_ *mess, cb *tcp) {
			cb.Pending = func(int) (int, error) { return 0, unix.EIO }
		})},
		{"Read and Write share a lock", "ReaderBesideWriter", ofPolling(func(_ *mess, cb *poll) {
			var locks sync.Map
			lock := func(s *pollSocket) *sync.Mutex {
				l, _ := locks.LoadOrStore(s, new(sync.Mutex))
				return l.(*sync.Mutex)
			}
			read, write := cb.Read, cb.Write
			cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				l := lock(s)
				l.Lock()
				defer l.Unlock()
				return read(s, p, tmo)
			}
			cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				l := lock(s)
				l.Lock()
				defer l.Unlock()
				return write(s, p, tmo)
			}
		})},
		{"connections share a buffer", "Separate", ofTCP(func(_ *mess, cb *tcp) {
			shareBuffer(cb, func(fd int) int { // one for all accepted ends, one for all connecting ones
				a, err := cb.LocalAddr(fd)
				if err != nil {
					return 0
				}
				if ap, err := transport.AddrPort(a); err == nil {
					if sa, err := unix.Getpeername(fd); err == nil {
						if bp, err := transport.AddrPort(transport.FromSockaddr(sa)); err == nil && ap.Port() > bp.Port() {
							return 1
						}
					}
				}
				return 0
			})
		})},
		{"Close ends another connection", "Separate", ofTCP(func(m *mess, cb *tcp) {
			closing := cb.Close
			cb.Close = func(fd int) error {
				m.others(fd, func(o int) {
					if _, err := unix.Getpeername(o); err == nil {
						_ = unix.Shutdown(o, unix.SHUT_RDWR)
					}
				})
				return closing(fd)
			}
		})},

		{"Read never says end of stream", "EndOfStream", ofTCP(func(_ *mess, cb *tcp) {
			read := cb.Read
			cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) {
				n, err := read(fd, p, tmo)
				if n == 0 && err == nil {
					return 0, unix.EAGAIN
				}
				return n, err
			}
		})},
		{"Read says reset at the end of the stream", "EndOfStream", ofTCP(func(_ *mess, cb *tcp) {
			read := cb.Read
			cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) {
				n, err := read(fd, p, tmo)
				if n == 0 && err == nil {
					return 0, unix.ECONNRESET
				}
				return n, err
			}
		})},
		{"Close throws away what was written", "EndOfStream", ofTCP(func(_ *mess, cb *tcp) {
			closing := cb.Close
			cb.Close = func(fd int) error {
				_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
				return closing(fd)
			}
		})},
		{"a waiting Read does not see the end", "EndReachesReader", ofPolling(func(_ *mess, cb *poll) {
			read := cb.Read
			var waited sync.Map
			cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				begin := time.Now()
				n, err := read(s, p, tmo)
				if n == 0 && err == nil && time.Since(begin) > moment/2 {
					waited.Store(s, true)
				}
				if _, ok := waited.Load(s); ok && n == 0 && err == nil {
					time.Sleep(time.Millisecond)
					return 0, os.ErrDeadlineExceeded
				}
				return n, err
			}
		})},
		{"Write to nobody succeeds", "WritesToNobody", ofTCP(func(_ *mess, cb *tcp) {
			write := cb.Write
			cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) {
				n, err := write(fd, p, tmo)
				if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
					return len(p), nil
				}
				return n, err
			}
		})},
		{"a waiting Write does not see the end", "CutOff", ofTCP(func(_ *mess, cb *tcp) {
			writev := cb.Writev
			cb.Writev = func(fd int, v [][]byte, tmo time.Duration) (int64, error) {
				n, err := writev(fd, v, tmo)
				if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
					err = unix.EAGAIN
				}
				return n, err
			}
			write := cb.Write
			cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) {
				n, err := write(fd, p, tmo)
				if len(p) == 1<<20 && (errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)) {
					err = unix.EAGAIN
				}
				return n, err
			}
		})},
		{"CloseWrite ends both directions", "CloseWrite", ofTCP(func(_ *mess, cb *tcp) {
			cb.CloseWrite = func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) }
		})},
		{"CloseWrite does nothing", "CloseWrite", ofTCP(func(_ *mess, cb *tcp) {
			cb.CloseWrite = func(int) error { return nil }
		})},
		{"Close closes twice", "Close", ofTCP(func(_ *mess, cb *tcp) {
			closing := cb.Close
			cb.Close = func(fd int) error {
				if err := closing(fd); err != nil {
					return err
				}
				return unix.Close(-1) // what a second one says, as long as nobody else has got the number
			}
		})},
		{"the listener takes its connections with it", "Close", ofTCP(func(m *mess, cb *tcp) {
			closing := cb.Close
			cb.Close = func(fd int) error {
				if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && on != 0 {
					m.others(fd, func(o int) { _ = unix.Shutdown(o, unix.SHUT_RDWR) })
				}
				return closing(fd)
			}
		})},
		{"Close waits in vain for a Read", "CloseEndsRead", ofPolling(func(_ *mess, cb *poll) {
			free := cb.Close
			var interrupted sync.Map
			interrupt := cb.Interrupt
			cb.Interrupt = func(s *pollSocket) { interrupted.Store(s, true); interrupt(s) }
			cb.Close = func(s *pollSocket) error {
				err := free(s)
				if _, ok := interrupted.Load(s); ok {
					return unix.EBUSY
				}
				return err
			}
		})},

		{"a hook panics", "NoPanic", ofTCP(func(_ *mess, cb *tcp) {
			cb.AcceptHandshakeComplete = func(int) error { panic("a mutant") }
		})},
		{"a hook fails", "Hooks", ofTCP(func(_ *mess, cb *tcp) {
			cb.ConnectHandshakeComplete = func(int) error { return unix.EPERM }
		})},
		{"a hook breaks the connection", "Hooks", ofTCP(func(_ *mess, cb *tcp) {
			cb.AcceptHandshakeComplete = func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) }
		})},
		{"Import fails", "Moves", ofTCP(func(_ *mess, cb *tcp) {
			cb.Import = func(any, int, []byte) (int, error) { return -1, unix.EPERM }
		})},
		{"Import takes another descriptor", "Moves", ofTCP(func(m *mess, cb *tcp) {
			cb.Import = func(_ any, fd int, _ []byte) (int, error) {
				unix.Close(fd)
				return m.opened(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
			}
		})},
		{"Import sends a byte", "Moves", ofTCP(func(_ *mess, cb *tcp) {
			imported := cb.Import
			cb.Import = func(setup any, fd int, state []byte) (int, error) {
				if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && on == 0 {
					_, _ = unix.Write(fd, []byte{0})
				}
				return imported(setup, fd, state)
			}
		})},
		{"Import takes no listeners", "MovesListener", ofTCP(func(_ *mess, cb *tcp) {
			imported := cb.Import
			cb.Import = func(setup any, fd int, state []byte) (int, error) {
				if _, err := unix.Getpeername(fd); err != nil {
					return -1, err
				}
				return imported(setup, fd, state)
			}
		})},
		{"Release ends the connection", "Release", ofTCP(func(_ *mess, cb *tcp) {
			release := cb.Release
			cb.Release = func(fd int) error {
				_ = unix.Shutdown(fd, unix.SHUT_WR)
				return release(fd)
			}
		})},

		{"Socket blocks for ever", "BoundAddress", ofTCP(func(m *mess, cb *tcp) {
			cb.Socket = func(any, transport.Addr) (int, error) { <-m.release; return -1, unix.EIO }
		})},
		{"Listen blocks for ever", "BoundAddress", ofTCP(func(m *mess, cb *tcp) {
			cb.Listen = func(int, transport.Addr, int) (transport.Addr, error) { <-m.release; return nil, unix.EIO }
		})},
		{"Accept blocks for ever", "BoundAddress", ofTCP(func(m *mess, cb *tcp) {
			cb.Accept = func(int, time.Duration) (int, transport.Addr, error) { <-m.release; return -1, nil, unix.EIO }
		})},
		{"Connect blocks for ever", "BoundAddress", ofTCP(func(m *mess, cb *tcp) {
			cb.Connect = func(int, transport.Addr, time.Duration) error { <-m.release; return unix.EIO }
		})},
		{"Read blocks for ever", "ReadCount", ofTCP(func(m *mess, cb *tcp) {
			cb.Read = func(int, []byte, time.Duration) (int, error) { <-m.release; return 0, unix.EIO }
		})},
		{"Write blocks for ever", "WriteCount", ofTCP(func(m *mess, cb *tcp) {
			cb.Write = func(int, []byte, time.Duration) (int, error) { <-m.release; return 0, unix.EIO }
		})},
		{"Close blocks for ever", "Close", ofTCP(func(m *mess, cb *tcp) {
			cb.Close = func(int) error { <-m.release; return unix.EIO }
		})},
		{"GetFD blocks for ever", "BoundAddress", ofTCP(func(m *mess, cb *tcp) {
			cb.GetFD = func(int) (int, error) { <-m.release; return -1, unix.EIO }
		})},
		{"HandshakePacketHeaderSize blocks for ever", "HeaderSize", ofTCP(func(m *mess, cb *tcp) {
			cb.HandshakePacketHeaderSize = func(int) (int, error) { <-m.release; return 0, unix.EIO }
		})},
		{"CheckPeer blocks for ever", "Hooks", ofTCP(func(m *mess, cb *tcp) {
			cb.CheckPeer = func(int, string) error { <-m.release; return unix.EIO }
		})},
		{"LocalAddr blocks for ever", "BoundAddress", ofTCP(func(m *mess, cb *tcp) {
			cb.LocalAddr = func(int) (transport.Addr, error) { <-m.release; return nil, unix.EIO }
		})},
		{"CloseWrite blocks for ever", "CloseWrite", ofTCP(func(m *mess, cb *tcp) {
			cb.CloseWrite = func(int) error { <-m.release; return unix.EIO }
		})},
		{"Pending blocks for ever", "PendingBytes", ofTCP(func(m *mess, cb *tcp) {
			cb.Pending = func(int) (int, error) { <-m.release; return 0, unix.EIO }
		})},
		{"Import blocks for ever", "Moves", ofTCP(func(m *mess, cb *tcp) {
			cb.Import = func(any, int, []byte) (int, error) { <-m.release; return -1, unix.EIO }
		})},

		{"Close keeps the descriptor", "LeakedDescriptors", ofTCP(func(_ *mess, cb *tcp) {
			cb.Close = func(fd int) error {
				if err := unix.Shutdown(fd, unix.SHUT_RDWR); !errors.Is(err, unix.ENOTCONN) {
					return err
				}
				return nil
			}
		})},
		{"Release keeps the descriptor", "LeakedDescriptors", ofTCP(func(_ *mess, cb *tcp) {
			cb.Release = func(int) error { return nil }
		})},
		{"Release keeps what is beside the descriptor", "LeakedDescriptors", ofPolling(func(m *mess, cb *poll) {
			cb.Release = func(s *pollSocket) error { // not its pipes
				m.closingSocket(s)
				for _, l := range []*lane{&s.in, &s.out} {
					_, _ = m.opened(l.pipe[0], nil)
					_, _ = m.opened(l.pipe[1], nil)
				}
				return unix.Close(s.fd)
			}
		})},
		{"every socket leaves a pipe open", "LeakedDescriptors", ofTCP(func(m *mess, cb *tcp) {
			socket := cb.Socket
			cb.Socket = func(setup any, a transport.Addr) (int, error) {
				var p [2]int
				if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
					return -1, err
				}
				_, _ = m.opened(p[0], nil)
				_, _ = m.opened(p[1], nil)
				return socket(setup, a)
			}
		})},
		{"every accepted socket leaves a goroutine", "LeakedGoroutines", ofTCP(func(m *mess, cb *tcp) {
			accept := cb.Accept
			cb.Accept = func(fd int, tmo time.Duration) (int, transport.Addr, error) {
				nfd, a, err := accept(fd, tmo)
				if err == nil {
					go func() { <-m.release }()
				}
				return nfd, a, err
			}
		})},
	}
}

// shareBuffer reads more than it was asked for and keeps the rest for the next reader of the same group, whoever that is.
func shareBuffer(cb *tcp, group func(fd int) int) {
	read := cb.Read
	var mu sync.Mutex
	left := map[int][]byte{}
	cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		g := group(fd)
		if len(left[g]) > 0 {
			n := copy(p, left[g])
			left[g] = left[g][n:]
			return n, nil
		}
		b := make([]byte, 32<<10)
		n, err := read(fd, b, tmo)
		if n <= 0 {
			return n, err
		}
		k := copy(p, b[:n])
		left[g] = b[k:n]
		return k, err
	}
}

// check tries the mutant. With the race detector, for which all rules of all mutants would be too much, only the mutant's own rule is
// tried, and what it rests on.
func (m mutant) check(t *testing.T, l limits) error {
	left := newMess()
	t.Cleanup(left.cleanUp)
	defer close(left.release)
	s := newSuite(always(m.make(left), loopback()), l)
	watched := slices.ContainsFunc(s.rules, func(r rule) bool { return r.name == m.rule && r.try == nil })
	if raceEnabled && !watched {
		s.rules = slices.DeleteFunc(s.rules, func(r rule) bool { return !r.basic && r.name != m.rule })
	}
	return s.check()
}

// TestMutants shows that every mutant is caught, and its rule named. To wait long for what will not happen would only cost time, so
// the suite is less patient here than usual; a mutant that gets by on that account is tried again.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("mutants take a while")
	}
	all := mutants()
	errs := make([]error, len(all))
	took := make([]time.Duration, len(all))
	var wg sync.WaitGroup
	turn := make(chan struct{}, 16) // most of their time they wait
	for i := range all {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			begin := time.Now()
			errs[i] = all[i].check(t, limits{patience: 3 * time.Second, watchdog: 30 * time.Second, tries: 1, starved: 3})
			took[i] = time.Since(begin)
		})
	}
	wg.Wait()
	for i, m := range all {
		t.Run(m.name, func(t *testing.T) {
			err := errs[i]
			if !slices.Contains(brokenRules(err), m.rule) {
				t.Logf("once more, more patiently, after %v", err)
				err = m.check(t, generous())
			}
			require.Error(t, err, "not caught")
			broken := brokenRules(err)
			t.Logf("%v: %s", took[i].Round(time.Millisecond), strings.Join(broken, ", "))
			require.Contains(t, broken, m.rule, "%v", err)
			require.Contains(t, err.Error(), "rule "+m.rule+" is broken")
		})
	}
}

// brokenRules are the names of the rules in an error of Check.
func brokenRules(err error) (names []string) {
	seen := map[string]bool{}
	add := func(err error) {
		var e *RuleError
		if errors.As(err, &e) && !seen[e.Rule] {
			seen[e.Rule] = true
			names = append(names, e.Rule)
		}
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			add(e)
		}
		return names
	}
	add(err)
	return names
}

// TestEveryRuleHasAMutant keeps the list of mutants complete.
func TestEveryRuleHasAMutant(t *testing.T) {
	of := map[string]bool{}
	for _, m := range mutants() {
		of[m.rule] = true
	}
	// What the SDK sees to alone: a plug-in cannot break it and keep the other rules.
	sdk := map[string]string{
		"Busy":            "the SDK counts the operations",
		"EndedContext":    "the SDK does not call the plug-in at all",
		"CloseEndsWrite":  "a Write that is not ended is seen as one that does not return: rule Returns",
		"CloseEndsAccept": "an Accept that is not ended is seen as one that does not return: rule Returns",
	}
	names := map[string]bool{}
	for _, r := range rules() {
		names[r.name] = true
		require.False(t, of[r.name] && sdk[r.name] != "", r.name)
		require.True(t, of[r.name] || sdk[r.name] != "", "no mutant breaks %s", r.name)
		require.True(t, strings.HasSuffix(r.sentence, "."), r.name)
	}
	for name := range of {
		require.True(t, names[name], "there is no rule %s", name)
	}
	require.Equal(t, len(names), len(rules()), "two rules of one name")
	require.GreaterOrEqual(t, len(mutants()), 24)
}
