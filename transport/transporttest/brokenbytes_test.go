//go:build linux

package transporttest

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// byteMutants break the counts and contents of reads and writes.
func byteMutants() []mutant {
	return []mutant{
		{"Read says end of stream when it would have to wait", "WaitsForBytes", ofTCP(func(_ *mess, cb *tcp) {
			readGives(cb, unix.EAGAIN, nil)
		})},
		{"Read says end of stream after some bytes", "Contents", ofTCP(onRead(func(o *tcpCall) {
			if o.m.sometimes(100) {
				o.gives(0)
			}
			o.do()
		}))},
		{"small Reads use up the window", "Contents", ofTCP(func(_ *mess, cb *tcp) {
			var used sync.Map
			read := cb.Read
			cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) {
				v, _ := used.LoadOrStore(fd, new(atomic.Int64))
				small := v.(*atomic.Int64)
				if small.Load() > 64<<10 {
					return 0, unix.EAGAIN
				}
				n, err := read(fd, p, tmo)
				if n > 0 && n <= 100 {
					small.Add(int64(n))
				}
				return n, err
			}
			closes := cb.Close
			cb.Close = func(fd int) error { used.Delete(fd); return closes(fd) }
		})},
		{"Read counts more than the buffer", "ReadCount", ofTCP(onRead(func(o *tcpCall) {
			o.do()
			if o.n > 0 {
				o.n = len(o.p) + 1
			}
		}))},
		{"Read counts below zero", "ReadCount", ofTCP(func(_ *mess, cb *tcp) {
			cb.Read = func(fd int, p []byte, _ time.Duration) (int, error) {
				n, err := unix.Read(fd, p)
				if err == nil {
					return -1, nil
				}
				return max(n, 0), err
			}
		})},
		{"Read counts bytes that it has not read", "ReadCount", ofTCP(onRead(func(o *tcpCall) {
			o.do()
			if o.n > 1 {
				o.n = len(o.p)
			}
		}))},
		{"Read writes beyond the buffer", "ReadCount", ofTCP(onRead(func(o *tcpCall) {
			o.do()
			if o.n > 0 && cap(o.p) > len(o.p) {
				o.p[:cap(o.p)][len(o.p)] = 0
			}
		}))},
		{"Write counts twice what it has written", "WriteCount", ofTCP(onWrite(func(o *tcpCall) {
			all := len(o.p)
			o.p = o.p[:(all+1)/2]
			o.do()
			o.n = min(2*o.n, all)
		}))},
		{"Write counts more than the buffer", "WriteCount", ofTCP(onWrite(func(o *tcpCall) {
			o.do()
			if o.n > 0 {
				o.n = len(o.p) + 1
			}
		}))},
		{"Write counts less than it has written", "WriteCount", ofTCP(onWrite(func(o *tcpCall) {
			o.do()
			if o.n > 100 {
				o.n -= 3
			}
		}))},
		{"Writev uses up the vector", "WriteCount", ofTCP(func(_ *mess, cb *tcp) {
			writev := cb.Writev
			cb.Writev = func(fd int, v [][]byte, tmo time.Duration) (int64, error) {
				n, err := writev(fd, v, tmo)
				if n >= int64(len(v[0])) {
					v[0] = nil // as net.Buffers.WriteTo does
				}
				return n, err
			}
		})},
		{"Write encrypts in place", "WriteCount", ofTCP(func(_ *mess, cb *tcp) {
			read, write := cb.Read, cb.Write
			encrypt := func(p []byte) { // and decrypts
				for i := range p {
					p[i] ^= 0x55
				}
			}
			cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) {
				n, err := read(fd, p, tmo)
				encrypt(p[:n])
				return n, err
			}
			cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) {
				encrypt(p)
				n, err := write(fd, p, tmo)
				encrypt(p[n:]) // the rest, which will be written again
				return n, err
			}
			cb.Writev = nil
		})},
		{"Writev wipes what it has written", "WriteCount", ofTCP(func(_ *mess, cb *tcp) {
			writev := cb.Writev
			cb.Writev = func(fd int, v [][]byte, tmo time.Duration) (int64, error) {
				n, err := writev(fd, v, tmo)
				if n >= int64(len(v[0])) {
					clear(v[0])
				}
				return n, err
			}
		})},
		{"Write writes nothing and says so", "WriteCount", ofTCP(onWrite(func(o *tcpCall) {
			if len(o.p) > 1 {
				o.gives(0)
			}
			o.do()
		}))},
		{"Read panics", "NoPanic Exchange", ofTCP(func(_ *mess, cb *tcp) {
			cb.Read = func(int, []byte, time.Duration) (int, error) { panic("a mutant") }
		})},
		{"bytes go nowhere", "Exchange", ofTCP(onWrite(func(o *tcpCall) {
			if len(o.p) == 1 && o.p[0] == 's' { // the greeting
				o.gives(1)
			}
			o.do()
		}))},

		{"Accept gives no peer", "PeerAddress", ofTCP(onAccept(func(o *tcpCall) {
			o.do()
			o.addr = nil
		}))},
		{"Accept gives its own address as the peer's", "PeerAddress", ofTCP(onAccept(func(o *tcpCall) {
			o.do()
			if o.err == nil {
				o.addr, o.err = transport.TCPCallbacks().LocalAddr(o.accepted)
			}
		}))},
		{"Accept gives the same address for every peer", "PeerAddress", ofTCP(onAccept(func(o *tcpCall) {
			o.do()
			o.addr = transport.UnixAddr("")
		}))},
		{"LocalAddr is the peer's", "LocalAddress", ofTCP(func(_ *mess, cb *tcp) {
			cb.LocalAddr = func(fd int) (transport.Addr, error) {
				sa, err := unix.Getpeername(fd)
				if err != nil {
					return nil, err
				}
				return transport.FromSockaddr(sa), nil
			}
		})},
		{"Connect does not know named addresses", "NamedAddress", ofTCP(onConnect(func(o *tcpCall) {
			if _, ok := o.addr.(interface{ PeerName() string }); ok {
				o.fails(unix.EAFNOSUPPORT)
			}
			o.do()
		}))},
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
		{"Connect succeeds where nobody listens", "RefusedConnect", ofPolling(onConnect(func(o *pollCall) {
			o.do()
			o.turns(unix.ECONNREFUSED, nil)
		}))},

		{"Read changes a byte", "Contents", ofTCP(onRead(func(o *tcpCall) {
			o.do()
			if o.n > 0 && o.m.calls.Add(int64(o.n)) > 250_000 {
				o.p[o.n-1] ^= 4
			}
		}))},
		{"Write loses a byte now and then", "Contents", ofTCP(onWrite(func(o *tcpCall) {
			lost := 0
			if len(o.p) > 1 && o.m.sometimes(60) {
				lost = 1
			}
			o.p = o.p[lost:]
			o.do()
			o.n += lost
		}))},
		{"Write repeats a byte now and then", "Contents", ofTCP(onWrite(func(o *tcpCall) {
			if all := o.p; len(all) > 1 && o.m.sometimes(60) {
				o.p = all[:1]
				o.do()
				o.p = all
			}
			o.do()
		}))},
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
			writev := cb.Writev
			cb.Writev = func(fd int, v [][]byte, tmo time.Duration) (int64, error) {
				if len(v) > 500 {
					return 0, unix.EINVAL
				}
				return writev(fd, v, tmo)
			}
		})},

		{"a partial Writev takes a byte more than it counts", "PartialWrites", ofTCP(func(_ *mess, cb *tcp) {
			writev := cb.Writev
			cb.Writev = func(fd int, v [][]byte, tmo time.Duration) (int64, error) {
				var all int64
				for _, p := range v {
					all += int64(len(p))
				}
				n, err := writev(fd, v, tmo)
				if n > 0 && n < all && len(v) < 1024 {
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
		{"Pending counts what is not there", "PendingBytes", ofTCP(func(_ *mess, cb *tcp) {
			cb.Pending = func(int) (int, error) { return 1 << 30, nil }
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
			// one group of all accepted ends, one of all connecting ends
			shareBuffer(cb, func(fd int) int {
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
	}
}

// shareBuffer makes Read read more than was asked for, and keep the rest for the next Read of any
// connection in the same group.
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
