package interop

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
)

// addrOf is where an Erlang node listens.
func addrOf(t testing.TB, erl *otp.Node) transport.Addr {
	t.Helper()
	info, err := gonode.Mapper(erl.EpmdPort()).Client.Resolve(background(t), "", erl.Alive())
	require.NoError(t, err)
	return parseAddr(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(int(info.Port))))
}

func parseAddr(t testing.TB, text string) transport.Addr {
	t.Helper()
	addr, err := transport.ParseAddr(text)
	require.NoError(t, err)
	return addr
}

func connect(t *testing.T, m *meeting) {
	erl, n, ctx := m.erl, newNode(t, config(m.erl.EpmdPort())), background(t)
	c, err := n.Connect(ctx, erl.Name())
	require.NoError(t, err)
	p := c.Peer()
	require.Equal(t, erl.Name(), p.Name)
	require.Equal(t, dist.Version6, p.Version)
	require.Equal(t, protocol.StatusOK, p.Status)
	require.True(t, p.Announced.Has(dist.FlagPublished), "a visible node")
	require.False(t, p.Flags.Has(dist.FlagPublished), "we are hidden")
	require.True(t, p.Flags.Has(dist.FlagSpawn|dist.FlagAlias|dist.FlagUnlinkID|dist.FlagV4NC|dist.FlagExitPayload), p.Flags)
	require.Equal(t, erl.Do(t, "erlang:system_info(creation)"), strconv.FormatUint(uint64(p.Creation), 10))
	got, err := c.RPC(ctx, "erlang", "nodes", ei.Atom("hidden"))
	require.NoError(t, err)
	require.Equal(t, "['"+n.Name()+"']", got.String())
	require.Equal(t, []string{erl.Name()}, n.Peers())

	again, err := n.Connect(ctx, erl.Name())
	require.NoError(t, err)
	require.Same(t, c, again)
	_, err = n.Connect(ctx, n.Name())
	require.ErrorIs(t, err, dist.ErrSelf)

	erl.Do(t, "monitor_node('"+n.Name()+"', true)")
	require.NoError(t, c.Close())
	require.Equal(t, "down", erl.Eval(t, "receive {nodedown, _} -> down after 20000 -> none end"))
	require.Equal(t, "[]", erl.Eval(t, "nodes(hidden)"))

	addr := addrOf(t, erl)
	_, err = n.ConnectAddr(ctx, addr, "other@127.0.0.1")
	require.ErrorIs(t, err, dist.ErrWrongPeer)
	require.ErrorContains(t, err, erl.Name())
	// Another node: the Erlang node answers nok until it has forgotten an attempt that we have
	// broken off, which may take a while.
	n = newNode(t, config(erl.EpmdPort()))
	c, err = n.ConnectAddr(ctx, addr, "")
	require.NoError(t, err)
	require.Equal(t, erl.Name(), c.Name())

	_, err = n.Connect(ctx, "nobody@127.0.0.1")
	require.ErrorIs(t, err, epmd.ErrNotRegistered)
	_, err = n.Connect(ctx, "nobody@host.invalid")
	require.ErrorIs(t, err, nodes.ErrUnknownHost)
	_, err = n.Connect(ctx, "nobody")
	require.ErrorIs(t, err, dist.ErrInvalidName)
}

// What two Erlang nodes see of us.
func TestVisible(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl, other := start(t, r, otp.Options{EpmdPort: port}), start(t, r, otp.Options{EpmdPort: port})
		for name, f := range map[string]func(t *testing.T, erl, other *otp.Node){
			"cookies": cookies, "visible": visible, "a name that is given": dynamicVisible,
		} {
			t.Run(name, func(t *testing.T) {
				erl.Anew(t)
				other.Anew(t)
				f(t, erl, other)
			})
		}
	})
}

// Visible nodes are among nodes(), hidden ones among nodes(hidden). Our visible node does not speak
// the protocol of global, and global works in spite of that. (Only global:sync/0 waits for every
// node of nodes(), so for ours it waits for ever.)
func visible(t *testing.T, erl, other *otp.Node) {
	cfg := config(erl.EpmdPort())
	cfg.Visible = true
	seen := startNode(t, cfg)
	hidden := startNode(t, config(erl.EpmdPort()))
	for _, n := range []*nodes.Node{seen, hidden} {
		require.Equal(t, "pong", erl.Eval(t, "net_adm:ping('"+n.Name()+"')"))
	}
	require.Equal(t, "['"+seen.Name()+"']", erl.Eval(t, "nodes()"))
	require.Equal(t, "['"+hidden.Name()+"']", erl.Eval(t, "nodes(hidden)"))
	require.Equal(t, "pong", erl.Eval(t, "net_adm:ping('"+other.Name()+"')"))
	require.Equal(t, "yes", erl.Eval(t, "global:register_name(somebody, self())"))
	require.Equal(t, "true", other.Eval(t, "(fun F() -> case global:whereis_name(somebody) of undefined -> timer:sleep(20), F(); P "+
		"-> is_pid(P) end end)()"))
	got, err := seen.RPC(background(t), erl.Name(), "erlang", "nodes")
	require.NoError(t, err)
	require.Contains(t, got.String(), seen.Name())
	require.Contains(t, got.String(), other.Name())
}

// A wrong cookie has a typed error on both sides, which says so.
func wrongCookie(t *testing.T, m *meeting) {
	erl, port := m.erl, m.erl.EpmdPort()
	failed := make(chan error, 1)
	cfg := config(port)
	cfg.Cookie = "another"
	cfg.HandshakeFailed = func(_ transport.Addr, err error) { failed <- err }
	n := startNode(t, cfg)

	_, err := n.Connect(background(t), erl.Name())
	var he *dist.HandshakeError
	require.ErrorAs(t, err, &he)
	require.Equal(t, protocol.PhaseChallengeAck, he.Phase)
	require.Equal(t, erl.Name(), he.Peer)
	require.ErrorContains(t, err, "wrong cookie")

	require.Equal(t, "pang", erl.Eval(t, "net_adm:ping('"+n.Name()+"')"))
	err = await(t, failed)
	require.ErrorIs(t, err, dist.ErrBadCookie)
	require.ErrorContains(t, err, erl.Name())
	require.Equal(t, "pong", erl.Eval(t, "erlang:set_cookie('"+n.Name()+"', another), net_adm:ping('"+n.Name()+"')"))
}

// A cookie for one peer, on either side and on both, as erlang:set_cookie(Node, Cookie).
func cookies(t *testing.T, erl, other *otp.Node) {
	cfg := config(erl.EpmdPort())
	cfg.Cookie, cfg.Cookies = "ours", map[string]string{erl.Name(): "for two", other.Name(): otp.DefaultCookie}
	n := startNode(t, cfg)

	// erl is told its cookie for our node; other uses its own cookie for all nodes.
	require.Equal(t, "pang", erl.Eval(t, "net_adm:ping('"+n.Name()+"')"))
	require.Equal(t, "true", erl.Eval(t, "erlang:set_cookie('"+n.Name()+"', 'for two')"))
	for _, peer := range []*otp.Node{erl, other} {
		require.Equal(t, "pong", peer.Eval(t, "net_adm:ping('"+n.Name()+"')"), "it connects")
		c := n.Conn(peer.Name())
		require.NotNil(t, c)
		require.NoError(t, c.Close())
		require.Equal(t, "ok", peer.Eval(t, "(fun F() -> case lists:member('"+n.Name()+
			"', nodes(hidden)) of true -> timer:sleep(5), F(); false -> ok end end)()"))
		_, err := n.Connect(background(t), peer.Name())
		require.NoError(t, err, "we connect")
	}
	require.Equal(t, "pong", erl.Eval(t, "net_adm:ping('"+other.Name()+"')"))

	require.NoError(t, n.Conn(erl.Name()).Close())
	require.NoError(t, n.SetCookie(erl.Name(), "another"))
	require.Equal(t, "pang", erl.Eval(t, "net_adm:ping('"+n.Name()+"')"))
	require.Equal(t, "pong", erl.Eval(t, "erlang:set_cookie('"+n.Name()+"', another), net_adm:ping('"+n.Name()+"')"))
}

// A node refuses us for flags that we do not announce: the error names them.
func tooFewFlags(t *testing.T, m *meeting) {
	erl, port := m.erl, m.erl.EpmdPort()
	for _, tt := range []struct {
		lacking dist.Flags
		name    string
		ok      bool
	}{
		{dist.FlagMandatory25Digest, "", true},
		{dist.Mandatory25, "", true}, // the digest stands for them
		{dist.FlagMandatory25Digest | dist.FlagMapTag, "DFLAG_MAP_TAG", false},
		{dist.FlagV4NC, "DFLAG_V4_NC", erl.Release().Number < 26},
		{dist.FlagUnlinkID, "DFLAG_UNLINK_ID", erl.Release().Number < 26},
	} {
		failed := make(chan error, 1)
		cfg := config(port)
		cfg.Flags = dist.FlagsDefault &^ tt.lacking
		cfg.HandshakeFailed = func(_ transport.Addr, err error) { failed <- err }
		n := startNode(t, cfg)
		c, err := n.Connect(background(t), erl.Name())
		if tt.ok {
			require.NoError(t, err)
			require.Equal(t, "true", erl.Eval(t, "monitor_node('"+n.Name()+"', true)"))
			require.NoError(t, c.Close())
			require.Equal(t, "pong", erl.Eval(t, "receive {nodedown, _} -> net_adm:ping('"+n.Name()+"') end"))
			continue
		}
		require.ErrorIs(t, err, dist.ErrNotAllowed)
		require.ErrorContains(t, err, tt.name)
		require.Equal(t, "pang", erl.Eval(t, "net_adm:ping('"+n.Name()+"')"))
		require.ErrorContains(t, await(t, failed), tt.name)
	}
}

// The handshake of OTP 22 and before. OTP 25 closes the connection up to 25.2, and takes it again
// from 25.3 on.
func version5(t *testing.T, m *meeting) {
	erl, port := m.erl, m.erl.EpmdPort()
	cfg := config(port)
	cfg.Resolver = nodes.Static{erl.Name(): {Addr: addrOf(t, erl), Version5: true}}
	n := startNode(t, cfg)
	c, err := n.Connect(background(t), erl.Name())
	if erl.Release().Number == 25 && err != nil { // it closes the connection
		require.ErrorIs(t, err, closedByPeer())
		require.ErrorContains(t, err, "handshake version")
		return
	}
	require.NoError(t, err)
	require.Equal(t, dist.Version5, c.Peer().Version)
	require.True(t, c.Peer().Flags.Has(dist.FlagSpawn|dist.FlagV4NC), c.Peer().Flags)
	got, err := n.RPC(background(t), erl.Name(), "erlang", "abs", -7)
	require.NoError(t, err)
	require.Equal(t, "7", got.String())
	b, err := n.NewMailbox(nil)
	require.NoError(t, err)
	_, err = n.RPC(background(t), erl.Name(), "erlang", "send", b.Pid(), b.Pid())
	require.NoError(t, err)
	require.Equal(t, b.Pid().String(), receive(t, b))
	require.Equal(t, "{x}", erl.Eval(t, "{ok, X} = {ok, rpc:call('"+n.Name()+"', nowhere, nothing, [])}, {badrpc, _} = X, {x}"))
}

// A second node of our name takes the place of the first: the Erlang node asks whether the old
// connection is dead, and we say yes.
func duplicateName(t *testing.T, m *meeting) {
	erl, port := m.erl, m.erl.EpmdPort()
	cfg := config(port)
	first, second := newNode(t, cfg), newNode(t, cfg)
	c, err := first.Connect(background(t), erl.Name())
	require.NoError(t, err)
	require.Equal(t, protocol.StatusOK, c.Peer().Status)
	d, err := second.Connect(background(t), erl.Name())
	require.NoError(t, err)
	require.Equal(t, protocol.StatusAlive, d.Peer().Status)
	_, err = c.Receive(background(t))
	require.ErrorIs(t, err, closedByPeer())
	got, err := d.RPC(background(t), "erlang", "nodes", ei.Atom("hidden"))
	require.NoError(t, err)
	require.Equal(t, "['"+second.Name()+"']", got.String())
}

// A second Erlang node connects under the name of a connected one: we ask it about the old
// connection, as Erlang nodes do, and then drop that.
func TestDuplicateErlang(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		m := newMeeting(t, r)
		b := m.mailbox(t, "B", nil)
		c := m.n.Conn(m.erl.Name())
		ref, err := b.MonitorName(background(t), m.erl.Name(), "init")
		require.NoError(t, err)
		m.erl.Pause(t) // as if its machine had lost power: the connection stays

		// Another port mapper, which knows us too: one port mapper does not take the name twice.
		mapper := gonode.Mapper(r.Epmd(t))
		at, err := transport.AddrPort(m.n.Listeners()[0].Addr())
		require.NoError(t, err)
		alive, _, _ := dist.SplitName(m.n.Name())
		reg, err := mapper.Client.Register(background(t), epmd.Registration{Name: alive, Port: at.Port(), Type: epmd.TypeHidden})
		require.NoError(t, err)
		defer reg.Close()
		_, port, err := net.SplitHostPort(mapper.Client.Addr)
		require.NoError(t, err)
		number, err := strconv.Atoi(port)
		require.NoError(t, err)
		again := start(t, r, otp.Options{Name: m.erl.Name(), EpmdPort: number})
		require.Equal(t, "pong", again.Eval(t, "net_adm:ping('"+m.n.Name()+"')"))

		await(t, c.Done())
		require.ErrorIs(t, c.Err(), nodes.ErrSuperseded)
		require.Equal(t, "noconnection", down(t, b, ref))
		got, err := m.n.RPC(background(t), again.Name(), "os", "getpid")
		require.NoError(t, err)
		require.Equal(t, strconv.Quote(strconv.Itoa(again.Pid())), got.String())
		m.erl.Continue(t)
	})
}

// The Erlang node gives us a name.
func dynamicName(t *testing.T, m *meeting) {
	erl, port := m.erl, m.erl.EpmdPort()
	cfg := config(port)
	cfg.Name, cfg.Host = "", "127.0.0.1"
	n := newNode(t, cfg)
	m.n = n
	require.Empty(t, n.Name())
	_, err := n.NewMailbox(nil)
	require.ErrorIs(t, err, nodes.ErrUnnamed)
	_, err = n.Listen(background(t), nil)
	require.ErrorIs(t, err, nodes.ErrUnnamed)

	c, err := n.Connect(background(t), erl.Name())
	require.NoError(t, err)
	name := n.Name()
	require.Regexp(t, `^[0-9A-Z]+@127\.0\.0\.1$`, name)
	require.Equal(t, c.Peer().SelfName, name)
	require.Equal(t, c.Peer().SelfCreation, n.Creation())
	require.NoError(t, n.Start(background(t)))
	b := m.mailbox(t, "B", nil)
	m.is(t, [][2]string{
		{`nodes(hidden) =:= [N]`, `true`},
		{`net_adm:ping(N)`, `pong`},
		{`node(B) =:= N`, `true`},
		{`B ! {to, N}, element(1, rpc:call(N, no, where, []))`, `badrpc`},
	})
	require.Equal(t, "{to,'"+name+"'}", receive(t, b))

	// It keeps the name when it comes back.
	require.NoError(t, c.Close())
	_, err = n.Connect(background(t), erl.Name())
	require.NoError(t, err)
	require.Equal(t, name, n.Name())
	m.is(t, [][2]string{{`B ! back`, `back`}})
	require.Equal(t, "back", receive(t, b))
}

// An Erlang node takes whoever asks it for a name for hidden, as it does a BEAM. Its other
// connections, and the same one made again, are not concerned.
func dynamicVisible(t *testing.T, namer, other *otp.Node) {
	cfg := config(namer.EpmdPort())
	cfg.Name, cfg.Host, cfg.Visible = "", "127.0.0.1", true
	n := newNode(t, cfg)
	c, err := n.Connect(background(t), namer.Name())
	require.NoError(t, err)
	_, err = n.Connect(background(t), other.Name())
	require.NoError(t, err)
	// soon: it says that it knows the cookie before it lists the node
	lists := func(erl *otp.Node, nodes string) {
		t.Helper()
		require.Equal(t, "true", erl.Eval(t, "(fun F() -> case "+nodes+" of ['"+n.Name()+"'] -> true; _ -> timer:sleep(20), F() end end)()"))
	}
	lists(namer, "nodes(hidden)")
	lists(other, "nodes()")

	require.NoError(t, c.Close())
	_, err = n.Connect(background(t), namer.Name())
	require.NoError(t, err)
	lists(namer, "nodes()")
}

// We give an Erlang node a name.
func TestDynamicErlang(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		n := startNode(t, config(port))
		erl := start(t, r, otp.Options{Name: "undefined", EpmdPort: port})
		require.Equal(t, "nonode@nohost", erl.Eval(t, "node()"))
		require.Equal(t, "true", erl.Eval(t, "net_kernel:connect_node('"+n.Name()+"')"))
		// the acknowledgement goes out first
		require.Eventually(t, func() bool { return len(n.Peers()) == 1 }, limit, time.Millisecond)
		name := n.Peers()[0]
		require.Regexp(t, `^[0-9A-Z]+@`, name)
		require.Equal(t, "'"+name+"'", erl.Eval(t, "node()"))
		got, err := n.RPC(background(t), name, "erlang", "node")
		require.NoError(t, err)
		require.Equal(t, "'"+name+"'", got.String())
		require.Equal(t, "pong", erl.Eval(t, "net_adm:ping('"+n.Name()+"')"))
	})
}

// Short names, and names with the less usual address family.
func TestOtherNames(t *testing.T) {
	needsTCP(t, "the certificates are for 127.0.0.1")
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		for name, tt := range map[string]struct {
			options otp.Options
			host    string
			listen  string
		}{
			"short": {otp.Options{Short: true}, "localhost", "127.0.0.1:0"},
			"IPv6": {otp.Options{Name: "six@::1", ExtraArgs: []string{"-proto_dist", "inet6_tcp", "-kernel", "inet_dist_use_interface",
				"{0,0,0,0,0,0,0,1}"}}, "::1", "[::1]:0"},
		} {
			t.Run(name, func(t *testing.T) {
				if tt.host == "::1" {
					need.IPv6(t)
				}
				tt.options.EpmdPort = port
				erl := start(t, r, tt.options)
				cfg := config(port)
				cfg.Name, cfg.Host, cfg.Alive = "", tt.host, "other"
				cfg.Listen = parseAddr(t, tt.listen)
				m := &meeting{erl: erl, n: startNode(t, cfg)}
				got, err := m.n.RPC(background(t), erl.Name(), "erlang", "node")
				require.NoError(t, err)
				require.Equal(t, ei.Atom(erl.Name()), got)
				m.is(t, [][2]string{
					{`nodes(hidden) =:= [N]`, `true`},
					{`monitor_node(N, true), disconnect_node(N), receive {nodedown, N} -> net_adm:ping(N) end`, `pong`},
				})
			})
		}
	})
}
