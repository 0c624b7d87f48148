//go:build linux

package transporttest

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
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
		{"Write to nobody succeeds", "WritesToNobody", ofTCP(onWrite(func(o *tcpCall) {
			o.do()
			if errors.Is(o.err, unix.EPIPE) || errors.Is(o.err, unix.ECONNRESET) {
				o.n, o.err = len(o.p), nil
			}
		}))},
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
		{"a Write that waits does not hear of CloseWrite", "CloseWriteEndsWrite", ofPolling(onWrite(func(o *pollCall) {
			o.do()
			if len(o.p) > 4<<10 && errors.Is(o.err, unix.EPIPE) {
				time.Sleep(min(o.tmo, time.Millisecond))
				o.n, o.err = 0, os.ErrDeadlineExceeded
			}
		}))},
		{"a Write that CloseWrite ends counts a byte too many", "CloseWriteEndsWrite", ofPolling(onWrite(func(o *pollCall) {
			o.do()
			if errors.Is(o.err, unix.EPIPE) {
				o.n = 1
			}
		}))},
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

		{"Socket blocks for ever", "BoundAddress", ofTCP(hangs("Socket"))},
		{"Listen blocks for ever", "BoundAddress", ofTCP(hangs("Listen"))},
		{"Accept blocks for ever", "BoundAddress", ofTCP(hangs("Accept"))},
		{"Connect blocks for ever", "BoundAddress", ofTCP(hangs("Connect"))},
		{"Read blocks for ever", "ReadCount", ofTCP(hangs("Read"))},
		{"Write blocks for ever", "WriteCount", ofTCP(hangs("Write"))},
		{"Close blocks for ever", "Close", ofTCP(hangs("Close"))},
		{"GetFD blocks for ever", "BoundAddress", ofTCP(hangs("GetFD"))},
		{"HandshakePacketHeaderSize blocks for ever", "HeaderSize", ofTCP(hangs("HandshakePacketHeaderSize"))},
		{"CheckPeer blocks for ever", "Hooks", ofTCP(hangs("CheckPeer"))},
		{"LocalAddr blocks for ever", "BoundAddress", ofTCP(hangs("LocalAddr"))},
		{"CloseWrite blocks for ever", "CloseWrite", ofTCP(hangs("CloseWrite"))},
		{"Pending blocks for ever", "PendingBytes", ofTCP(hangs("Pending"))},
		{"Import blocks for ever", "Moves", ofTCP(hangs("Import"))},

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
				m.socks.closing(s)
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
		{"a refused Connect keeps the descriptor", "Leaks", ofPolling(onConnect(func(o *pollCall) {
			o.do()
			if errors.Is(o.err, unix.ECONNREFUSED) {
				_, _ = o.m.opened(o.c.fd, nil)
				// as if for a second try
				o.c.fd, _ = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			}
		}))},
		{"a refused Connect leaves a goroutine", "Leaks", ofPolling(onConnect(func(o *pollCall) {
			o.do()
			if errors.Is(o.err, unix.ECONNREFUSED) {
				o.m.leavesGoroutine()
			}
		}))},
		{"a Connect that times out leaves a goroutine", "Leaks", ofPolling(onConnect(func(o *pollCall) {
			o.do()
			if errors.Is(o.err, os.ErrDeadlineExceeded) && o.tmo != transport.Infinite {
				o.m.leavesGoroutine()
			}
		}))},
		{"a cancelled Connect keeps a descriptor", "Leaks", ofPolling(onConnect(func(o *pollCall) {
			o.do()
			if errors.Is(o.err, os.ErrDeadlineExceeded) && o.tmo == transport.Infinite {
				_, _ = o.m.opened(unix.Dup(o.c.fd))
			}
		}))},
		{"a stream closed under a Read leaves a goroutine", "Leaks", ofPolling(func(m *mess, cb *poll) {
			var ended sync.Map
			interrupt, closing := cb.Interrupt, cb.Close
			cb.Interrupt = func(s *pollSocket) { ended.Store(s, true); interrupt(s) }
			cb.Close = func(s *pollSocket) error {
				if _, ok := ended.LoadAndDelete(s); ok {
					m.leavesGoroutine()
				}
				return closing(s)
			}
		})},
		{"a stream closed with bytes unread leaves a goroutine", "Leaks", ofPolling(func(m *mess, cb *poll) {
			closing := cb.Close
			cb.Close = func(s *pollSocket) error {
				if n, _, err := unix.Recvfrom(s.fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT); err == nil && n > 0 {
					m.leavesGoroutine()
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
					m.leavesGoroutine()
				}
				return release(s)
			}
		})},
		{"a hook leaves a goroutine", "Leaks", ofTCP(func(m *mess, cb *tcp) {
			cb.ConnectHandshakeComplete = func(int) error {
				m.leavesGoroutine()
				return nil
			}
		})},
		{"a hook leaves a goroutine, and CheckPeer refuses the suite's name", "Leaks", ofTCP(func(m *mess, cb *tcp) {
			cb.CheckPeer = func(int, string) error { return unix.EACCES }
			cb.ConnectHandshakeComplete = func(int) error {
				m.leavesGoroutine()
				return nil
			}
		})},
		{"a hook of the accepting end leaves a descriptor", "Leaks", ofTCP(func(m *mess, cb *tcp) {
			cb.AcceptHandshakeComplete = func(fd int) error {
				return expect.Err(m.opened(unix.Dup(fd)))
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
		{"every accepted socket leaves a goroutine", "Leaks", ofTCP(onAccept(func(o *tcpCall) {
			o.do()
			if o.err == nil {
				o.m.leavesGoroutine()
			}
		}))},
	}
}
