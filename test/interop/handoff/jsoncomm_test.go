package handoff

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/jsoncomm"
	"github.com/stretchr/testify/require"
)

const jsoncommPeer = "jsoncomm.py"

// A client in Python sends datagrams to our server, which answers each sender.
func TestDatagramsFromPython(t *testing.T) {
	ctx, path := soon(t), socketPath(t)
	server, err := jsoncomm.NewServer(path, nil)
	require.NoError(t, err)
	defer server.Close()
	client := python(t, jsoncommPeer, "datagram-client", path)
	answered := 0
	for ; ; answered++ {
		var document json.RawMessage
		fds, from, err := server.Receive(ctx, &document)
		require.NoError(t, err)
		if string(document) == `"stop"` {
			require.NoError(t, fds.Close())
			break
		}
		require.NoError(t, server.SendTo(ctx, from, document, fds.FDs()...))
		require.NoError(t, fds.Close())
	}
	require.Equal(t, 8, answered)
	client.ends()
}

// A client in Python sends packets and files in memory over a connection.
func TestPacketsFromPython(t *testing.T) {
	ctx, path := soon(t), socketPath(t)
	l, err := jsoncomm.Listen(path, nil)
	require.NoError(t, err)
	defer l.Close()
	client := python(t, jsoncommPeer, "packet-client", path)
	server, err := l.Accept(ctx)
	require.NoError(t, err)
	defer server.Close()
	answered := 0
	for ; ; answered++ {
		var document json.RawMessage
		fds, err := server.Receive(ctx, &document)
		require.NoError(t, err)
		if string(document) == `"stop"` {
			require.NoError(t, fds.Close())
			break
		}
		require.NoError(t, server.Send(ctx, document, fds.FDs()...))
		require.NoError(t, fds.Close())
	}
	require.Equal(t, 10, answered)
	client.ends()
	_, err = server.Receive(ctx, nil)
	require.Equal(t, io.EOF, err)
}

type document struct {
	N    int
	Text string
}

// files opens some, and returns their descriptors.
func files(t *testing.T, n int) (fds *handoff.FDSet) {
	t.Helper()
	fds = &handoff.FDSet{}
	t.Cleanup(func() { fds.Close() })
	send, receive, err := jsoncomm.Pair(nil)
	require.NoError(t, err)
	defer send.Close()
	defer receive.Close()
	for range n { // through a socket: a way to own numbers
		require.NoError(t, handoff.Lend(func(of []int) error { return send.Send(soon(t), nil, of...) }, temporary(t, "from Go")))
		came, err := receive.Receive(soon(t), nil)
		require.NoError(t, err)
		fd, err := came.Steal(0)
		require.NoError(t, err)
		_, err = fds.Add(fd)
		require.NoError(t, err)
		require.NoError(t, came.Close())
	}
	return fds
}

// check compares an answer with what was sent.
func check(t *testing.T, sent, got document, fds *handoff.FDSet, n int) {
	t.Helper()
	require.Equal(t, sent, got)
	require.Equal(t, n, fds.Len())
	for i := range n {
		f, err := fds.File(i, "answer")
		require.NoError(t, err)
		require.Equal(t, "from Go", text(t, f))
		require.NoError(t, f.Close())
	}
	require.NoError(t, fds.Close())
}

// Our client sends datagrams to a server in Python.
func TestDatagramsToPython(t *testing.T) {
	ctx, path := soon(t), socketPath(t)
	server := python(t, jsoncommPeer, "datagram-server", path)
	server.says("ready")
	client, err := jsoncomm.NewClient(transport.UnixAddr(path))
	require.NoError(t, err)
	defer client.Close()
	fds := files(t, 20)
	for i, size := range []int{0, 10, 4090, 5000, 60_000} {
		sent := document{i, "\u00e9<&" + strings.Repeat("x", size)}
		require.NoError(t, client.Send(ctx, sent, fds.FDs()[:4*i]...))
		var got document
		came, from, err := client.Receive(ctx, &got)
		require.NoError(t, err)
		require.Equal(t, transport.UnixAddr(path), from)
		check(t, sent, got, came, 4*i)
	}
	require.NoError(t, client.Send(ctx, "stop"))
	server.ends()
}

// Our client sends packets and files in memory to a server in Python.
func TestPacketsToPython(t *testing.T) {
	ctx, path := soon(t), socketPath(t)
	server := python(t, jsoncommPeer, "packet-server", path)
	server.says("ready")
	client, err := jsoncomm.Connect(ctx, path, nil)
	require.NoError(t, err)
	defer client.Close()
	cred, err := handoff.PeerCred(client)
	require.NoError(t, err)
	require.Equal(t, handoff.Cred{PID: server.cmd.Process.Pid, UID: os.Geteuid(), GID: os.Getegid()}, cred)
	fds := files(t, 20)
	for i, size := range []int{0, 5000, 60_000, 1 << 20} {
		sent := document{i, strings.Repeat("x", size)}
		require.NoError(t, client.Send(ctx, sent, fds.FDs()[:4*i]...))
		var got document
		came, err := client.Receive(ctx, &got)
		require.NoError(t, err)
		check(t, sent, got, came, 4*i)
	}
	require.NoError(t, client.Send(ctx, "stop"))
	server.ends()
}
