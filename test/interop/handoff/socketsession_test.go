package handoff

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
	"github.com/cnode-go/cnode/transport/tsocket"
	"github.com/stretchr/testify/require"
)

const socketsession = "socketsession.py"

// A front in Python forwards sessions to us, who answer on their sockets.
func TestSessionsFromPython(t *testing.T) {
	ctx, path := soon(t), socketPath(t)
	accept := listen(t, path)
	front := python(t, socketsession, "forward", path)
	r, err := bind10.NewReceiver(accept(), nil)
	require.NoError(t, err)
	defer r.Close()

	var s bind10.Session
	require.NoError(t, r.Receive(ctx, &s))
	require.Equal(t, "hello", string(s.Data))
	fd, err := s.Socket.Steal(0)
	require.NoError(t, err)
	stream, err := transport.AdoptStream(fd)
	require.NoError(t, err)
	rest := make([]byte, len(", worker"))
	_, err = stream.Readv(ctx, rest)
	require.NoError(t, err)
	_, err = stream.Writev(ctx, []byte("answer to "), s.Data, rest)
	require.NoError(t, err)
	require.NoError(t, stream.Close())

	for _, size := range []int{1, bind10.MaxData} {
		require.NoError(t, r.Receive(ctx, &s))
		require.Equal(t, strings.Repeat("q", size), string(s.Data))
		fd, err := s.Socket.Steal(0)
		require.NoError(t, err)
		d, err := tsocket.AdoptDatagram(fd)
		require.NoError(t, err)
		require.Equal(t, s.Local.String(), d.LocalAddr().String())
		_, err = d.SendTo(ctx, fmt.Append(nil, "answer to ", size), s.Remote)
		require.NoError(t, err)
		require.NoError(t, d.Close())
	}
	require.Equal(t, io.EOF, r.Receive(ctx, &s))
	front.ends()
}

// We forward sessions to a worker in Python, which answers on their sockets.
func TestSessionsToPython(t *testing.T) {
	ctx, path := soon(t), socketPath(t)
	worker := python(t, socketsession, "receive", path)
	worker.says("ready")
	f, err := bind10.NewForwarder(path)
	require.NoError(t, err)
	require.NoError(t, f.Connect(ctx))
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		require.NoError(t, err)
		defer l.Close()
		client, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer client.Close()
		accepted, err := l.Accept()
		require.NoError(t, err)
		require.NoError(t, f.PushConn(accepted.(*net.TCPConn), []byte("what was read")))
		require.NoError(t, accepted.Close())
		require.NoError(t, client.SetDeadline(time.Now().Add(time.Minute)))
		answer, err := io.ReadAll(client)
		require.NoError(t, err)
		require.Equal(t, "13:what was r", string(answer))

		service, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
		require.NoError(t, err)
		defer service.Close()
		asker, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
		require.NoError(t, err)
		defer asker.Close()
		require.NoError(t, handoff.Lend(func(fds []int) error {
			h, err := bind10.Describe(fds[0], transport.FromNetAddr(asker.LocalAddr()))
			require.NoError(t, err)
			return f.Push(fds[0], h, make([]byte, bind10.MaxData))
		}, service.(*net.UDPConn)))
		require.NoError(t, asker.SetDeadline(time.Now().Add(time.Minute)))
		b := make([]byte, 100)
		n, from, err := asker.ReadFrom(b)
		require.NoError(t, err)
		require.Equal(t, "65535:"+strings.Repeat("\x00", 10), string(b[:n]))
		require.Equal(t, service.LocalAddr().String(), from.String())
	}
	require.NoError(t, f.Close())
	worker.ends()
}
