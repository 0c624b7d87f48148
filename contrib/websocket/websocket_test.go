package cnodews_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/websocket"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/transporttest"
)

func TestMain(m *testing.M) {
	if os.Getenv(asPeer) != "" {
		bePeer()
		return
	}
	os.Exit(leak.Run(m))
}

// A site is an HTTP server with handlers at paths.
type site struct {
	*httptest.Server
	mux  *http.ServeMux
	next atomic.Int64
}

func newSite(t testing.TB, start func(*httptest.Server)) *site {
	s := &site{mux: http.NewServeMux()}
	s.Server = httptest.NewUnstartedServer(s.mux)
	start(s.Server)
	t.Cleanup(s.Close)
	return s
}

func plain(t testing.TB) *site { return newSite(t, (*httptest.Server).Start) }

// put makes a handler at a new path, and returns where it is.
func (s *site) put(h http.Handler) cnodews.URL {
	path := fmt.Sprintf("/%d", s.next.Add(1))
	s.mux.Handle(path, h)
	return cnodews.URL("ws" + strings.TrimPrefix(s.URL, "http") + path)
}

var modes = map[string]*cnodews.Options{"bytes": {}, "packets": {Packets: true}}

func TestConformance(t *testing.T) {
	for name, o := range modes {
		t.Run(name, func(t *testing.T) {
			s := plain(t)
			transporttest.Run(t, func() (transport.Transport, transport.Addr, error) {
				tr := cnodews.New(o)
				return tr, s.put(tr), nil
			})
		})
	}
}

func started(t testing.TB, cfg nodes.Config) *nodes.Node {
	t.Helper()
	n, err := nodes.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { n.Close() })
	require.NoError(t, n.Start(expect.Context(t)))
	return n
}

// shop is a node behind a handler.
func shop(t testing.TB, ws *cnodews.Transport) *nodes.Node {
	t.Helper()
	n := started(t, nodes.Config{Name: "shop@web", Cookie: "secret", Transport: ws, Resolver: nodes.Static{}})
	n.Expose("shop", "echo", nodes.FuncOf(func(v ei.Term) ei.Term { return v }))
	return n
}

func TestNodes(t *testing.T) {
	tick := 2 * time.Second // less, and a busy machine would be taken for silence
	if testing.Short() {
		tick = 0 // the default: nothing waits for it
	}
	for name, o := range modes {
		for kind, start := range map[string]func(*httptest.Server){"ws": (*httptest.Server).Start, "wss": (*httptest.Server).StartTLS} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, start)
				ws := cnodews.New(&cnodews.Options{CheckPeer: func(r *http.Request, node string) error {
					if (r.TLS != nil) != (kind == "wss") || node != "till@branch" {
						return errors.New("who is it?")
					}
					return nil
				}})
				at := s.put(ws)
				server := shop(t, ws)
				own := *o
				own.Client = s.Client()
				client := started(t, nodes.Config{
					Name: "till@branch", Cookie: "secret", Transport: cnodews.New(&own), TickInterval: tick,
					Resolver: nodes.Static{"shop@web": {Addr: at}},
				})
				ctx := expect.Context(t)

				v, err := client.RPC(ctx, "shop@web", "shop", "echo", ei.Atom("ok"))
				require.NoError(t, err)
				require.Equal(t, ei.Atom("ok"), v)
				c := client.Conn("shop@web")
				require.Equal(t, name == "packets", c.Stream().KeepsPackets())
				require.Equal(t, "websocket", c.Stream().RemoteAddr().Network())

				big := make(ei.Binary, 16<<20)
				for i := range big {
					big[i] = byte(i >> 8)
				}
				v, err = client.RPC(ctx, "shop@web", "shop", "echo", big)
				require.NoError(t, err)
				require.True(t, bytes.Equal(big, v.(ei.Binary)))

				here, err := client.NewMailbox(&nodes.MailboxOptions{TrapExit: true})
				require.NoError(t, err)
				there, err := server.NewMailbox(nil)
				require.NoError(t, err)
				other, err := server.NewMailbox(nil)
				require.NoError(t, err)
				require.NoError(t, here.Link(ctx, there.Pid()))
				_, err = here.Monitor(ctx, other.Pid())
				require.NoError(t, err)
				require.NoError(t, there.Close())
				m, err := here.Receive(ctx)
				require.NoError(t, err)
				require.Equal(t, dist.OpExit, m.Op)
				require.NoError(t, other.Close())
				m, err = here.Receive(ctx)
				require.NoError(t, err)
				require.Equal(t, dist.OpMonitorPExit, m.Op)

				// Ticks keep a silent connection, which would end after four intervals.
				if !testing.Short() {
					time.Sleep(9 * tick / 2)
				}
				require.NoError(t, c.Err())

				require.NoError(t, client.Shutdown(ctx))
				require.Eventually(t, func() bool { return len(server.Peers()) == 0 }, expect.Limit, time.Millisecond)
			})
		}
	}
}

// What is sent last before a Shutdown arrives, whatever the other side sends meanwhile.
func TestShutdown(t *testing.T) {
	for name, o := range modes {
		t.Run(name, func(t *testing.T) {
			ws, s := cnodews.New(nil), plain(t)
			at := s.put(ws)
			server := shop(t, ws)
			client := started(t, nodes.Config{
				Name: "till@branch", Cookie: "secret", Transport: cnodews.New(o), Resolver: nodes.Static{"shop@web": {Addr: at}},
			})
			ctx := expect.Context(t)
			box, err := server.NewMailbox(nil)
			require.NoError(t, err)
			deaf, err := client.NewMailbox(nil)
			require.NoError(t, err)
			c, err := client.Connect(ctx, "shop@web")
			require.NoError(t, err)
			stop := make(chan struct{})
			var noise sync.WaitGroup
			noise.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if back := server.Conn("till@branch"); back != nil {
							_ = back.Send(ctx, deaf.Pid(), make([]byte, 1000))
						}
						time.Sleep(time.Millisecond)
					}
				}
			})
			const count = 500
			for i := range count {
				require.NoError(t, c.Send(ctx, box.Pid(), append([]byte{byte(i), byte(i >> 8)}, make([]byte, 1000)...)))
			}
			require.NoError(t, client.Shutdown(ctx))
			for i := range count {
				m, err := box.Receive(ctx)
				require.NoError(t, err)
				v, err := m.Term()
				require.NoError(t, err)
				require.Equal(t, []byte{byte(i), byte(i >> 8)}, []byte(v.(ei.Binary)[:2]))
			}
			close(stop)
			noise.Wait()
		})
	}
}

// Each refusal is an error of a type of its own, within the time of the handshake.
func TestRefusals(t *testing.T) {
	s := plain(t)
	open := cnodews.New(nil)
	shop(t, open)
	at := s.put(open)
	guarded := cnodews.New(&cnodews.Options{Authorize: cnodews.Bearer(func(_ context.Context, token string) error {
		switch token {
		case "good":
			return nil
		case "old":
			return errors.New("the token has expired")
		}
		return errors.New("unknown token")
	})})
	shop(t, guarded)
	behind := s.put(guarded)
	picky := cnodews.New(&cnodews.Options{CheckPeer: func(*http.Request, string) error { return errors.New("not you") }})
	shop(t, picky)
	status := func(code int, errno syscall.Errno, text string) func(t *testing.T, err error) {
		return func(t *testing.T, err error) {
			var e *cnodews.StatusError
			require.ErrorAs(t, err, &e)
			require.Equal(t, code, e.Code)
			require.Contains(t, e.Text, text)
			require.ErrorIs(t, err, errno)
		}
	}
	is := func(want error) func(t *testing.T, err error) {
		return func(t *testing.T, err error) { require.ErrorIs(t, err, want) }
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	token := func(token string) *cnodews.Options {
		return &cnodews.Options{Header: func(context.Context, string) (http.Header, error) {
			return http.Header{"Authorization": {"Bearer " + token}}, nil
		}}
	}
	noToken := errors.New("no token to be had")
	old := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // a server of packets only
		c, err := websocket.Accept(w, r, nil)
		if err == nil {
			_, _, _ = c.Read(r.Context())
			c.CloseNow()
		}
	})
	for name, tt := range map[string]struct {
		at     cnodews.URL
		o      *cnodews.Options
		cookie string
		check  func(t *testing.T, err error)
	}{
		"wrong cookie":         {at, nil, "wrong", is(dist.ErrNoProof)},
		"wrong cookie, packet": {at, &cnodews.Options{Packets: true}, "wrong", is(dist.ErrNoProof)},
		"no token":             {behind, nil, "secret", status(401, syscall.EACCES, "no bearer token")},
		"expired token":        {behind, token("old"), "secret", status(401, syscall.EACCES, "the token has expired")},
		"another token":        {behind, token("bad"), "secret", status(401, syscall.EACCES, "unknown token")},
		"no header": {behind, &cnodews.Options{Header: func(context.Context, string) (http.Header, error) {
			return nil, noToken
		}}, "secret", is(noToken)},
		"another origin": {at, &cnodews.Options{Header: func(context.Context, string) (http.Header, error) {
			return http.Header{"Origin": {"https://elsewhere.example"}}, nil
		}}, "secret", status(403, syscall.EACCES, "not authorized")},
		"no node":        {s.put(cnodews.New(nil)), nil, "secret", status(503, syscall.ECONNREFUSED, "no node listens")},
		"no path":        {cnodews.URL(strings.Replace(s.URL, "http", "ws", 1) + "/none"), nil, "secret", status(404, syscall.ECONNREFUSED, "")},
		"no server":      {cnodews.URL("ws://" + port.Vacant(t)), nil, "secret", is(syscall.ECONNREFUSED)},
		"silence":        {cnodews.URL("ws://" + silent.Addr().String()), nil, "secret", is(nodes.ErrHandshakeTimeout)},
		"no subprotocol": {s.put(old), nil, "secret", is(cnodews.ErrSubprotocol)},
		"no URL":         {"http://host/", nil, "secret", is(syscall.EINVAL)},
		"refused name":   {s.put(picky), nil, "secret", is(dist.ErrNotAllowed)},
	} {
		t.Run(name, func(t *testing.T) {
			limit := expect.Limit
			if name == "silence" {
				limit = time.Second
			}
			n, err := nodes.New(nodes.Config{
				Name: "till@branch", Cookie: tt.cookie, Transport: cnodews.New(tt.o), HandshakeTimeout: limit,
				Resolver: nodes.Static{"shop@web": {Addr: tt.at}},
			})
			require.NoError(t, err)
			defer n.Close()
			_, err = n.Connect(expect.Context(t), "shop@web")
			require.Error(t, err)
			tt.check(t, err)
		})
	}

	// With the right token it works.
	n, err := nodes.New(nodes.Config{
		Name: "till@branch", Cookie: "secret", Transport: cnodews.New(token("good")), Resolver: nodes.Static{"shop@web": {Addr: behind}},
	})
	require.NoError(t, err)
	defer n.Close()
	_, err = n.Connect(expect.Context(t), "shop@web")
	require.NoError(t, err)
}

// asPeer is the variable that makes this program a node: "listen", or the URL to connect to.
const asPeer = "CNODEWS_TEST_PEER"

func bePeer() {
	ctx, what := context.Background(), os.Getenv(asPeer)
	fail := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	ws := cnodews.New(&cnodews.Options{Packets: os.Getenv(asPeer+"_PACKETS") != ""})
	cfg := nodes.Config{Name: "peer@there", Cookie: "secret", Transport: ws, Resolver: nodes.Static{}}
	if what != "listen" {
		cfg.Resolver = nodes.Static{"shop@web": {Addr: cnodews.URL(what)}}
	}
	n, err := nodes.New(cfg)
	fail(err)
	fail(n.Start(ctx))
	if what == "listen" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		fail(err)
		go func() { fail(http.Serve(l, ws)) }()
		fmt.Println("ws://" + l.Addr().String())
	} else {
		_, err := n.Connect(ctx, "shop@web")
		fail(err)
		fmt.Println("connected")
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// peer runs this program as a node, and returns what it says first.
func peer(t *testing.T, what string, packets bool) (said string, kill func()) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asPeer+"="+what)
	if packets {
		cmd.Env = append(cmd.Env, asPeer+"_PACKETS=1")
	}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var once sync.Once
	kill = func() {
		once.Do(func() { _ = cmd.Process.Kill(); _ = in.Close(); _ = cmd.Wait() })
	}
	t.Cleanup(kill)
	b := make([]byte, 200)
	k, err := out.Read(b)
	require.NoError(t, err)
	return strings.TrimSpace(string(b[:k])), kill
}

// A node whose peer is killed, whichever side has connected, hears of it at once.
func TestKilledPeer(t *testing.T) {
	for name, o := range modes {
		t.Run(name, func(t *testing.T) {
			ended := func(n *nodes.Node, kill func()) {
				t.Helper()
				var c *nodes.Conn
				require.Eventually(t, func() bool { c = n.Conn("peer@there"); return c != nil }, expect.Limit, time.Millisecond)
				kill()
				expect.Returns(t, c.Done())
				require.True(t, errors.Is(c.Err(), io.EOF) || errors.Is(c.Err(), io.ErrUnexpectedEOF) || errors.Is(c.Err(), syscall.ECONNRESET),
					"%v", c.Err())
			}
			ws, s := cnodews.New(nil), plain(t)
			at := s.put(ws)
			server := shop(t, ws)
			said, kill := peer(t, string(at), o.Packets)
			require.Equal(t, "connected", said)
			ended(server, kill)

			said, kill = peer(t, "listen", false)
			client := started(t, nodes.Config{
				Name: "till@branch", Cookie: "secret", Transport: cnodews.New(o),
				Resolver: nodes.Static{"peer@there": {Addr: cnodews.URL(said)}},
			})
			_, err := client.Connect(expect.Context(t), "peer@there")
			require.NoError(t, err)
			ended(client, kill)
		})
	}
}

// rawPackets are the packets of a handshake as web_socket_dist has them: a message each.
type rawPackets struct {
	t  *testing.T
	ws *websocket.Conn
}

func (p rawPackets) ReadPacket() ([]byte, error) {
	kind, b, err := p.ws.Read(expect.Context(p.t))
	if err == nil && kind != websocket.MessageBinary {
		err = errors.New("a message of text")
	}
	return b, err
}

func (p rawPackets) WritePackets(all ...[]byte) error {
	for _, b := range all {
		if err := p.ws.Write(expect.Context(p.t), websocket.MessageBinary, b); err != nil {
			return err
		}
	}
	return nil
}

// What a BEAM with web_socket_dist reads and writes: no lengths, ticks that are empty messages,
// frames with headers of no atoms, and large messages whole.
func TestWireOfPackets(t *testing.T) {
	ws, s := cnodews.New(nil), plain(t)
	at := s.put(ws)
	n := started(t, nodes.Config{
		Name: "shop@web", Cookie: "secret", Transport: ws, Resolver: nodes.Static{}, TickInterval: 2 * time.Second, // four of them may pass
		Flags: dist.FlagsDefault &^ dist.FlagDistHdrAtomCache, SendWhole: true,
	})
	box, err := n.NewMailbox(nil)
	require.NoError(t, err)
	require.NoError(t, n.Register(t.Context(), "box", box))
	ctx := expect.Context(t)
	c, _, err := websocket.Dial(ctx, string(at), nil)
	require.NoError(t, err)
	defer c.CloseNow()
	require.Empty(t, c.Subprotocol())
	c.SetReadLimit(-1)
	_, err = protocol.Initiate(rawPackets{t, c}, protocol.Self{
		Name: "beam@there", Cookie: "secret", Creation: 5, Challenge: 99, Flags: dist.FlagsDefault &^ dist.FlagDistHdrAtomCache,
	}, protocol.InitiateOptions{})
	require.NoError(t, err)
	_, b, err := c.Read(ctx)
	require.NoError(t, err)
	require.Empty(t, b, "a tick")
	require.NoError(t, c.Write(ctx, websocket.MessageBinary, nil))

	from := ei.Pid{Node: "beam@there", ID: 1, Creation: 5}
	payload, err := ei.AppendTerm(nil, ei.Atom("hello"))
	require.NoError(t, err)
	f, err := protocol.AppendFrameHead(nil, dist.FlagFragments, &dist.Control{Op: dist.OpRegSend, From: from, ToName: "box"}, len(payload))
	require.NoError(t, err)
	require.NoError(t, c.Write(ctx, websocket.MessageBinary, append(f[4:], payload...)))
	m, err := box.Receive(ctx)
	require.NoError(t, err)
	v, err := m.Term()
	require.NoError(t, err)
	require.Equal(t, ei.Atom("hello"), v)

	sent := make(chan error, 1)
	go func() { sent <- box.Send(ctx, from, make(ei.Binary, 1<<20)) }()
	for b = nil; len(b) == 0; {
		_, b, err = c.Read(ctx)
		require.NoError(t, err)
	}
	require.Equal(t, []byte{131, 68, 0}, b[:3])
	require.Greater(t, len(b), 1<<20)
	require.NoError(t, expect.Returns(t, sent))
}

// Messages that are too long, or of text, end the connection.
func TestBadMessages(t *testing.T) {
	for name, tt := range map[string]struct {
		kind websocket.MessageType
		size int
		want error
	}{
		"long": {websocket.MessageBinary, 200_000, syscall.EMSGSIZE},
		"text": {websocket.MessageText, 5, syscall.EPROTO},
	} {
		t.Run(name, func(t *testing.T) {
			ws, s := cnodews.New(&cnodews.Options{MaxFrame: 50_000}), plain(t)
			at := s.put(ws)
			l, err := ws.Listen(at, 0)
			require.NoError(t, err)
			defer l.Close()
			ctx := expect.Context(t)
			c, _, err := websocket.Dial(ctx, string(at), &websocket.DialOptions{Subprotocols: []string{cnodews.Subprotocol}})
			require.NoError(t, err)
			defer c.CloseNow()
			got, err := l.Accept(ctx)
			require.NoError(t, err)
			defer got.Close()
			_ = c.Write(ctx, tt.kind, make([]byte, tt.size)) // the other end may not take all of it
			_, err = io.Copy(io.Discard, reader{ctx, got})
			require.ErrorIs(t, err, tt.want)
		})
	}
}

type reader struct {
	ctx context.Context
	s   *transport.Stream
}

func (r reader) Read(p []byte) (int, error) { return r.s.Read(r.ctx, p) }

// X-Forwarded-For counts only if a trusted proxy says it.
func TestTrustedProxies(t *testing.T) {
	for _, tt := range []struct{ trusted, header, want string }{
		{"", "203.0.113.7", "127.0.0.1"},
		{"127.0.0.0/8", "", "127.0.0.1"},
		{"127.0.0.0/8", "203.0.113.7", "203.0.113.7"},
		{"127.0.0.0/8", "198.51.100.1, 203.0.113.7", "203.0.113.7"}, // the first is the client's own invention
		{"127.0.0.0/8 203.0.113.0/24", "198.51.100.1, 203.0.113.7", "198.51.100.1"},
		{"127.0.0.0/8", "2001:db8::1", "2001:db8::1"},
		{"127.0.0.0/8", "unknown", "127.0.0.1"},
		{"10.0.0.0/8", "203.0.113.7", "127.0.0.1"},
	} {
		o := &cnodews.Options{}
		for _, p := range strings.Fields(tt.trusted) {
			o.TrustedProxies = append(o.TrustedProxies, netip.MustParsePrefix(p))
		}
		ws, s := cnodews.New(o), plain(t)
		at := s.put(ws)
		l, err := ws.Listen(at, 0)
		require.NoError(t, err)
		ctx := expect.Context(t)
		c, _, err := websocket.Dial(ctx, string(at), &websocket.DialOptions{HTTPHeader: http.Header{"X-Forwarded-For": {tt.header}}})
		require.NoError(t, err)
		got, err := l.Accept(ctx)
		require.NoError(t, err)
		ap, err := transport.AddrPort(got.RemoteAddr())
		require.NoError(t, err)
		require.Equal(t, tt.want, ap.Addr().String(), "%+v", tt)
		c.CloseNow()
		require.NoError(t, got.Close())
		require.NoError(t, l.Close())
	}
}

func TestURL(t *testing.T) {
	require.Equal(t, "wss://xxxxx@host/path", cnodews.URL("wss://me:word@host/path").String())
	require.Equal(t, "websocket", cnodews.URL("").Network())
	ws := cnodews.New(nil)
	for at, want := range map[transport.Addr]error{
		transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:8080")): syscall.EINVAL,
		transport.UnixAddr("/run/x"):                                      syscall.EAFNOSUPPORT,
		cnodews.URL("http://host/"):                                       syscall.EINVAL,
		cnodews.URL("ws:///path"):                                         syscall.EINVAL,
	} {
		_, err := ws.Listen(at, 0)
		require.ErrorIs(t, err, want, "%v", at)
	}
	l, err := ws.Listen(cnodews.URL("wss://host/path"), 0)
	require.NoError(t, err)
	require.Equal(t, cnodews.URL("wss://host/path"), l.Addr())
	_, err = ws.Listen(cnodews.URL("wss://host/path"), 0)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.NoError(t, l.Close())
}

// counting counts the calls in which bytes pass on the connections of a listener.
type counting struct {
	net.Listener
	calls *atomic.Int64
}

func (l counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return counted{c, l.calls}, err
}

type counted struct {
	net.Conn
	calls *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.calls.Add(1)
	return n, err
}

func (c counted) Write(p []byte) (int, error) {
	c.calls.Add(1)
	return c.Conn.Write(p)
}

// Idle connections do nothing but tick.
func TestIdleConnections(t *testing.T) {
	const count = 1000
	need.Descriptors(t, 3*count) // both ends are in this process
	var calls atomic.Int64
	s := newSite(t, func(s *httptest.Server) {
		s.Listener = counting{s.Listener, &calls}
		s.Start()
	})
	ws := cnodews.New(nil)
	at := s.put(ws)
	server := started(t, nodes.Config{
		Name: "shop@web", Cookie: "secret", Transport: ws, Resolver: nodes.Static{}, TickInterval: time.Hour, MaxHandshakes: count,
	})
	clients := make([]*nodes.Node, count)
	tr := cnodews.New(nil)
	for i := range clients {
		n, err := nodes.New(nodes.Config{
			Name: fmt.Sprintf("till%d@branch", i), Cookie: "secret", Transport: tr, TickInterval: time.Hour,
			Resolver: nodes.Static{"shop@web": {Addr: at}},
		})
		require.NoError(t, err)
		clients[i] = n
		t.Cleanup(func() { n.Close() })
		_, err = n.Connect(expect.Context(t), "shop@web")
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return len(server.Peers()) == count }, expect.Limit, time.Millisecond)
	before, used := calls.Load(), processorTime(t)
	const idle = 3 * time.Second
	time.Sleep(idle)
	require.LessOrEqual(t, calls.Load()-before, int64(count/100), "reads and writes of idle connections")
	t.Logf("%d idle connections took %v of a processor in %v", count, processorTime(t)-used, idle)
	require.Less(t, processorTime(t)-used, idle/10)
}
