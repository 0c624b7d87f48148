//go:build unix

package transporttest

import (
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A meter is an outsider's socket context around TCP's: it counts what passes.
type meter struct {
	fd      int
	in, out atomic.Int64
}

// metered is an outsider's plug-in: it wraps the TCP callbacks with a context of its own.
func metered() transport.Callbacks[*meter] {
	tcp := transport.TCPCallbacks()
	return transport.Callbacks[*meter]{
		Socket: func(setup any, addr transport.Addr) (*meter, error) {
			fd, err := tcp.Socket(setup, addr)
			return &meter{fd: fd}, err
		},
		Close: func(m *meter) error { return tcp.Close(m.fd) },
		Listen: func(m *meter, addr transport.Addr, backlog int) (transport.Addr, error) {
			return tcp.Listen(m.fd, addr, backlog)
		},
		Accept: func(m *meter, tmo time.Duration) (*meter, transport.Addr, error) {
			fd, peer, err := tcp.Accept(m.fd, tmo)
			return &meter{fd: fd}, peer, err
		},
		Connect: func(m *meter, addr transport.Addr, tmo time.Duration) error { return tcp.Connect(m.fd, addr, tmo) },
		Read: func(m *meter, p []byte, tmo time.Duration) (int, error) {
			n, err := tcp.Read(m.fd, p, tmo)
			m.in.Add(int64(n))
			return n, err
		},
		Write: func(m *meter, p []byte, tmo time.Duration) (int, error) {
			n, err := tcp.Write(m.fd, p, tmo)
			m.out.Add(int64(n))
			return n, err
		},
		HandshakePacketHeaderSize: func(m *meter) (int, error) { return tcp.HandshakePacketHeaderSize(m.fd) },
		GetFD:                     func(m *meter) (int, error) { return tcp.GetFD(m.fd) },
		CloseWrite:                func(m *meter) error { return tcp.CloseWrite(m.fd) },
		LocalAddr:                 func(m *meter) (transport.Addr, error) { return tcp.LocalAddr(m.fd) },
		Import: func(setup any, fd int, state []byte) (*meter, error) {
			fd, err := tcp.Import(setup, fd, state)
			return &meter{fd: fd}, err
		},
		Release: func(m *meter) error { return tcp.Release(m.fd) },
	}
}
