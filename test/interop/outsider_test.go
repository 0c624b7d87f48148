//go:build unix

package interop

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
)

// A meter is what an outsider's plug-in counts, over all of its sockets.
type meter struct {
	open, handshakes    atomic.Int64
	in, out, connecting atomic.Int64
}

// A metered is the plug-in's own socket.
type metered struct {
	fd int
	m  *meter
}

// metering is a plug-in as an outsider writes it from the contract alone: TCP with a socket context
// of its own, which counts.
func metering(m *meter) transport.Callbacks[*metered] {
	tcp := transport.TCPCallbacks()
	opened := func(fd int, err error) (*metered, error) {
		if err != nil {
			return nil, err
		}
		m.open.Add(1)
		return &metered{fd, m}, nil
	}
	return transport.Callbacks[*metered]{
		Socket: func(setup any, a transport.Addr) (*metered, error) { return opened(tcp.Socket(setup, a)) },
		Close:  func(s *metered) error { m.open.Add(-1); return tcp.Close(s.fd) },
		Listen: func(s *metered, a transport.Addr, backlog int) (transport.Addr, error) {
			return tcp.Listen(s.fd, a, backlog)
		},
		Accept: func(s *metered, tmo time.Duration) (*metered, transport.Addr, error) {
			fd, from, err := tcp.Accept(s.fd, tmo)
			c, err := opened(fd, err)
			return c, from, err
		},
		Connect: func(s *metered, a transport.Addr, tmo time.Duration) error {
			m.connecting.Add(1)
			return tcp.Connect(s.fd, a, tmo)
		},
		Read: func(s *metered, p []byte, tmo time.Duration) (int, error) {
			n, err := tcp.Read(s.fd, p, tmo)
			m.in.Add(int64(max(n, 0)))
			return n, err
		},
		Write: func(s *metered, p []byte, tmo time.Duration) (int, error) {
			n, err := tcp.Write(s.fd, p, tmo)
			m.out.Add(int64(max(n, 0)))
			return n, err
		},
		HandshakePacketHeaderSize: func(s *metered) (int, error) { return tcp.HandshakePacketHeaderSize(s.fd) },
		ConnectHandshakeComplete:  func(*metered) error { m.handshakes.Add(1); return nil },
		AcceptHandshakeComplete:   func(*metered) error { m.handshakes.Add(1); return nil },
		GetFD:                     func(s *metered) (int, error) { return s.fd, nil },
	}
}

// An outsider's plug-in carries a conversation with a real Erlang node, whichever side connects.
func TestOutsider(t *testing.T) {
	needsTCP(t, "it has a carrier of its own")
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := start(t, r, otp.Options{EpmdPort: port})
		var count meter
		tr, err := transport.New(metering(&count), nil)
		require.NoError(t, err)
		cfg := config(port)
		cfg.Transport = tr
		m := &meeting{erl: erl, n: startNode(t, cfg)}
		m.is(t, [][2]string{{`net_adm:ping(N)`, `pong`}})
		require.EqualValues(t, 1, count.handshakes.Load())
		require.Zero(t, count.connecting.Load())

		b := m.mailbox(t, "B", nil)
		large := ei.Binary(make([]byte, 3_000_000))
		before := count.out.Load()
		echo := m.pid(t, "spawn(fun() -> receive {From, T} -> From ! T end end)")
		require.NoError(t, b.Send(background(t), echo, ei.Tuple{b.Pid(), large}))
		message, err := b.Receive(background(t))
		require.NoError(t, err)
		got, err := message.Term()
		require.NoError(t, err)
		require.True(t, ei.Identical(large, got))
		require.Greater(t, count.in.Load(), int64(len(large)))
		require.Greater(t, count.out.Load(), before+int64(len(large)))

		m.is(t, [][2]string{{`monitor_node(N, true), disconnect_node(N), receive {nodedown, N} -> nodes(hidden) end`, `[]`}})
		require.Eventually(t, func() bool { return m.n.Conn(erl.Name()) == nil }, limit, time.Millisecond)
		result, err := m.n.RPC(background(t), erl.Name(), "erlang", "abs", -1)
		require.NoError(t, err)
		require.Equal(t, ei.Int(1), result)
		require.EqualValues(t, 2, count.handshakes.Load())
		require.EqualValues(t, 1, count.connecting.Load())
		require.NoError(t, m.n.Close())
		require.Zero(t, count.open.Load())
	})
}
