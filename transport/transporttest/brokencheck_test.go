//go:build linux

package transporttest

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// checkMutants break a rule where no other mutant does: by another of the rule's checks, or at
// another callback.
func checkMutants() []mutant {
	return []mutant{
		{"GetFD sets blocking mode", "Descriptor", ofTCP(func(_ *mess, cb *tcp) {
			// as os.File.Fd once did
			cb.GetFD = func(fd int) (int, error) { return fd, unix.SetNonblock(fd, false) }
		})},
		{"Connect sets blocking mode", "Mode", ofTCP(onConnect(func(o *tcpCall) {
			o.do()
			o.err = errors.Join(o.err, unix.SetNonblock(o.c, false))
		}))},
		{"Accept sets the listener's blocking mode", "Mode", ofTCP(onAccept(func(o *tcpCall) {
			o.do()
			if o.err == nil {
				o.err = unix.SetNonblock(o.c, false)
			}
		}))},
		{"a hook sets blocking mode", "Mode", ofTCP(func(_ *mess, cb *tcp) {
			cb.AcceptHandshakeComplete = func(fd int) error { return unix.SetNonblock(fd, false) }
		})},
		{"Export sets blocking mode", "Mode", ofTCP(func(_ *mess, cb *tcp) {
			cb.Export = func(fd int) ([]byte, error) { return nil, unix.SetNonblock(fd, false) }
		})},
		{"with FullImpl, Import leaves non-blocking mode", "Mode", ofPolling(func(_ *mess, cb *poll) {
			imported := cb.Import
			cb.Import = func(setup any, fd int, state []byte) (*pollSocket, error) {
				s, err := imported(setup, fd, state)
				if err == nil {
					err = unix.SetNonblock(fd, true)
				}
				return s, err
			}
		})},
		{"with FullImpl, HandshakePacketHeaderSize leaves non-blocking mode", "Mode", ofPolling(func(_ *mess, cb *poll) {
			cb.HandshakePacketHeaderSize = func(s *pollSocket) (int, error) { return 4, unix.SetNonblock(s.fd, true) }
		})},
		{"with FullImpl, CheckPeer leaves non-blocking mode", "Mode", ofPolling(func(_ *mess, cb *poll) {
			cb.CheckPeer = func(s *pollSocket, _ string) error { return unix.SetNonblock(s.fd, true) }
		})},
		{"with FullImpl, Pending leaves non-blocking mode", "Mode", ofPolling(func(_ *mess, cb *poll) {
			cb.Pending = func(s *pollSocket) (int, error) { return 0, unix.SetNonblock(s.fd, true) }
		})},
		{"CloseWrite sets blocking mode", "Mode", ofTCP(func(_ *mess, cb *tcp) {
			closeWrite := cb.CloseWrite
			cb.CloseWrite = func(fd int) error { return errors.Join(unix.SetNonblock(fd, false), closeWrite(fd)) }
		})},
		{"an Accept that Close ends leaves a goroutine", "Leaks", ofPolling(onAccept(func(o *pollCall) {
			o.do()
			if errors.Is(o.err, os.ErrDeadlineExceeded) {
				o.m.leavesGoroutine()
			}
		}))},
		{"a Read that times out leaves a goroutine", "Leaks", ofPolling(func(m *mess, cb *poll) {
			cb.Import = nil // whose rule makes a Read time out, too
			read := cb.Read
			cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				n, err := read(s, p, tmo)
				if errors.Is(err, os.ErrDeadlineExceeded) && tmo < time.Minute {
					m.leavesGoroutine()
				}
				return n, err
			}
		})},
		{"a listener that moves leaves a goroutine", "Leaks", ofPolling(func(m *mess, cb *poll) {
			imported := cb.Import
			cb.Import = func(setup any, fd int, state []byte) (*pollSocket, error) {
				if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && on != 0 {
					m.leavesGoroutine()
				}
				return imported(setup, fd, state)
			}
		})},
		{"a refused Import leaves a descriptor", "Leaks", ofPolling(func(m *mess, cb *poll) {
			imported := cb.Import
			cb.Import = func(setup any, fd int, state []byte) (*pollSocket, error) {
				s, err := imported(setup, fd, state)
				if err != nil {
					_, _ = m.opened(unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3))
				}
				return s, err
			}
		})},
		{"Export gives its own memory", "Moves", ofPolling(func(_ *mess, cb *poll) {
			type own struct{ state []byte }
			of := ofEach[own]()
			read := cb.Read
			cb.Export = func(s *pollSocket) ([]byte, error) {
				if of(s).state == nil {
					of(s).state = []byte("poll")
				}
				return of(s).state, nil
			}
			cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				if state := of(s).state; state != nil && string(state) != "poll" {
					return 0, unix.EBADMSG
				}
				return read(s, p, tmo)
			}
		})},
		{"Import and no descriptor", "Moves", ofPolling(func(_ *mess, cb *poll) {
			cb.GetFD = func(*pollSocket) (int, error) { return -1, errors.ErrUnsupported }
		})},
		{"Write keeps the buffer", "WriteCount", ofPolling(func(_ *mess, cb *poll) {
			type tail struct {
				sync.Mutex
				kept []byte
			}
			of := ofEach[tail]()
			write, closing := cb.Write, cb.Close
			flush := func(s *pollSocket) (err error) {
				for n := 0; len(of(s).kept) > 0 && err == nil; of(s).kept = of(s).kept[n:] {
					n, err = write(s, of(s).kept, time.Second)
				}
				return err
			}
			cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				of(s).Lock()
				defer of(s).Unlock()
				if err := flush(s); err != nil || len(p) > 1000 {
					return write(s, p, tmo)
				}
				of(s).kept = p
				time.AfterFunc(moment, func() {
					of(s).Lock()
					defer of(s).Unlock()
					_ = flush(s)
				})
				return len(p), nil
			}
			cb.Close = func(s *pollSocket) error {
				of(s).Lock()
				defer of(s).Unlock()
				return errors.Join(flush(s), closing(s))
			}
		})},
		{"a Read that has timed out puts bytes into its buffer", "ReadDeadline", ofPolling(func(_ *mess, cb *poll) {
			type late struct{ p []byte }
			of := ofEach[late]()
			read := cb.Read
			cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				n, err := read(s, p, tmo)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					of(s).p = p
				} else {
					copy(of(s).p, p[:n])
				}
				return n, err
			}
		})},
		{"Write that times out counts all", "WriteDeadline", ofPolling(onWrite(func(o *pollCall) {
			o.do()
			if errors.Is(o.err, os.ErrDeadlineExceeded) && o.tmo > 0 {
				o.n = len(o.p)
			}
		}))},
		{"LocalAddr of a connecting stream is where it connects to", "LocalAddress", ofPolling(func(_ *mess, cb *poll) {
			type where struct{ to transport.Addr }
			of := ofEach[where]()
			connect, local := cb.Connect, cb.LocalAddr
			cb.Connect = func(s *pollSocket, a transport.Addr, tmo time.Duration) error {
				of(s).to = a
				return connect(s, a, tmo)
			}
			cb.LocalAddr = func(s *pollSocket) (transport.Addr, error) {
				if a := of(s).to; a != nil {
					return a, nil
				}
				return local(s)
			}
		})},
		{"a Read into more than a megabyte fails", "Contents", ofPolling(onRead(func(o *pollCall) {
			if len(o.p) > 1<<20 {
				o.fails(unix.EINVAL)
			}
			o.do()
		}))},
		{"a Write of more than a megabyte fails", "Contents", ofPolling(onWrite(func(o *pollCall) {
			if len(o.p) > 1<<20 {
				o.fails(unix.EMSGSIZE)
			}
			o.do()
		}))},
		{"a Read at an imported stream knows no time-out", "Moves", ofPolling(func(_ *mess, cb *poll) {
			read := cb.Read
			of := movedTo(cb)
			cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				n, err := read(s, p, tmo)
				if of(s).Load() && errors.Is(err, os.ErrDeadlineExceeded) {
					err = unix.EIO
				}
				return n, err
			}
		})},
		{"an imported stream ignores Interrupt", "Returns Moves", ofPolling(func(_ *mess, cb *poll) {
			interrupt := cb.Interrupt
			of := movedTo(cb)
			cb.Interrupt = func(s *pollSocket) {
				if !of(s).Load() {
					interrupt(s)
				}
			}
		})},
		{"a refused Connect is a time-out", "RefusedConnect", ofPolling(onConnect(func(o *pollCall) {
			o.do()
			o.turns(unix.ECONNREFUSED, os.ErrDeadlineExceeded)
		}))},
		{"Pending takes a byte", "PendingBytes", ofPolling(func(_ *mess, cb *poll) {
			cb.Pending = func(s *pollSocket) (int, error) {
				n, _, _ := unix.Recvfrom(s.fd, make([]byte, 1), unix.MSG_DONTWAIT)
				return max(n, 0), nil
			}
		})},
		{"GetFD has no descriptor of accepted sockets", "Descriptor", ofPolling(func(_ *mess, cb *poll) {
			type origin struct{ accepted atomic.Bool }
			of := ofEach[origin]()
			accept, get := cb.Accept, cb.GetFD
			cb.Accept = func(s *pollSocket, tmo time.Duration) (*pollSocket, transport.Addr, error) {
				n, a, err := accept(s, tmo)
				if err == nil {
					of(n).accepted.Store(true)
				}
				return n, a, err
			}
			cb.GetFD = func(s *pollSocket) (int, error) {
				if of(s).accepted.Load() {
					return -1, errors.ErrUnsupported
				}
				return get(s)
			}
		})},
		{"Connect reaches addresses of any kind", "OddAddress", ofPolling(func(_ *mess, cb *poll) {
			socket, connect := cb.Socket, cb.Connect
			cb.Socket = func(setup any, a transport.Addr) (*pollSocket, error) {
				if _, err := transport.AddrPort(a); err != nil {
					a = loopback()
				}
				return socket(setup, a)
			}
			cb.Connect = func(s *pollSocket, a transport.Addr, tmo time.Duration) error {
				if _, err := transport.AddrPort(a); err != nil {
					return nil
				}
				return connect(s, a, tmo)
			}
		})},
		{"Accept that times out gives a socket", "AcceptDeadline", ofPolling(func(_ *mess, cb *poll) {
			accept, socket := cb.Accept, cb.Socket
			cb.Accept = func(s *pollSocket, tmo time.Duration) (*pollSocket, transport.Addr, error) {
				n, a, err := accept(s, tmo)
				if errors.Is(err, os.ErrDeadlineExceeded) && tmo <= short {
					n, err = socket(nil, loopback())
				}
				return n, a, err
			}
		})},
		{"Accept with time 0 fails when somebody has connected", "AcceptNoWait", ofPolling(onAccept(func(o *pollCall) {
			if err := o.c.in.wait(o.c.fd, unix.POLLIN, 0); o.tmo == 0 && err == nil {
				o.fails(unix.EINVAL)
			}
			o.do()
		}))},
		{"Connect with time 0 is in progress", "ConnectNoWait", ofPolling(onConnect(func(o *pollCall) {
			o.do()
			if o.tmo == 0 && errors.Is(o.err, os.ErrDeadlineExceeded) {
				o.err = unix.EINPROGRESS
			}
		}))},
		{"Read with time 0 fails when bytes have come", "ReadNoWait", ofPolling(onRead(func(o *pollCall) {
			if err := o.c.in.wait(o.c.fd, unix.POLLIN, 0); o.tmo == 0 && err == nil {
				o.fails(unix.EINVAL)
			}
			o.do()
		}))},
		{"a month is too long for Accept", "LongWaits", ofPolling(onAccept(func(o *pollCall) {
			if o.tmo != transport.Infinite && o.tmo.Milliseconds() > 1<<31-1 {
				o.fails(unix.EINVAL)
			}
			o.do()
		}))},
		{"a Write ends the Read that waits", "ReaderBesideWriter", ofPolling(func(_ *mess, cb *poll) {
			type count struct{ writes atomic.Int64 }
			of := ofEach[count]()
			read, write := cb.Read, cb.Write
			cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				of(s).writes.Add(1)
				return write(s, p, tmo)
			}
			cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				before := of(s).writes.Load()
				n, err := read(s, p, tmo)
				if of(s).writes.Load()-before > 3 {
					return 0, unix.EIO
				}
				return n, err
			}
		})},
		{"the end of the stream comes once", "EndOfStream", ofPolling(func(_ *mess, cb *poll) {
			type end struct{ seen bool }
			of := ofEach[end]()
			read := cb.Read
			cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				n, err := read(s, p, tmo)
				if n == 0 && err == nil {
					if of(s).seen {
						return 0, unix.ENOTCONN
					}
					of(s).seen = true
				}
				return n, err
			}
		})},
		{"Write succeeds after CloseWrite", "CloseWrite", ofPolling(func(_ *mess, cb *poll) {
			type end struct{ sent atomic.Bool }
			of := ofEach[end]()
			write, closeWrite := cb.Write, cb.CloseWrite
			cb.CloseWrite = func(s *pollSocket) error { of(s).sent.Store(true); return closeWrite(s) }
			cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				if of(s).sent.Load() {
					return len(p), nil
				}
				return write(s, p, tmo)
			}
		})},
	}
}

// movedTo returns a function that tells whether a socket was imported.
func movedTo(cb *poll) func(*pollSocket) *atomic.Bool {
	imported := cb.Import
	of := ofEach[atomic.Bool]()
	cb.Import = func(setup any, fd int, state []byte) (*pollSocket, error) {
		s, err := imported(setup, fd, state)
		if err == nil {
			of(s).Store(true)
		}
		return s, err
	}
	return of
}
