package drain

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/nodes/pg"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

//go:embed testdata/shop.erl
var shop string

// start starts an Erlang node with the module shop and scope pg.
func start(t *testing.T, r otp.Release, port int) *otp.Node {
	t.Helper()
	e := r.Start(t, otp.Options{EpmdPort: port})
	e.Load(t, shop)
	require.Equal(t, "ok", e.Do(t, "{ok, _} = pg:start(pg), ok"))
	return e
}

// What another node sees of the processes that stop, in this order, and what it finds afterwards.
const (
	seen   = "[{down,idle,shutdown},{answer,{reply,done}},{down,busy,shutdown}]"
	absent = "{noproc,{exit,noproc},[],undefined}"
)

// work is for how long the busy process works, in milliseconds: long enough to look at the others
// meanwhile, and less than it may take.
const work = 2500

// The model: gen_servers that trap exits, of an application that stops, alone or with its node.
func TestApplicationStops(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		e, o := start(t, r, port), start(t, r, port)
		require.Equal(t, "true", e.Eval(t, "net_kernel:connect_node('"+o.Name()+"')"))
		require.Equal(t, "ok", o.Do(t, "ok = global:sync(), shop:load()"))
		node := "'" + o.Name() + "'"
		for _, how := range []string{"application:stop(shop)", "init:stop()"} {
			require.Equal(t, "ok", o.Do(t, "application:start(shop)"))
			e.Becomes(t, "length(pg:get_members(idle))", "1")
			require.Equal(t, "ok", e.Do(t, fmt.Sprintf(
				"[P, Q] = [rpc:call(%s, erlang, whereis, [N]) || N <- [idle, busy]], "+
					"persistent_term:put(idle, P), persistent_term:put(w, shop:watch(P, Q, %d))", node, work)))
			require.Equal(t, "ok", e.Do(t, "spawn("+node+", fun() -> "+how+" end), ok"))
			e.Becomes(t, "shop:seen(persistent_term:get(w))", seen)
			if how != "init:stop()" {
				require.Equal(t, absent, e.Eval(t, "shop:find("+node+", persistent_term:get(idle))"))
			}
		}
	})
}

// A Go node that drains leaves pg and global, and serves on; when it stops, the same is seen of its
// Servers as of an OTP application's.
func TestNodeDrainsAndStops(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		e := start(t, r, port)
		n, idle := goNode(t, port, e)
		node := "'" + n.Name() + "'"
		e.Becomes(t, "[length(pg:get_members(N)) || N <- [idle, busy]]", "[1,1]")
		require.Equal(t, "ok", e.Do(t, fmt.Sprintf("persistent_term:put(idle, global:whereis_name({shop, idle})), "+
			"persistent_term:put(b, global:whereis_name({shop, busy}))")))

		require.NoError(t, n.Drain(expect.Context(t)))
		e.Becomes(t, "{[pg:get_members(N) || N <- [idle, busy]], [global:whereis_name({shop, N}) || N <- [idle, busy]]}",
			"{[[],[]],[undefined,undefined]}")
		require.Equal(t, "false", e.Eval(t, "{ok, Names} = erl_epmd:names({127,0,0,1}), lists:keymember(\"shop\", 1, Names)"))
		require.Equal(t, "done", e.Eval(t, "gen_server:call({idle, "+node+"}, {work, self(), 0})"), "it serves on")
		require.Equal(t, "ok", e.Do(t, fmt.Sprintf(
			"persistent_term:put(w, shop:watch(persistent_term:get(idle), persistent_term:get(b), %d))", work)))
		require.Equal(t, "[]", e.Eval(t, "shop:seen(persistent_term:get(w))"), "nothing has ended yet")
		require.NoError(t, n.Drain(expect.Context(t)), "once more")

		late := make(chan error, 1)
		go func() { late <- n.Shutdown(context.Background()) }()
		e.Becomes(t, "shop:seen(persistent_term:get(w))", "[{down,idle,shutdown}]")
		require.Equal(t, nodes.StateStopping, n.State())
		require.Equal(t, absent, e.Eval(t, "shop:find("+node+", persistent_term:get(idle))"))
		e.Becomes(t, "shop:seen(persistent_term:get(w))", seen)
		require.NoError(t, <-late)
		require.Error(t, idle.Err())
	})
}

// goNode starts a Go node with the two Servers, which are members of groups, and have global names.
func goNode(t *testing.T, port int, e *otp.Node) (n *nodes.Node, idle *nodes.Mailbox) {
	t.Helper()
	var scope *pg.Scope
	var names *global.Global
	boxes := map[string]*nodes.Mailbox{}
	cfg := gonode.Config(t, "shop@127.0.0.1", port)
	cfg.Visible = true
	cfg.Setup = func(n *nodes.Node) (err error) {
		if scope, err = pg.Start(t.Context(), n, "", nil); err != nil {
			return err
		}
		names, err = global.Start(t.Context(), n, nil)
		return err
	}
	t.Cleanup(func() { scope.Close() })
	n = gonode.Start(t, cfg)
	for _, name := range []string{"idle", "busy"} {
		b, err := n.Serve(name, nodes.Server{On: map[string]nodes.Func{
			"work": nodes.FuncOf(func(ctx context.Context, from ei.Pid, ms int) (ei.Atom, error) {
				err := nodes.MailboxOf(ctx).Send(ctx, from, ei.Atom("started"))
				time.Sleep(time.Duration(ms) * time.Millisecond)
				return "done", err
			}),
		}}, nil)
		require.NoError(t, err)
		require.NoError(t, scope.Join(expect.Context(t), ei.Atom(name), b))
		boxes[name] = b
	}
	_, err := n.Connect(expect.Context(t), e.Name())
	require.NoError(t, err)
	require.NoError(t, names.Sync(expect.Context(t)))
	for name, b := range boxes {
		require.NoError(t, names.Register(expect.Context(t), ei.Tuple{ei.Atom("shop"), ei.Atom(name)}, b, global.Method{}))
	}
	return n, boxes["idle"]
}
