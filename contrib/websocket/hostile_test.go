package cnodews_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/websocket"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// upgrade is a request for a WebSocket, without the line that ends it.
const upgrade = "GET /1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"

// ask sends a request, and returns what comes first.
func ask(t *testing.T, s *site, request string) (c net.Conn, answer string) {
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(expect.Limit)))
	_, err = io.WriteString(c, request)
	require.NoError(t, err)
	b := make([]byte, 4096)
	n, err := c.Read(b)
	require.NoError(t, err)
	return c, string(b[:n])
}

func listening(t *testing.T, ws *cnodews.Transport, at cnodews.URL, backlog int) *transport.Listener {
	l, err := ws.Listen(at, backlog)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// Nothing is left of connections that nobody has accepted, however much has come on them.
func TestNeverAccepted(t *testing.T) {
	ws, s := cnodews.New(nil), plain(t)
	at := s.put(ws)
	l := listening(t, ws, at, 1)
	ctx := expect.Context(t)
	c, _, err := websocket.Dial(ctx, string(at), nil)
	require.NoError(t, err)
	defer c.CloseNow()
	written := make(chan struct{})
	go func() {
		// Until there is no room, and then until the end.
		for c.Write(ctx, websocket.MessageBinary, make([]byte, 1<<20)) == nil {
		}
		close(written)
	}()
	waiting := func() int {
		b := make([]byte, 1<<20)
		return strings.Count(string(b[:runtime.Stack(b, true)]), "(*socket).put(")
	}
	require.Eventually(t, func() bool { return waiting() == 1 }, expect.Limit, time.Millisecond)
	require.NoError(t, l.Close())
	<-written
	require.Eventually(t, func() bool { return waiting() == 0 }, expect.Limit, time.Millisecond)

	listening(t, ws, at, 1) // the place is free
	again, _, err := websocket.Dial(ctx, string(at), nil)
	require.NoError(t, err)
	again.CloseNow()
}

// A closed connection ends within some seconds also where the other end goes on with a message that
// has no end.
func TestEndlessMessage(t *testing.T) {
	need.Long(t, 6*time.Second)
	ws, s := cnodews.New(nil), plain(t)
	l := listening(t, ws, s.put(ws), 1)
	c, answer := ask(t, s, upgrade+"\r\n")
	require.Contains(t, answer, "101 Switching Protocols")
	got, err := l.Accept(expect.Context(t))
	require.NoError(t, err)
	_, err = c.Write(append(binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, 1<<40), 0, 0, 0, 0))
	require.NoError(t, err)
	require.NoError(t, got.Close())
	began := time.Now()
	for piece := make([]byte, 100_000); err == nil; {
		_, err = c.Write(piece)
		piece = piece[:1]
		require.Less(t, time.Since(began), expect.Limit)
		time.Sleep(10 * time.Millisecond)
	}
}

// CheckPeer gets a request with a context that has not ended, and that ends with the connection.
func TestContextOfRequest(t *testing.T) {
	var asked *http.Request
	ws := cnodews.New(&cnodews.Options{CheckPeer: func(r *http.Request, _ string) error {
		asked = r
		return r.Context().Err()
	}})
	s := plain(t)
	at := s.put(ws)
	shop(t, ws)
	n := started(t, nodes.Config{
		Name: "till@branch", Cookie: "secret", Transport: cnodews.New(nil), Resolver: nodes.Static{"shop@web": {Addr: at}},
	})
	_, err := n.Connect(expect.Context(t), "shop@web")
	require.NoError(t, err)
	require.NoError(t, n.Close())
	expect.Returns(t, asked.Context().Done())
	require.NotNil(t, asked.Context().Value(http.ServerContextKey))
}

// Small frames pass in bytes, which come in messages of any size, to a node that takes small ones
// only; the case of the subprotocol does not matter.
func TestSmallMaxFrame(t *testing.T) {
	for name, o := range modes {
		t.Run(name, func(t *testing.T) {
			ws, s := cnodews.New(&cnodews.Options{MaxFrame: 20_000}), plain(t)
			at := s.put(ws)
			server := started(t, nodes.Config{
				Name: "shop@web", Cookie: "secret", Transport: ws, Resolver: nodes.Static{}, MaxFrame: 20_000,
			})
			client := started(t, nodes.Config{
				Name: "till@branch", Cookie: "secret", Transport: cnodews.New(o), Resolver: nodes.Static{"shop@web": {Addr: at}},
			})
			ctx := expect.Context(t)
			box, err := server.NewMailbox(nil)
			require.NoError(t, err)
			c, err := client.Connect(ctx, "shop@web")
			require.NoError(t, err)
			for range 500 {
				require.NoError(t, c.Send(ctx, box.Pid(), make(ei.Binary, 5000)))
			}
			for range 500 {
				_, err := box.Receive(ctx)
				require.NoError(t, err)
			}
		})
	}
	ws, s := cnodews.New(nil), plain(t)
	l := listening(t, ws, s.put(ws), 1)
	_, answer := ask(t, s, upgrade+"Sec-WebSocket-Protocol: CNODE-bytes\r\n\r\n")
	require.Contains(t, answer, "CNODE-bytes")
	got, err := l.Accept(expect.Context(t))
	require.NoError(t, err)
	require.False(t, got.KeepsPackets())
	size, err := got.HandshakePacketHeaderSize(expect.Context(t))
	require.NoError(t, err)
	require.Equal(t, 2, size)
	require.NoError(t, got.Close())
}

// A request that is refused ends the connection over which it came, and keeps no place of those
// that wait to be accepted.
func TestRefusedRequest(t *testing.T) {
	s := plain(t)
	closed := cnodews.New(&cnodews.Options{Authorize: cnodews.Bearer(nil)})
	open := cnodews.New(nil)
	l := listening(t, open, s.put(open), 1)
	s.put(closed)
	s.put(cnodews.New(nil))
	page := strings.Replace(upgrade, "Connection: Upgrade\r\n", "", 1)
	for name, tt := range map[string]struct{ request, status string }{
		"no token":       {strings.Replace(upgrade, "/1", "/2", 1), "401"},
		"no node":        {strings.Replace(upgrade, "/1", "/3", 1), "503"},
		"no upgrade":     {page, "426"},
		"another origin": {upgrade + "Origin: https://elsewhere.example\r\n", "403"},
		"a body":         {upgrade + "Content-Length: 5\r\n", "400"},
		"chunks":         {upgrade + "Transfer-Encoding: chunked\r\n", "400"},
		"both":           {strings.Replace(upgrade, "/1", "/2", 1) + "Content-Length: 5\r\n", "401"},
	} {
		t.Run(name, func(t *testing.T) {
			c, answer := ask(t, s, tt.request+"\r\n")
			require.Contains(t, answer, "HTTP/1.1 "+tt.status)
			require.Contains(t, answer, "close\r\n")
			_, err := io.Copy(io.Discard, c)
			require.NoError(t, err)
		})
	}
	_, answer := ask(t, s, upgrade+"\r\n")
	require.Contains(t, answer, "101 Switching Protocols")
	got, err := l.Accept(expect.Context(t))
	require.NoError(t, err)
	require.NoError(t, got.Close())
}

// A peer that sends pings, and does not read, is dead: the plug-in is not at fault.
func TestPingsWithoutReading(t *testing.T) {
	need.Long(t, 6*time.Second)
	ws, s := cnodews.New(nil), plain(t)
	l := listening(t, ws, s.put(ws), 1)
	c, answer := ask(t, s, upgrade+"Sec-WebSocket-Protocol: cnode-bytes\r\n\r\n")
	require.Contains(t, answer, "101 Switching Protocols")
	ctx := expect.Context(t)
	got, err := l.Accept(ctx)
	require.NoError(t, err)
	defer got.Close()
	go func() { // until there is no room, and then until the end
		for _, err := got.Writev(ctx, make([]byte, 1<<20)); err == nil; {
			_, err = got.Writev(ctx, make([]byte, 1<<20))
		}
	}()
	go func() {
		for err := error(nil); err == nil; time.Sleep(10 * time.Millisecond) {
			_, err = c.Write([]byte{0x89, 0x80, 0, 0, 0, 0})
		}
	}()
	for range 2 { // the first error ends its call only
		_, err = got.Read(ctx, make([]byte, 1))
		require.ErrorIs(t, err, syscall.ETIMEDOUT)
		require.NotErrorIs(t, err, transport.ErrContract)
	}
}
