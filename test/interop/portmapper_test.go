package interop

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	vacant "github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
)

// known is how an Erlang node sees the registration of a node.
func known(t *testing.T, erl *otp.Node, n *nodes.Node) {
	t.Helper()
	alive, _, err := dist.SplitName(n.Name())
	require.NoError(t, err)
	at, err := transport.AddrPort(n.Listeners()[0].Addr())
	require.NoError(t, err)
	port := strconv.Itoa(int(at.Port()))
	require.Equal(t, "{port,"+port+",6}", erl.Eval(t, `erl_epmd:port_please("`+alive+`", {127,0,0,1})`))
	require.Equal(t, "{value,{\""+alive+"\","+port+"}}", erl.Eval(t,
		`{ok, All} = net_adm:names({127,0,0,1}), lists:keysearch("`+alive+`", 1, All)`))
	require.Equal(t, "pong", erl.Eval(t, "net_adm:ping('"+n.Name()+"')"))
}

// gone waits until the port mapper of an Erlang node has forgotten a name.
func gone(t *testing.T, erl *otp.Node, alive string) {
	t.Helper()
	require.Equal(t, "gone", erl.Eval(t, `(fun F() -> case erl_epmd:port_please("`+alive+`", {127,0,0,1}) of
		noport -> gone; _ -> timer:sleep(1), F() end end)()`))
}

// The port mapper of OTP.
func TestPublish(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := start(t, r, otp.Options{EpmdPort: port})
		cfg := config(port)
		hidden := startNode(t, cfg)
		known(t, erl, hidden)
		require.NotZero(t, hidden.Creation())
		visible := config(port)
		visible.Visible = true
		known(t, erl, startNode(t, visible))

		client := gonode.Mapper(port).Client
		for name, want := range map[string]epmd.NodeType{cfg.Name: epmd.TypeHidden, visible.Name: epmd.TypeNormal, erl.Name(): epmd.TypeNormal} {
			alive, _, _ := dist.SplitName(name)
			info, err := client.Resolve(background(t), "", alive)
			require.NoError(t, err)
			require.Equal(t, want, info.Type, name)
		}
		err := newNode(t, cfg).Start(background(t))
		require.ErrorIs(t, err, epmd.ErrNameTaken)

		// The name is free again, and what is connected stays so.
		require.NoError(t, hidden.Unpublish(context.Background()))
		alive, _, _ := dist.SplitName(cfg.Name)
		gone(t, erl, alive)
		require.Equal(t, "pong", erl.Eval(t, "net_adm:ping('"+hidden.Name()+"')"))
		again := startNode(t, cfg)
		require.Equal(t, "true", erl.Eval(t, "disconnect_node('"+hidden.Name()+"')"))
		known(t, erl, again)
		require.NotEqual(t, hidden.Creation(), again.Creation())
	})
}

// A node with PortMapper.Embed runs a port mapper if there is none, and replaces one that has gone.
func TestEmbeddedPortMapper(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port, stop, err := r.LaunchEpmd()
		require.NoError(t, err)
		defer stop()
		resolver := gonode.Mapper(port)
		resolver.Embed, resolver.EmbedAfter = true, 100*time.Millisecond
		cfg := config(port)
		cfg.Resolver = resolver
		n := startNode(t, cfg)
		creation := n.Creation()
		old := start(t, r, otp.Options{EpmdPort: port})
		known(t, old, n)

		stop()
		alive, _, _ := dist.SplitName(n.Name())
		registered := func() bool {
			_, err := resolver.Client.Resolve(background(t), "", alive)
			return err == nil
		}
		require.Eventually(t, registered, limit, 5*time.Millisecond)
		erl := start(t, r, otp.Options{EpmdPort: port})
		known(t, erl, n)
		require.Equal(t, creation, n.Creation())
		require.Equal(t, "pong", old.Eval(t, "net_adm:ping('"+erl.Name()+"')"))

		// The port mapper ends with the node; the next node starts another.
		require.NoError(t, n.Close())
		_, _, err = resolver.Client.Names(background(t), "")
		require.ErrorIs(t, err, epmd.ErrNoPortMapper)
		cfg.Name = uniqueName()
		next := startNode(t, cfg)
		require.Eventually(t, func() bool { // the Erlang node registers again by itself
			_, err := resolver.Client.Resolve(background(t), "", erl.Alive())
			return err == nil
		}, limit, 20*time.Millisecond)
		known(t, erl, next)
	})
}

// A node connects to where the port mapper says that its peer is now. A node that has the peer's
// old port by then is not bothered.
func TestPeerMoves(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		// ports that no other program gets between one node and the next
		listens := func() []string {
			at := strconv.Itoa(vacant.Free(t))
			return []string{"-kernel", "inet_dist_listen_min", at, "inet_dist_listen_max", at}
		}
		first, second := listens(), listens()
		was := start(t, r, otp.Options{EpmdPort: port, ExtraArgs: first})
		cfg := config(port)
		n := newNode(t, cfg)
		connect := func(name string) {
			t.Helper()
			c, err := n.Connect(background(t), name)
			require.NoError(t, err)
			two, err := c.RPC(background(t), "erlang", "+", 1, 1)
			require.NoError(t, err)
			require.Equal(t, ei.Int(2), two)
			require.NoError(t, c.Shutdown(background(t)))
		}
		connect(was.Name())
		connect(was.Name())

		was.Stop(t)
		other := start(t, r, otp.Options{EpmdPort: port, ExtraArgs: first})
		is := start(t, r, otp.Options{EpmdPort: port, Name: was.Name(), ExtraArgs: second})
		said := other.Log()
		connect(is.Name())
		require.Equal(t, said, other.Log())
		require.Equal(t, "[]", other.Eval(t, "nodes(connected)"))
		connect(is.Name())

		// Nor is it if it has a connection with this node already.
		is.Stop(t)
		other = start(t, r, otp.Options{EpmdPort: port, ExtraArgs: second})
		c, err := n.Connect(background(t), other.Name())
		require.NoError(t, err)
		is = start(t, r, otp.Options{EpmdPort: port, Name: was.Name()})
		said = other.Log()
		connect(is.Name())
		two, err := c.RPC(background(t), "erlang", "+", 1, 1)
		require.NoError(t, err)
		require.Equal(t, ei.Int(2), two)
		require.Equal(t, said, other.Log())
		require.NoError(t, c.Close())
	})
}
