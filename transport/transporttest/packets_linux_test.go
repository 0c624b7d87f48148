package transporttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/test/packets"
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
		t.Run(g.name, func(t *testing.T) { Run(t, g.factory(t)) })
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
			return n, transport.EndOfPacket
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
