package discovery

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/discovery"
	"github.com/cnode-go/cnode/nodes/epmd"
)

// A visible and a hidden Erlang node, and another Go node, are connected to; one that is killed,
// and started again under its name, is connected to again; back-off and reasons are told.
func TestKeepThroughKill(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		seen := r.Start(t, otp.Options{EpmdPort: port})
		unseen := r.Start(t, otp.Options{EpmdPort: port, Hidden: true})
		other := gonode.Start(t, gonode.Config(t, "other@127.0.0.1", port))
		cfg := gonode.Config(t, "go@127.0.0.1", port)
		cfg.Visible = true
		n := gonode.Start(t, cfg)
		news := watched(t, n)
		e := &events{}
		k := keep(t, n, discovery.List{seen.Name(), unseen.Name(), other.Name(), n.Name()}, e.options())
		for range 3 {
			require.True(t, news().Up)
		}
		for _, name := range []string{seen.Name(), unseen.Name(), other.Name()} {
			require.Equal(t, "connected", e.next(t, name).what)
		}
		seen.Becomes(t, "nodes()", "['go@127.0.0.1']")
		unseen.Becomes(t, "nodes(hidden)", "['go@127.0.0.1']")
		require.Eventually(t, func() bool { return slices.Equal([]string{n.Name()}, other.Peers()) }, expect.Limit, time.Millisecond)

		began := time.Now()
		seen.Kill()
		down := news()
		require.Equal(t, seen.Name(), down.Node)
		require.Equal(t, nodes.VisibleNodes, down.Type)
		require.Equal(t, nodes.DownClosedThere, down.Why, "%v", down.Err)
		lost := e.next(t, seen.Name())
		require.Equal(t, "lost", lost.what)
		require.Equal(t, nodes.DownClosedThere, lost.Why)
		require.False(t, lost.Next.Before(began.Add(10*time.Millisecond)))
		unregistered := false
		for i := 0; i < 3 || !unregistered; i++ { // its socket, or its name, may be there for a moment
			failed := e.next(t, seen.Name())
			require.Equal(t, "failed", failed.what)
			require.Equal(t, i+1, failed.Attempts)
			unregistered = errors.Is(failed.Err, epmd.ErrNotRegistered)
			var why *nodes.Error
			require.ErrorAs(t, failed.Err, &why)
			require.Equal(t, seen.Name(), why.Peer)
		}
		again := r.Start(t, otp.Options{EpmdPort: port, Name: seen.Alive()})
		require.Equal(t, "connected", e.next(t, seen.Name(), "failed").what)
		require.Equal(t, nodes.NodeEvent{Node: seen.Name(), Up: true, Type: nodes.VisibleNodes}, news())
		require.Eventually(t, func() bool { return again.Eval(t, "nodes()") == "['go@127.0.0.1']" }, expect.Limit, 10*time.Millisecond,
			"a node that starts may close its first connection, on a busy machine")

		// the peer disconnects; and stops in an orderly way
		require.Equal(t, "true", unseen.Eval(t, "erlang:disconnect_node('go@127.0.0.1')"))
		require.Equal(t, nodes.DownClosedThere, e.next(t, unseen.Name()).Why)
		require.Equal(t, "connected", e.next(t, unseen.Name(), "failed").what)
		unseen.Stop(t)
		require.Equal(t, "lost", e.next(t, unseen.Name()).what)
		for _, p := range k.Peers() {
			require.Equal(t, p.Node != unseen.Name(), p.Up, "%+v", p)
		}
	})
}

// A node that does not let itself be connected to by others (dist_auto_connect never), and whose
// cookie is another one at first.
func TestKeepRefused(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		never := []string{"-kernel", "dist_auto_connect", "never"}
		erl := r.Start(t, otp.Options{EpmdPort: port, Cookie: "another", ExtraArgs: never})
		n := gonode.Start(t, gonode.Config(t, "go@127.0.0.1", port))
		e := &events{}
		keep(t, n, discovery.List{erl.Name()}, e.options())
		require.Equal(t, "failed", e.next(t, erl.Name()).what)
		require.Equal(t, "failed", e.next(t, erl.Name()).what)
		require.Equal(t, "true", erl.Eval(t, fmt.Sprintf("erlang:set_cookie(%s)", otp.DefaultCookie)))
		require.Equal(t, "connected", e.next(t, erl.Name(), "failed").what)
		erl.Becomes(t, "nodes(hidden)", "['go@127.0.0.1']")
	})
}

// counting makes a process that counts nodeups and nodedowns.
const counting = `register(watch, spawn(fun() ->
	net_kernel:monitor_nodes(true, #{node_type => all}),
	(fun F(U, D) -> receive
		{all, P} -> P ! {U, D}, F(U, D);
		{nodeup, _, _} -> F(U + 1, D);
		{nodedown, _, _} -> F(U, D + 1)
	end end)(0, 0)
end))`

// Several Keepers, and what Erlang sends meanwhile, make one connection after the other.
func TestKeepTogether(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := r.Start(t, otp.Options{EpmdPort: port})
		n := gonode.Start(t, gonode.Config(t, "go@127.0.0.1", port))
		erl.Eval(t, counting+`, spawn(fun F() -> {x, 'go@127.0.0.1'} ! y, receive after 1 -> F() end end)`)
		var all [3]events
		for i := range all {
			keep(t, n, discovery.List{erl.Name()}, all[i].options())
		}
		for i := range 10 {
			for k := range all {
				got := all[k].next(t, erl.Name())
				require.Equal(t, "connected", got.what, "%v", got.Err)
			}
			if i < 9 {
				require.NoError(t, n.Conn(erl.Name()).Close())
				for k := range all {
					require.Equal(t, "lost", all[k].next(t, erl.Name()).what)
				}
			}
		}
		require.EqualValues(t, 10, n.Stats().Connections)
		require.Eventually(t, func() bool { return erl.Eval(t, `watch ! {all, self()}, receive L -> L end`) == "{10,9}" },
			expect.Limit, 10*time.Millisecond)
	})
}

// The names that a port mapper has, also when they change.
func TestKeepPortMapperList(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		a := r.Start(t, otp.Options{EpmdPort: port})
		n := gonode.Start(t, gonode.Config(t, "go@127.0.0.1", port))
		e := &events{}
		o := e.options()
		o.Disconnect = true
		k := keep(t, n, discovery.EPMD{Client: gonode.Mapper(port).Client, Interval: 20 * time.Millisecond}, o)
		require.Equal(t, "connected", e.next(t, a.Name()).what)
		b := r.Start(t, otp.Options{EpmdPort: port, Hidden: true})
		require.Equal(t, "connected", e.next(t, b.Name()).what)
		b.Kill()
		require.Eventually(t, func() bool { return len(k.Peers()) == 1 }, expect.Limit, 5*time.Millisecond, "it is registered no more")
		require.NoError(t, k.SourceErr())
	})
}
