package nodes

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/transport"
)

// portMapper runs a port mapper at addr until stop, or the end of the test.
func portMapper(t testing.TB, addr string) (at string, stop func()) {
	t.Helper()
	l := of(net.Listen("tcp", addr)).must(t)
	s := &epmd.Server{}
	var served sync.WaitGroup
	served.Go(func() { s.Serve(l) })
	stop = sync.OnceFunc(func() { s.Close(); served.Wait() })
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// mapped makes a node alive@127.0.0.1 that is published at the port mapper at addr.
func mapped(t testing.TB, alive, addr string, edit ...func(*Config, *PortMapper)) *Node {
	t.Helper()
	p := &PortMapper{Client: epmd.Client{Addr: addr}}
	cfg := Config{Name: alive + "@127.0.0.1", Cookie: "secret", Resolver: p}
	for _, f := range edit {
		f(&cfg, p)
	}
	n := of(New(cfg)).must(t)
	t.Cleanup(func() { inTime(t, "Close of "+cfg.Name, func() { n.Close() }) })
	return n
}

func TestPortMapper(t *testing.T) {
	addr, _ := portMapper(t, "127.0.0.1:0")
	ctx := soon(t)
	a := mapped(t, "alice", addr, func(cfg *Config, _ *PortMapper) { cfg.Visible = true })
	b := mapped(t, "bob", addr)
	require.NoError(t, a.Start(ctx))
	require.NoError(t, b.Start(ctx))
	client := epmd.Client{Addr: addr}
	info := of(client.Resolve(ctx, "", "alice")).must(t)
	require.Equal(t, epmd.TypeNormal, info.Type)
	info = of(client.Resolve(ctx, "", "bob")).must(t)
	require.Equal(t, epmd.TypeHidden, info.Type)
	require.Equal(t, of(transport.AddrPort(b.Listeners()[0].Addr())).must(t).Port(), info.Port)

	c := connect(t, a, "bob@127.0.0.1")
	require.Equal(t, b.Creation(), c.Peer().Creation)
	require.True(t, b.Conn("alice@127.0.0.1") == nil || b.Conn("alice@127.0.0.1").Peer().Announced.Has(dist.FlagPublished))
	_, err := a.Connect(ctx, "nobody@127.0.0.1")
	require.ErrorIs(t, err, epmd.ErrNotRegistered)
	_, err = a.Connect(ctx, "bob@host.invalid")
	require.ErrorIs(t, err, ErrUnknownHost)

	// The name is taken, and the creation another one for the next life.
	again := mapped(t, "bob", addr)
	require.ErrorIs(t, again.Start(ctx), epmd.ErrNameTaken)
	require.ErrorIs(t, again.Err(), ErrClosed)
	before := b.Creation()
	require.NoError(t, b.Unpublish(context.Background()))
	require.NoError(t, b.Unpublish(context.Background()))
	require.NoError(t, c.Err(), "connections stay")
	require.Equal(t, before, b.Creation())
	again = mapped(t, "bob", addr)
	require.NoError(t, again.Start(ctx))
	require.NotEqual(t, before, again.Creation())
	require.NoError(t, again.Close())
	_, err = client.Resolve(ctx, "", "bob")
	require.ErrorIs(t, err, epmd.ErrNotRegistered)
}

// A node that has ended asks no Publisher: another process may go on under the name.
func TestPublishAfterEnd(t *testing.T) {
	w := newWorld(t, "tcp")
	asked := &publishes{}
	for i := range 100 {
		n := w.node("alice", func(cfg *Config) { cfg.Resolver = []Resolver{asked, Static{}}[i%2] })
		l := listen(t, n, n.cfg.Listen)
		require.NoError(t, n.Close())
		require.ErrorIs(t, n.Publish(w.ctx(), l), ErrClosed)
	}
	require.Zero(t, asked.n.Load())
}

// publishes counts what a Publisher is asked for.
type publishes struct {
	Static
	n atomic.Int32
}

func (p *publishes) Publish(context.Context, Registration) (Publication, error) {
	p.n.Add(1)
	return nil, errors.New("no")
}

func TestPublishErrors(t *testing.T) {
	addr, _ := portMapper(t, "127.0.0.1:0")
	ctx := soon(t)
	ready := func(n *Node) *Listener { return listen(t, n, n.listenAddr()) }
	a := mapped(t, "alice", addr)
	l := ready(a)
	require.NoError(t, a.Publish(ctx, l))
	require.ErrorIs(t, a.Publish(ctx, l), ErrPublished)
	of(a.NewPid()).must(t)
	creation := a.Creation()
	require.NoError(t, a.Unpublish(context.Background()))
	require.NoError(t, a.Publish(ctx, l))
	require.Equal(t, creation, a.Creation())
	require.NoError(t, a.Unpublish(context.Background()))

	for what, use := range map[string]func(n *Node){
		"pid":  func(n *Node) { _, _ = n.NewPid() },
		"ref":  func(n *Node) { _, _ = n.NewRef() },
		"box":  func(n *Node) { _, _ = n.NewMailbox(nil) },
		"call": func(n *Node) { _, _ = n.Connect(ctx, "alice@127.0.0.1") }, // which fails
	} {
		b := mapped(t, "bob", addr)
		l := ready(b)
		use(b)
		if what == "call" {
			require.NoError(t, b.Publish(ctx, l), "nothing carries the creation yet")
		} else {
			err := b.Publish(ctx, l)
			require.ErrorIs(t, err, ErrTooLate, what)
			require.ErrorContains(t, err, "Config.Setup")
		}
		require.NoError(t, b.Close())
	}

	c := mapped(t, "carol", addr, func(cfg *Config, _ *PortMapper) { cfg.Transport = transport.NewMemory() })
	l = listen(t, c, transport.MemoryAddr("x"))
	require.ErrorIs(t, c.Publish(ctx, l), syscall.EINVAL)
	require.ErrorContains(t, c.Publish(ctx, l), "TCP ports only")

	require.NoError(t, c.Close())
	require.Error(t, c.Publish(ctx, l))
	d := mapped(t, "", addr, func(cfg *Config, _ *PortMapper) { cfg.Name, cfg.Host = "", "127.0.0.1" })
	require.ErrorIs(t, d.Publish(ctx, l), ErrUnnamed)
}

// A dynamic node that a peer has named can be found by others; its creation stays the one that the
// peer gave.
func TestPublishDynamic(t *testing.T) {
	addr, _ := portMapper(t, "127.0.0.1:0")
	ctx := soon(t)
	alice := mapped(t, "alice", addr)
	require.NoError(t, alice.Start(ctx))
	d := mapped(t, "", addr, func(cfg *Config, _ *PortMapper) { cfg.Name, cfg.Host = "", "127.0.0.1" })
	_, err := d.Listen(ctx, d.listenAddr())
	require.ErrorIs(t, err, ErrUnnamed)
	connect(t, d, alice.Name())
	creation := d.Creation()
	l := listen(t, d, d.listenAddr())
	require.NoError(t, d.Publish(ctx, l))
	require.Equal(t, creation, d.Creation())
	require.NoError(t, d.Start(ctx))
	bob := mapped(t, "bob", addr)
	go func() { _, _ = l.Accept(ctx) }()
	connect(t, bob, d.Name())
}

func TestPortMapperAbsent(t *testing.T) {
	ctx := soon(t)
	n := mapped(t, "alice", port.Vacant(t))
	_, err := n.Connect(ctx, "bob@127.0.0.1")
	require.ErrorIs(t, err, epmd.ErrNoPortMapper)
	require.ErrorIs(t, n.Start(ctx), epmd.ErrNoPortMapper)
}

// Close ends a Publish that waits.
func TestCloseBesidePublish(t *testing.T) {
	l := of(net.Listen("tcp", "127.0.0.1:0")).must(t)
	defer l.Close()
	n := mapped(t, "alice", l.Addr().String(), func(_ *Config, p *PortMapper) { p.Client.Timeout = time.Hour })
	started := async(func() (int, error) { return 0, n.Start(soon(t)) })
	c := of(l.Accept()).must(t)
	defer c.Close()
	require.NoError(t, n.Close())
	require.ErrorIs(t, arrives(t, started, "Start").err, ErrClosed)
}

// A port mapper that is started anew finds its port free, although a node could have run one
// itself.
func TestPortMapperRestartsBesideEmbed(t *testing.T) {
	addr := port.Vacant(t)
	_, stop := portMapper(t, addr)
	ctx := soon(t)
	log := new(record)
	n := mapped(t, "alice", addr, func(cfg *Config, p *PortMapper) {
		p.Embed, p.EmbedAfter = true, time.Minute
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	})
	require.NoError(t, n.Start(ctx))
	stop()
	require.Eventually(t, func() bool { return len(log.Lines("not registered", "refused")) >= 2 }, tooLong, tick)
	portMapper(t, addr)
	require.Eventually(t, func() bool { return len(log.Lines("registered again")) == 1 }, tooLong, tick)
	require.Empty(t, log.Lines("a port mapper runs"))
}

// Without a port mapper on the machine the first node runs one; when that node goes, another node
// takes over.
func TestPortMapperEmbedded(t *testing.T) {
	addr := port.Vacant(t)
	ctx := soon(t)
	embed := func(_ *Config, p *PortMapper) { p.Embed, p.EmbedAfter = true, time.Nanosecond }
	a, b, c := mapped(t, "alice", addr, embed), mapped(t, "bob", addr, embed), mapped(t, "carol", addr)
	require.NoError(t, a.Start(ctx))
	require.NoError(t, b.Start(ctx))
	require.NoError(t, c.Start(ctx))
	connect(t, c, "bob@127.0.0.1")
	names := func() int { // -1: there is no port mapper
		_, names, err := (&epmd.Client{Addr: addr}).Names(ctx, "")
		if err != nil {
			return -1
		}
		return len(names)
	}
	require.Equal(t, 3, names())
	require.NoError(t, a.Close())
	require.Eventually(t, func() bool { return names() == 2 }, tooLong, 10*time.Millisecond)
	require.NoError(t, b.Close())
	require.Eventually(t, func() bool { return names() == -1 }, tooLong, 10*time.Millisecond, "carol brings none")

	// Of many nodes that start at once one runs it.
	addr = port.Vacant(t)
	var wg sync.WaitGroup
	for _, alive := range strings.Fields("n1 n2 n3 n4 n5 n6 n7 n8") {
		n := mapped(t, alive, addr, embed)
		wg.Go(func() {
			assert.NoError(t, n.Start(ctx))
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool { return names() == 8 }, tooLong, 10*time.Millisecond)
}

// A port mapper that ends while it is being asked, with the node whose process it is part of, is
// followed by one of this process.
func TestPortMapperEmbeddedAsTheOtherEnds(t *testing.T) {
	l := of(net.Listen("tcp", "127.0.0.1:0")).must(t)
	go func() {
		c, err := l.Accept()
		l.Close()
		if err == nil {
			_, _ = c.Read(make([]byte, 100))
			c.Close()
		}
	}()
	n := mapped(t, "alice", l.Addr().String(), func(_ *Config, p *PortMapper) { p.Embed = true })
	require.NoError(t, n.Start(soon(t)))
}

// If something else has the port, without listening there, the error says both: no port mapper is
// there, and none can run.
func TestPortMapperEmbeddedPortTaken(t *testing.T) {
	l := of(net.Listen("tcp", "127.0.0.1:0")).must(t)
	defer l.Close()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}
	c := of(d.DialContext(soon(t), "tcp", l.Addr().String())).must(t)
	defer c.Close()
	n := mapped(t, "alice", c.LocalAddr().String(), func(_ *Config, p *PortMapper) { p.Embed = true })
	err := n.Start(soon(t))
	require.ErrorIs(t, err, epmd.ErrNoPortMapper)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
}

func TestFixedPortAndSocketDirResolve(t *testing.T) {
	ctx := soon(t)
	e := of(FixedPort(4370).Resolve(ctx, "alice@127.0.0.1")).must(t)
	require.Equal(t, transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:4370")), e.Addr)
	e = of(FixedPort(1).Resolve(ctx, "alice@::1")).must(t)
	require.Equal(t, transport.FromAddrPort(netip.MustParseAddrPort("[::1]:1")), e.Addr)
	_, err := FixedPort(1).Resolve(ctx, "alice")
	require.ErrorIs(t, err, dist.ErrInvalidName)
	_, err = FixedPort(1).Resolve(ctx, "alice@host.invalid")
	require.ErrorIs(t, err, ErrUnknownHost)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = FixedPort(1).Resolve(cancelled, "alice@host.invalid")
	require.Error(t, err)

	dir := SocketDir(sockdir.New(t))
	alive := AliveDir(dir) // only what is before the @ counts
	for _, r := range []Resolver{dir, alive} {
		for _, bad := range []string{"alice", "../alice@test", "a/b@test", "a@b@c"} {
			_, err = r.Resolve(ctx, bad)
			require.ErrorIs(t, err, dist.ErrInvalidName, bad)
		}
		_, err = r.Resolve(ctx, strings.Repeat("x", 150)+"@test")
		require.ErrorIs(t, err, syscall.ENAMETOOLONG)
	}
	e = of(alive.Resolve(ctx, "bob@"+strings.Repeat("x", 150))).must(t)
	require.Equal(t, filepath.Join(string(dir), "bob"), e.Addr.(transport.UnixAddr).Path())

	// A node connects by its own UNIX transport, one for all.
	for _, own := range []transport.Transport{transport.WithPolling(transport.Unix(), 0), nil} {
		n := of(New(Config{Name: "alice@test", Cookie: "secret", Resolver: dir, Transport: own})).must(t)
		one := of(n.cfg.Resolver.Resolve(ctx, "bob@test")).must(t)
		require.Same(t, one.Transport, of(n.cfg.Resolver.Resolve(ctx, "carol@test")).must(t).Transport)
		require.Equal(t, "unix", one.Transport.Name())
		if own != nil {
			require.Same(t, own, one.Transport)
		}
		require.NoError(t, n.Close())
	}
}

// Nodes of one machine need to be told nothing but a directory of sockets.
func TestSocketDirAlone(t *testing.T) {
	for _, dir := range []socketDir{SocketDir(sockdir.New(t)), AliveDir(sockdir.New(t))} {
		node := func(name string, tr transport.Transport) *Node {
			return startedAs(t, Config{Name: name, Cookie: "secret", Resolver: dir, Transport: tr})
		}
		// an explicit Transport counts
		a, b, c := node("alice@here", nil), node("bob@here", transport.Unix()), node("carol@here", transport.TCP())
		require.Equal(t, "tcp", c.Listeners()[0].Addr().Network())
		for _, way := range [][2]*Node{{a, b}, {b, a}, {c, a}} {
			conn := connect(t, way[0], way[1].Name())
			require.Equal(t, "unix", conn.Stream().RemoteAddr().Network())
			require.NoError(t, conn.Close())
			require.Eventually(t, func() bool { return way[1].Conn(way[0].Name()) == nil }, tooLong, tick)
		}
		_, err := New(Config{Name: strings.Repeat("x", 200) + "@here", Cookie: "secret", Resolver: dir})
		require.ErrorIs(t, err, syscall.ENAMETOOLONG)
	}
}

// An Erlang node whose name is of the other kind, long or short, would not connect: a warning says
// so.
func TestNamesOfTwoKinds(t *testing.T) {
	for name, want := range map[string]int{"bob@test": 0, "bob@test.example": 1, "bob@127.0.0.1": 1, "bob@::1": 1} {
		log := new(record)
		w := newWorld(t, "memory")
		a := w.started("alice", logsTo(log))
		p := w.peer(a.Listeners()[0], role(name))
		w.conn(a, name)
		require.Eventually(t, func() bool { return len(log.Lines("node up")) == 1 }, tooLong, tick)
		p.Close()
		require.NoError(t, a.Close())
		require.Len(t, log.Lines("level=WARN", "-sname"), want, name)
	}
}

// A node must listen at the address at which other nodes look for it.
func TestCheckReachable(t *testing.T) {
	for _, tc := range []struct{ name, at, says string }{
		{"a@127.0.0.1", "127.0.0.1:5", ""},
		{"a@localhost", "127.0.0.1:5", ""},
		{"a@127.0.1.1", "127.0.0.1:5", "will look for this one at 127.0.1.1, but it listens on 127.0.0.1 only"},
		{"a@127.0.1.1", "127.0.1.1:5", ""},
		{"a@192.0.2.1", "127.0.0.1:5", "at 192.0.2.1"},
		{"a@192.0.2.1", "0.0.0.0:5", ""},
		{"a@192.0.2.1", "192.0.2.2:5", ""}, // one address may be forwarded to another
		{"a@no-such-host.invalid", "127.0.0.1:5", "has no address"},
		{"a@anywhere", "unix:/tmp/a", ""},
	} {
		addr := of(transport.ParseAddr(tc.at)).must(t)
		err := CheckReachable(t.Context(), tc.name, addr)
		if tc.says == "" {
			require.NoError(t, err, tc.name)
		} else {
			require.ErrorContains(t, err, tc.says, tc.name)
		}
	}
}
