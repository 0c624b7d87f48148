package cnodequic_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/require"

	cnodequic "github.com/cnode-go/cnode/contrib/quic"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// What has been written reaches a peer that reads late, once this side has closed.
func TestCloseDelivers(t *testing.T) {
	tr := newAuthority(t).carried(t, "a@127.0.0.1")
	client, server := pair(t, tr, tr)
	ctx := expect.Context(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 16<<10) // less than a window
	_, err := client.Writev(ctx, sent)
	require.NoError(t, err)
	require.NoError(t, client.Close())
	time.Sleep(500 * time.Millisecond) // Close does not wait for so long
	got := make([]byte, len(sent))
	_, err = server.Readv(ctx, got)
	require.NoError(t, err)
	require.Equal(t, sent, got)
	_, err = server.Read(ctx, got)
	require.Equal(t, io.EOF, err)
}

// A peer that does not read in time gets an error, and never takes a part for the whole.
func TestCloseCutsOff(t *testing.T) {
	tr := newAuthority(t).carried(t, "a@127.0.0.1")
	client, server := pair(t, tr, tr)
	_, err := client.Writev(expect.Context(t), make([]byte, 100<<10))
	require.NoError(t, err)
	_, err = server.Read(expect.Context(t), make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, client.Close())
	require.Eventually(t, func() bool { return running("quic-go.(*Conn).run") == 0 }, expect.Limit, 100*time.Millisecond)
	for err = nil; err == nil; {
		_, err = server.Read(context.Background(), make([]byte, 1<<20))
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.NotErrorIs(t, err, net.ErrClosed)
	require.ErrorAs(t, err, new(*quic.ApplicationError))
}

// A connection for which the listener has no room is refused.
func TestBacklog(t *testing.T) {
	tr := newAuthority(t).carried(t, "a@127.0.0.1")
	l, err := tr.Listen(loopback(t), 1)
	require.NoError(t, err)
	defer l.Close()
	ctx := expect.Context(t)
	reads := make(chan error, 2) // which of the two the listener sees first is not certain
	for range 2 {
		s, err := tr.Connect(ctx, l.Addr())
		require.NoError(t, err)
		defer s.Close()
		go func() { _, err := s.Read(ctx, make([]byte, 1)); reads <- err }()
	}
	require.ErrorIs(t, expect.Returns(t, reads), syscall.ECONNREFUSED)
	s, err := l.Accept(ctx)
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Writev(ctx, []byte("x"))
	require.NoError(t, err)
	require.NoError(t, expect.Returns(t, reads))
}

// A listener's port is free once it and its connections are closed.
func TestPortIsFree(t *testing.T) {
	tr := newAuthority(t).carried(t, "a@127.0.0.1")
	ctx := expect.Context(t)
	at := loopback(t)
	for range 3 {
		var l *transport.Listener
		require.Eventually(t, func() (ok bool) {
			var err error
			if l, err = tr.Listen(at, 0); err != nil {
				require.ErrorIs(t, err, syscall.EADDRINUSE)
			}
			return err == nil
		}, expect.Limit, 10*time.Millisecond)
		at = l.Addr()
		client, err := tr.Connect(ctx, at)
		require.NoError(t, err)
		server, err := l.Accept(ctx)
		require.NoError(t, err)
		go func() { _, _ = server.Read(ctx, make([]byte, 1)); server.Close() }()
		require.NoError(t, client.Close())
		require.NoError(t, l.Close())
	}
}

// What a Config lacks is an error of New.
func TestConfig(t *testing.T) {
	good := newAuthority(t).both(t, "a@127.0.0.1")
	with := func(f func(c *tls.Config)) *tls.Config {
		c := good.Clone()
		f(c)
		return c
	}
	for want, c := range map[string]cnodequic.Config{
		"neither":                   {},
		"Server has no cert":        {Server: with(func(c *tls.Config) { c.Certificates = nil })},
		"does not verify clients":   {Server: with(func(c *tls.Config) { c.ClientAuth = tls.VerifyClientCertIfGiven })},
		"RequireAndVerify":          {Server: with(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert })},
		"Client has no cert":        {Server: good, Client: with(func(c *tls.Config) { c.Certificates = nil })},
		"does not verify servers":   {Client: with(func(c *tls.Config) { c.InsecureSkipVerify = true })},
		"MaxVersion is TLS 1.2":     {Client: with(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })},
		"TickTime is -1s":           {Server: good, TickTime: -time.Second},
		"no TLS or Serve for \"x\"": {Server: good, Others: map[string]cnodequic.Other{"x": {}}},
	} {
		_, err := cnodequic.New(c)
		require.ErrorContains(t, err, want)
	}
	tr := over(t, cnodequic.Config{Client: good})
	_, err := tr.Listen(loopback(t), 0)
	require.ErrorContains(t, err, "Config.Server")
	tr = over(t, cnodequic.Config{Server: good})
	_, err = tr.Connect(expect.Context(t), loopback(t))
	require.ErrorContains(t, err, "Config.Client")
}

// A configuration that is chosen for a client has to verify it, too.
func TestChosenConfig(t *testing.T) {
	a := newAuthority(t)
	lax := a.both(t, "a@127.0.0.1")
	lax.ClientAuth = tls.NoClientCert
	chooses := &tls.Config{
		ClientAuth: tls.RequireAndVerifyClientCert, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return lax, nil },
	}
	l, err := over(t, cnodequic.Config{Server: chooses}).Listen(loopback(t), 0)
	require.NoError(t, err)
	defer l.Close()
	_, err = a.carried(t, "b@127.0.0.1").Connect(expect.Context(t), l.Addr())
	require.Error(t, err)
}

// A node, others that it connects to, and HTTP/3 share one socket of the program's.
func TestSharedSocket(t *testing.T) {
	a, table := newAuthority(t), nodes.Static{}
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer udp.Close()
	socket := &quic.Transport{Conn: udp}
	defer socket.Close()
	web := &http3.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) })}
	defer web.Close()
	public := a.both(t, "a@127.0.0.1")
	public.ClientAuth = tls.NoClientCert
	shared := a.carried(t, "a@127.0.0.1", func(c *cnodequic.Config) {
		c.Socket = socket
		c.Others = map[string]cnodequic.Other{http3.NextProtoH3: {TLS: public, Serve: func(c *quic.Conn) { _ = web.ServeQUICConn(c) }}}
	})
	here := transport.FromNetAddr(udp.LocalAddr())
	one := start(t, "a@127.0.0.1", shared, table, func(c *nodes.Config) { c.Listen = here })
	start(t, "b@127.0.0.1", a.carried(t, "b@127.0.0.1"), table)
	three := start(t, "c@127.0.0.1", a.carried(t, "c@127.0.0.1"), table)
	calls(t, one, "b@127.0.0.1", ei.Atom("out"))
	calls(t, three, "a@127.0.0.1", ei.Atom("in"))
	_, server := pair(t, shared, a.carried(t, "d@127.0.0.1"))
	require.Equal(t, here, server.RemoteAddr())

	browser := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool}}
	defer browser.Close()
	r, err := (&http.Client{Transport: browser}).Get("https://" + udp.LocalAddr().String() + "/path")
	require.NoError(t, err)
	defer r.Body.Close()
	said, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, "/path", string(said))

	_, err = shared.Listen(loopback(t), 0)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	other, err := transport.WithPort(here, 1)
	require.NoError(t, err)
	_, err = shared.Listen(other, 0)
	require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)

	// who offers both protocols is a node, and needs a certificate
	c, err := quic.DialAddr(expect.Context(t), udp.LocalAddr().String(),
		&tls.Config{RootCAs: a.pool, NextProtos: []string{http3.NextProtoH3, cnodequic.ALPN}}, nil)
	if err == nil { // in TLS 1.3 the client is the first to be content
		require.Equal(t, cnodequic.ALPN, c.ConnectionState().TLS.NegotiatedProtocol)
		<-c.Context().Done()
		err = context.Cause(c.Context())
	}
	require.ErrorContains(t, err, "certificate")
}

// With a StatelessResetKey a server that was killed, and has been started anew at the same port,
// tells its peers at their next packets that it knows nothing of their connections.
func TestRestartedServer(t *testing.T) {
	const never = time.Hour
	a, table := newAuthority(t), nodes.Static{}
	patient := func(c *cnodequic.Config) { c.TickTime = never }
	rarely := func(c *nodes.Config) { c.TickInterval = never }
	key := quic.StatelessResetKey{1, 2, 3}
	at := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}
	serve := func() (kill func()) {
		udp, err := net.ListenUDP("udp4", at)
		require.NoError(t, err)
		at = udp.LocalAddr().(*net.UDPAddr)
		socket := &quic.Transport{Conn: cnodequic.Lossy(udp), StatelessResetKey: &key}
		n := start(t, "a@127.0.0.1", a.carried(t, "a@127.0.0.1", patient, func(c *cnodequic.Config) { c.Socket = socket }),
			table, rarely, func(c *nodes.Config) { c.Listen = transport.FromNetAddr(at) })
		return func() { udp.Close(); socket.Close(); n.Close() } // the first so that no more is said
	}
	kill := serve()
	n := start(t, "b@127.0.0.1", a.carried(t, "b@127.0.0.1", patient), table, rarely)
	calls(t, n, "a@127.0.0.1", ei.Atom("before"))
	conn := n.Conn("a@127.0.0.1")
	kill()
	kill = serve()
	defer kill()
	_, err := n.RPC(expect.Context(t), "a@127.0.0.1", "go", "echo", 1)
	require.Error(t, err)
	require.ErrorIs(t, conn.Err(), syscall.ECONNRESET)
	require.ErrorAs(t, conn.Err(), new(*quic.StatelessResetError))
	calls(t, n, "a@127.0.0.1", ei.Atom("after"))
}

// A router carries packets to a server, each client's from an address of its own, which it may
// change, as one of NAT does, or one between two networks.
type router struct {
	t      testing.TB
	front  *net.UDPConn
	server *net.UDPAddr
	carry  sync.WaitGroup
	closed atomic.Bool

	mu       sync.Mutex
	ways     map[string]*net.UDPConn // by the client's address
	answered chan struct{}           // closed once the server writes to where the last way comes from
}

func newRouter(t testing.TB, server transport.Addr) *router {
	to, err := transport.AddrPort(server)
	require.NoError(t, err)
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	r := &router{t: t, front: front, server: net.UDPAddrFromAddrPort(to)}
	r.move()
	t.Cleanup(func() { r.closed.Store(true); front.Close(); r.move(); r.carry.Wait() })
	r.carry.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, client, err := front.ReadFromUDP(buf)
			if err != nil {
				return
			}
			if way := r.way(client); way != nil {
				_, _ = way.Write(buf[:n])
			}
		}
	})
	return r
}

func (r *router) way(client *net.UDPAddr) *net.UDPConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	way := r.ways[client.String()]
	if way != nil || r.closed.Load() {
		return way
	}
	way, err := net.DialUDP("udp4", nil, r.server)
	if err != nil {
		return nil
	}
	r.ways[client.String()] = way
	answered := r.answered
	r.carry.Go(func() {
		buf := make([]byte, 64<<10)
		for packets := 1; ; packets++ {
			n, err := way.Read(buf)
			if err != nil {
				return
			}
			if packets == 20 { // the first only ask whether the client is there
				close(answered)
			}
			_, _ = r.front.WriteToUDP(buf[:n], client)
		}
	})
	return way
}

// move gives every client another address.
func (r *router) move() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, way := range r.ways {
		_ = way.Close()
	}
	r.ways, r.answered = map[string]*net.UDPConn{}, make(chan struct{})
}

// followed is closed once the server writes to the client's last address.
func (r *router) followed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answered
}

// A client whose address changes keeps its connection, with its monitors, also in the midst of a
// large message. quic-go keeps what it knows of an address until it has followed the client to the
// next one, of three at most: who moves on before that, and often, is not found any more.
func TestClientMoves(t *testing.T) {
	a, table := newAuthority(t), nodes.Static{}
	start(t, "a@127.0.0.1", a.carried(t, "a@127.0.0.1"), table)
	r := newRouter(t, table["a@127.0.0.1"].Addr)
	table["a@127.0.0.1"] = nodes.Endpoint{Addr: transport.FromNetAddr(r.front.LocalAddr())}
	n := start(t, "b@127.0.0.1", a.carried(t, "b@127.0.0.1"), table)
	calls(t, n, "a@127.0.0.1", ei.Atom("before"))
	conn := n.Conn("a@127.0.0.1")
	for range 3 {
		r.move()
		calls(t, n, "a@127.0.0.1", ei.Atom("after"))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		calls(t, n, "a@127.0.0.1", ei.Binary(make([]byte, 16<<20)))
	}()
	for range 3 {
		r.move()
		select {
		case <-done: // all of it was on its way already
		case <-r.followed():
		}
	}
	expect.Returns(t, done)
	require.Same(t, conn, n.Conn("a@127.0.0.1"))
	require.NoError(t, conn.Err())
}
