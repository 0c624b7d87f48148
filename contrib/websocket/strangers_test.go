package cnodews

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

func (a *strangers) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all
}

// A scene is a node at a handler, and what becomes of strangers.
type scene struct {
	t      *testing.T
	ws     *Transport
	server *httptest.Server
	failed chan failure
}

type failure struct {
	who string
	err error
}

func newScene(t *testing.T, most int) *scene {
	ws := New(&Options{MaxHandshakes: most})
	s := &scene{t: t, ws: ws, server: httptest.NewUnstartedServer(ws), failed: make(chan failure, 100)}
	s.server.Start()
	t.Cleanup(s.server.Close)
	n, err := nodes.New(nodes.Config{
		Name: "shop@web", Cookie: "secret", Transport: ws, Resolver: nodes.Static{}, MaxHandshakes: most,
		HandshakeTimeout: time.Hour,
		HandshakeFailed:  func(who transport.Addr, err error) { s.failed <- failure{who.String(), err} },
	})
	require.NoError(t, err)
	t.Cleanup(func() { n.Close() })
	require.NoError(t, n.Start(expect.Context(t)))
	return s
}

// stranger is a WebSocket of a peer that says nothing about its end.
func (s *scene) stranger() net.Conn {
	c, err := net.Dial("tcp", s.server.Listener.Addr().String())
	require.NoError(s.t, err)
	s.t.Cleanup(func() { c.Close() })
	_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	require.NoError(s.t, err)
	r := bufio.NewReaderSize(c, 4096)
	answer, err := http.ReadResponse(r, nil)
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusSwitchingProtocols, answer.StatusCode)
	return c
}

// Peers that have been refused, and stay, do not add to those that may shake hands: they are cut
// off for the next one.
func TestRefusedStrangers(t *testing.T) {
	const most = 4
	s := newScene(t, most)
	all := map[string]net.Conn{}
	for i := range 20 {
		c := s.stranger()
		all[c.LocalAddr().String()] = c
		if i < most {
			continue
		}
		out := expect.Returns(t, s.failed)
		require.ErrorContains(t, out.err, "too many handshakes")
		require.Equal(t, most, s.ws.strangers.count())
		_, _ = io.Copy(io.Discard, all[out.who]) // to its end, of which the other side has heard nothing
		delete(all, out.who)
	}
	for _, c := range all {
		require.NoError(t, c.Close())
	}
	require.Eventually(t, func() bool { return s.ws.strangers.count() == 0 }, expect.Limit, time.Millisecond)
}

// A peer that has been refused is told why, and gone soon after that, whether or not it closes its
// side; one that is known does not count any more.
func TestRefusedStrangerIsGone(t *testing.T) {
	s := newScene(t, 0)
	c := s.stranger()
	_, err := c.Write(append([]byte{0x82, 0x83, 0, 0, 0, 0}, "bad"...)) // a packet that is no name
	require.NoError(t, err)
	began := time.Now()
	require.Error(t, expect.Returns(t, s.failed).err)
	_, _ = io.Copy(io.Discard, c)
	require.Less(t, time.Since(began), farewell)
	require.Eventually(t, func() bool { return s.ws.strangers.count() == 0 }, expect.Limit, time.Millisecond)

	n, err := nodes.New(nodes.Config{
		Name: "till@branch", Cookie: "secret", Transport: New(nil),
		Resolver: nodes.Static{"shop@web": {Addr: URL("ws" + s.server.URL[len("http"):])}},
	})
	require.NoError(t, err)
	defer n.Close()
	_, err = n.Connect(expect.Context(t), "shop@web")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.ws.strangers.count() == 0 }, expect.Limit, time.Millisecond)
}
