//go:build linux

package transporttest

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// endMutants break the end of a connection or the hooks, do not return, or leak.
func endMutants() []mutant {
	return []mutant{
		{"Read never says end of stream", "EndOfStream", ofTCP(func(_ *mess, cb *tcp) { readGives(cb, nil, unix.EAGAIN) })},
		{"Read says reset at the end of the stream", "EndOfStream", ofTCP(func(_ *mess, cb *tcp) {
			readGives(cb, nil, unix.ECONNRESET)
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
		{"Read says end of stream of a reset", "Reset", ofTCP(func(_ *mess, cb *tcp) {
			readGives(cb, unix.ECONNRESET, nil)
		})},
		{"a waiting Read says end of stream of a reset", "Reset", ofTCP(func(_ *mess, cb *tcp) {
			read := cb.Read
			var waits sync.Map
			cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) {
				n, err := read(fd, p, tmo)
				if errors.Is(err, unix.EAGAIN) {
					waits.Store(fd, true)
				} else if _, waited := waits.LoadAndDelete(fd); waited && errors.Is(err, unix.ECONNRESET) {
					return 0, nil
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
				if len(p) > 4<<10 && (errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)) {
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
		{"CloseWrite waits for the Write in progress", "CloseWriteEndsWrite", ofPolling(func(_ *mess, cb *poll) {
			var writing sync.Mutex
			write, closeWrite := cb.Write, cb.CloseWrite
			cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				if len(p) > 4<<10 { // one that the peer may have to take
					writing.Lock()
					defer writing.Unlock()
				}
				return write(s, p, tmo)
			}
			cb.CloseWrite = func(s *pollSocket) error {
				writing.Lock()
				defer writing.Unlock()
				return closeWrite(s)
			}
		})},
		{"a Write that waits does not hear of CloseWrite", "CloseWriteEndsWrite", ofPolling(func(_ *mess, cb *poll) {
			write := cb.Write
			cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				n, err := write(s, p, tmo)
				if len(p) > 4<<10 && errors.Is(err, unix.EPIPE) {
					time.Sleep(min(tmo, time.Millisecond))
					return 0, os.ErrDeadlineExceeded
				}
				return n, err
			}
		})},
		{"a Write that CloseWrite ends counts a byte too many", "CloseWriteEndsWrite", ofPolling(func(_ *mess, cb *poll) {
			write := cb.Write
			cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				n, err := write(s, p, tmo)
				if errors.Is(err, unix.EPIPE) {
					return 1, err
				}
				return n, err
			}
		})},
		{"Close closes twice", "Close", ofTCP(func(_ *mess, cb *tcp) {
			closing := cb.Close
			cb.Close = func(fd int) error {
				if err := closing(fd); err != nil {
					return err
				}
				// the error of a second close(2), as long as the number is not reused
				return unix.Close(-1)
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

		{"a hook panics", "NoPanic Hooks", ofTCP(func(_ *mess, cb *tcp) {
			cb.AcceptHandshakeComplete = func(int) error { panic("a mutant") }
		})},
		{"a hook fails", "Hooks", ofTCP(func(_ *mess, cb *tcp) {
			cb.ConnectHandshakeComplete = func(int) error { return unix.EPERM }
		})},
		{"a hook shuts the receiving side", "Hooks", ofTCP(func(_ *mess, cb *tcp) {
			cb.ConnectHandshakeComplete = func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RD) }
		})},
		{"a hook breaks the connection", "Hooks", ofTCP(func(_ *mess, cb *tcp) {
			cb.AcceptHandshakeComplete = func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) }
		})},
		{"a hook breaks the connection, and CheckPeer refuses the suite's name", "Hooks", ofTCP(func(_ *mess, cb *tcp) {
			cb.CheckPeer = func(int, string) error { return unix.EACCES }
			cb.AcceptHandshakeComplete = func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) }
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

		{"Close keeps the descriptor", "Leaks", ofTCP(func(_ *mess, cb *tcp) {
			cb.Close = func(fd int) error {
				if err := unix.Shutdown(fd, unix.SHUT_RDWR); !errors.Is(err, unix.ENOTCONN) {
					return err
				}
				return nil
			}
		})},
		{"Release keeps the descriptor", "Leaks", ofTCP(func(_ *mess, cb *tcp) {
			cb.Release = func(int) error { return nil }
		})},
		{"Release keeps what is beside the descriptor", "Leaks", ofPolling(func(m *mess, cb *poll) {
			cb.Release = func(s *pollSocket) error { // leaves its pipes open
				m.closingSocket(s)
				for _, l := range []*lane{&s.in, &s.out} {
					_, _ = m.opened(l.pipe[0], nil)
					_, _ = m.opened(l.pipe[1], nil)
				}
				return unix.Close(s.fd)
			}
		})},
		{"every socket leaves a pipe open", "Leaks", ofTCP(func(m *mess, cb *tcp) {
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
		{"a refused Connect keeps the descriptor", "Leaks", ofPolling(func(m *mess, cb *poll) {
			connect := cb.Connect
			cb.Connect = func(s *pollSocket, a transport.Addr, tmo time.Duration) error {
				err := connect(s, a, tmo)
				if errors.Is(err, unix.ECONNREFUSED) {
					_, _ = m.opened(s.fd, nil)
					// as if for a second try
					s.fd, _ = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				}
				return err
			}
		})},
		{"a refused Connect leaves a goroutine", "Leaks", ofPolling(func(m *mess, cb *poll) {
			connect := cb.Connect
			cb.Connect = func(s *pollSocket, a transport.Addr, tmo time.Duration) error {
				err := connect(s, a, tmo)
				if errors.Is(err, unix.ECONNREFUSED) {
					go func() { <-m.release }()
				}
				return err
			}
		})},
		{"a Connect that times out leaves a goroutine", "Leaks", ofPolling(func(m *mess, cb *poll) {
			connect := cb.Connect
			cb.Connect = func(s *pollSocket, a transport.Addr, tmo time.Duration) error {
				err := connect(s, a, tmo)
				if errors.Is(err, os.ErrDeadlineExceeded) && tmo != transport.Infinite {
					go func() { <-m.release }()
				}
				return err
			}
		})},
		{"a cancelled Connect keeps a descriptor", "Leaks", ofPolling(func(m *mess, cb *poll) {
			connect := cb.Connect
			cb.Connect = func(s *pollSocket, a transport.Addr, tmo time.Duration) error {
				err := connect(s, a, tmo)
				if errors.Is(err, os.ErrDeadlineExceeded) && tmo == transport.Infinite {
					_, _ = m.opened(unix.Dup(s.fd))
				}
				return err
			}
		})},
		{"a stream closed under a Read leaves a goroutine", "Leaks", ofPolling(func(m *mess, cb *poll) {
			var ended sync.Map
			interrupt, closing := cb.Interrupt, cb.Close
			cb.Interrupt = func(s *pollSocket) { ended.Store(s, true); interrupt(s) }
			cb.Close = func(s *pollSocket) error {
				if _, ok := ended.LoadAndDelete(s); ok {
					go func() { <-m.release }()
				}
				return closing(s)
			}
		})},
		{"a stream closed with bytes unread leaves a goroutine", "Leaks", ofPolling(func(m *mess, cb *poll) {
			closing := cb.Close
			cb.Close = func(s *pollSocket) error {
				if n, _, err := unix.Recvfrom(s.fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT); err == nil && n > 0 {
					go func() { <-m.release }()
				}
				return closing(s)
			}
		})},
		{"an accepted stream that moves leaves a goroutine", "Leaks", ofPolling(func(m *mess, cb *poll) {
			var accepted sync.Map
			accept, release := cb.Accept, cb.Release
			cb.Accept = func(s *pollSocket, tmo time.Duration) (*pollSocket, transport.Addr, error) {
				n, a, err := accept(s, tmo)
				accepted.Store(n, true)
				return n, a, err
			}
			cb.Release = func(s *pollSocket) error {
				if _, ok := accepted.LoadAndDelete(s); ok {
					go func() { <-m.release }()
				}
				return release(s)
			}
		})},
		{"a hook leaves a goroutine", "Leaks", ofTCP(func(m *mess, cb *tcp) {
			cb.ConnectHandshakeComplete = func(int) error {
				go func() { <-m.release }()
				return nil
			}
		})},
		{"a hook leaves a goroutine, and CheckPeer refuses the suite's name", "Leaks", ofTCP(func(m *mess, cb *tcp) {
			cb.CheckPeer = func(int, string) error { return unix.EACCES }
			cb.ConnectHandshakeComplete = func(int) error {
				go func() { <-m.release }()
				return nil
			}
		})},
		{"a hook of the accepting end leaves a descriptor", "Leaks", ofTCP(func(m *mess, cb *tcp) {
			cb.AcceptHandshakeComplete = func(fd int) error {
				_, err := m.opened(unix.Dup(fd))
				return err
			}
		})},
		{"CloseWrite leaves a descriptor", "Leaks", ofTCP(func(m *mess, cb *tcp) {
			closeWrite := cb.CloseWrite
			cb.CloseWrite = func(fd int) error {
				dup, err := m.opened(unix.Dup(fd))
				if err != nil {
					return err
				}
				return closeWrite(dup)
			}
		})},
		{"every accepted socket leaves a goroutine", "Leaks", ofTCP(func(m *mess, cb *tcp) {
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
