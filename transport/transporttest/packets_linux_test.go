package transporttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/packets"
	"github.com/cnode-go/cnode/transport"
)

// TestPackets runs the suite over carriers that keep packets.
func TestPackets(t *testing.T) {
	for _, g := range []good{
		{"over memory", func(testing.TB) Factory {
			return always(packets.Over(transport.NewMemory(), 0), transport.MemoryAddr(""))
		}},
		{"over TCP", func(testing.TB) Factory { return always(packets.Over(transport.TCP(), 0), loopback()) }},
		{"over TCP, bytes after the handshake", func(testing.TB) Factory {
			return always(packets.Over(transport.TCP(), 4), loopback())
		}},
		{"SEQPACKET", func(t testing.TB) Factory {
			var n atomic.Int64
			return func() (transport.Transport, transport.Addr, error) {
				a, err := transport.ParseAddr(fmt.Sprintf("unix:@transporttest-packets-%d-%d-%d", os.Getpid(), time.Now().UnixNano(), n.Add(1)))
				return must(t, seqpacket()), a, err
			}
		}},
	} {
		if testing.Short() && slices.Contains(alike, g.name) {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			Run(t, g.factory(t))
		})
	}
}

// A brokenPacket is a carrier of packets with one rule broken; says is what the report must say.
type brokenPacket struct {
	name, rule, says string
	breakIt          func(cb *transport.Callbacks[*packets.Socket])
}

func brokenPackets() []brokenPacket {
	type calls = transport.Callbacks[*packets.Socket]
	endless := func(cb *calls) {
		read := cb.Read
		cb.Read = func(c *packets.Socket, p []byte, tmo time.Duration) (int, error) {
			n, err := read(c, p, tmo)
			if err == transport.ErrEndOfPacket {
				err = nil
			}
			return n, err
		}
	}
	return []brokenPacket{
		{"says no end of a packet", "BoundAddress", "Read returns ErrEndOfPacket with the last bytes", endless},
		{"ends packets early", "Packets", "it came as", func(cb *calls) {
			read := cb.Read
			cb.Read = func(c *packets.Socket, p []byte, tmo time.Duration) (int, error) {
				n, err := read(c, p, tmo)
				if n == len(p) && n > 300 {
					err = transport.ErrEndOfPacket
				}
				return n, err
			}
		}},
		{"drops empty packets", "Packets", "it came as", func(cb *calls) {
			write := cb.Write
			cb.Write = func(c *packets.Socket, p []byte, tmo time.Duration) (int, error) {
				if len(p) == 0 {
					return 0, nil
				}
				return write(c, p, tmo)
			}
		}},
		{"takes a part of a packet", "WriteCount", "goes out whole or not at all", func(cb *calls) {
			write := cb.Write
			cb.Write = func(c *packets.Socket, p []byte, tmo time.Duration) (int, error) {
				n, err := write(c, p[:min(len(p), 60_000)], tmo)
				if n == 60_000 {
					time.Sleep(10 * time.Millisecond) // the other side has read it before this is known to fail
				}
				return n, err
			}
		}},
		{"joins packets", "BoundAddress", "bytes of the next one", func(cb *calls) {
			write := cb.Write
			var status []byte
			cb.Write = func(c *packets.Socket, p []byte, tmo time.Duration) (int, error) {
				if string(p) == "sok" {
					status = append(status, p...)
					return len(p), nil
				}
				all := append(status, p...)
				status = nil
				n, err := write(c, all, tmo)
				return n - len(all) + len(p), err
			}
		}},
		{"says that frames have a size of 2", "HeaderSize", "2 is neither 0 nor 4", func(cb *calls) {
			cb.FrameHeaderSize = func(*packets.Socket) (int, error) { return 2, nil }
		}},
		{"keeps packets only after the handshake", "HeaderSize", "0, and HandshakePacketHeaderSize is not", func(cb *calls) {
			endless(cb)
			cb.HandshakePacketHeaderSize = func(*packets.Socket) (int, error) { return 4, nil }
		}},
		{"says that a packet ends where none are kept", "ReadCount", "ErrEndOfPacket where no packets are kept", func(cb *calls) {
			cb.HandshakePacketHeaderSize = func(*packets.Socket) (int, error) { return 4, nil }
			cb.FrameHeaderSize = nil
		}},
		{"throws away what is not sent when it closes", "CloseKeepsWritten", "go on sending in the background", func(cb *calls) {
			cb.Close = (*packets.Socket).Abort
		}},
	}
}

func TestBrokenPackets(t *testing.T) {
	for _, tt := range brokenPackets() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cb := packets.Callbacks(transport.NewMemory(), 0)
			tt.breakIt(&cb)
			l := generous()
			l.patience, l.tries = 3*time.Second, 1
			s := newSuite(always(must(t, cb), transport.MemoryAddr("")), l)
			tried := strings.Fields("BoundAddress HeaderSize Packets ReadCount WriteCount CloseKeepsWritten Hooks")
			s.rules = slices.DeleteFunc(s.rules, func(r rule) bool { return !slices.Contains(tried, r.name) })
			err := s.check()
			var broken *RuleError
			require.ErrorAs(t, err, &broken)
			require.Equal(t, tt.rule, broken.Rule, "%v", err)
			require.ErrorContains(t, broken, tt.says)
		})
	}
}

// A seq is a SEQPACKET socket. Before each packet is a byte, for a packet of none is the end of the
// stream there.
type seq struct {
	fd   int
	rest []byte // of a packet that was longer than a Read's buffer
	more bool   // there is such a rest, which may be empty
}

// seqpacket is a plug-in of UNIX sockets that keep packets, for which the SDK waits.
func seqpacket() transport.Callbacks[*seq] {
	name := func(at unix.Sockaddr, err error) (transport.Addr, error) {
		u, ok := at.(*unix.SockaddrUnix)
		if err != nil || !ok {
			return nil, errors.Join(err, unix.EAFNOSUPPORT)
		}
		return transport.FromUnixPath(strings.TrimSuffix(u.Name, "@")) // "@": unnamed
	}
	at := func(a transport.Addr, use func(unix.Sockaddr) error) error {
		u, ok := a.(interface{ Path() string })
		if w, wraps := a.(interface{ Unwrap() transport.Addr }); wraps {
			u, ok = w.Unwrap().(interface{ Path() string })
		}
		if !ok {
			return unix.EAFNOSUPPORT
		}
		return use(&unix.SockaddrUnix{Name: u.Path()})
	}
	return transport.Callbacks[*seq]{
		Socket: func(any, transport.Addr) (*seq, error) {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
			return &seq{fd: fd}, err
		},
		Close: func(s *seq) error { return unix.Close(s.fd) },
		Listen: func(s *seq, a transport.Addr, n int) (transport.Addr, error) {
			err := at(a, func(to unix.Sockaddr) error { return errors.Join(unix.Bind(s.fd, to), unix.Listen(s.fd, n)) })
			return a, err
		},
		Accept: func(s *seq, _ time.Duration) (*seq, transport.Addr, error) {
			fd, peer, err := unix.Accept4(s.fd, unix.SOCK_CLOEXEC)
			if err != nil {
				return nil, nil, err
			}
			a, err := name(peer, nil)
			return &seq{fd: fd}, a, err
		},
		Connect: func(s *seq, a transport.Addr, _ time.Duration) error {
			return at(a, func(to unix.Sockaddr) error { return unix.Connect(s.fd, to) })
		},
		Read: func(s *seq, p []byte, _ time.Duration) (int, error) {
			if !s.more {
				b := make([]byte, 256<<10)
				n, err := unix.Read(s.fd, b)
				if n <= 0 || err != nil {
					return n, err
				}
				s.rest, s.more = b[1:n], true
			}
			n := copy(p, s.rest)
			if s.rest = s.rest[n:]; len(s.rest) > 0 {
				return n, nil
			}
			s.more = false
			return n, transport.ErrEndOfPacket
		},
		Write: func(s *seq, p []byte, _ time.Duration) (int, error) {
			if err := unix.Sendmsg(s.fd, append([]byte{0}, p...), nil, nil, unix.MSG_NOSIGNAL); err != nil {
				return 0, err
			}
			return len(p), nil
		},
		HandshakePacketHeaderSize: func(*seq) (int, error) { return 0, nil },
		FrameHeaderSize:           func(*seq) (int, error) { return 0, nil },
		GetFD:                     func(s *seq) (int, error) { return s.fd, nil },
		CloseWrite:                func(s *seq) error { return unix.Shutdown(s.fd, unix.SHUT_WR) },
		LocalAddr:                 func(s *seq) (transport.Addr, error) { return name(unix.Getsockname(s.fd)) },
		Export: func(s *seq) ([]byte, error) {
			return json.Marshal(struct {
				Rest []byte
				More bool
			}{s.rest, s.more})
		},
		Import: func(_ any, fd int, state []byte) (*seq, error) {
			var of struct {
				Rest []byte
				More bool
			}
			if state != nil {
				if err := json.Unmarshal(state, &of); err != nil {
					return nil, err
				}
			}
			kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
			if err == nil && kind != unix.SOCK_SEQPACKET {
				err = unix.EPROTOTYPE
			}
			return &seq{fd, of.Rest, of.More}, err
		},
	}
}
