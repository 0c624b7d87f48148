package interop

import (
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/stretchr/testify/require"
)

// A peer that stands still is dropped after four of our tick intervals; a peer that is merely idle
// is not.
func TestSilentPeer(t *testing.T) {
	need.Long(t, 30*time.Second)
	t.Parallel()
	type watch struct {
		*meeting
		b *nodes.Mailbox
		c *nodes.Conn
	}
	const interval = 2 * time.Second // that of the Erlang node too: net_ticktime / 4
	var watches []watch
	for _, r := range otp.Releases(t) { // all at once, since they only wait
		port := r.Epmd(t)
		erl := start(t, r, otp.Options{EpmdPort: port, ExtraArgs: []string{"-kernel", "net_ticktime", "8"}})
		cfg := config(port)
		cfg.TickInterval = interval
		w := watch{meeting: &meeting{erl: erl, n: startNode(t, cfg)}}
		w.b = w.mailbox(t, "B", nil)
		require.NoError(t, w.b.MonitorNode(background(t), erl.Name()))
		w.c = w.n.Conn(erl.Name())
		watches = append(watches, w)
	}
	idle := time.After(5 * interval)
	for _, w := range watches {
		select {
		case <-w.c.Done():
			t.Fatal("an idle peer was dropped: ", w.c.Err())
		case <-idle:
			idle = time.After(0)
		}
	}
	stopped := time.Now()
	for _, w := range watches {
		w.erl.Pause(t)
	}
	for _, w := range watches {
		await(t, w.c.Done())
		require.ErrorIs(t, w.c.Err(), nodes.ErrTickTimeout)
		require.GreaterOrEqual(t, time.Since(stopped), 3*interval)
		require.Equal(t, "{nodedown,'"+w.erl.Name()+"'}", receive(t, w.b))
		w.erl.Continue(t)
		// it may still have the old connection
		w.is(t, [][2]string{{`(fun F() -> case net_adm:ping(N) of pong -> pong; _ -> F() end end)()`, `pong`}})
	}
}

// Ticks go out although nobody calls Receive, which is where the C library fails: the Erlang node
// gives up after at most 10 s.
func TestTicksWithoutReceive(t *testing.T) {
	need.Long(t, 25*time.Second)
	t.Parallel()
	var waits []func() string
	for _, r := range otp.Releases(t) { // all at once, since they only wait
		port := r.Epmd(t)
		erl := start(t, r, otp.Options{EpmdPort: port, ExtraArgs: []string{"-kernel", "net_ticktime", "8"}})
		cfg := config(port)
		cfg.TickInterval = time.Second
		n := newNode(t, cfg)
		c, err := n.Connect(background(t), erl.Name())
		require.NoError(t, err)
		_, err = c.RPC(background(t), "erlang", "node")
		require.NoError(t, err)
		waits = append(waits, erl.Async(t, "monitor_node('"+n.Name()+"', true), receive {nodedown, _} -> down after 12000 -> up end"))
	}
	for _, wait := range waits {
		require.Equal(t, "up", wait())
	}
}

// An Erlang node that sends all the time, and to which nothing is sent, sends no ticks to a visible
// node, and ends the connection unless it hears something within its net_ticktime, which is shorter
// than four intervals of the Go node's. A hidden node is sent ticks meanwhile, which it answers.
func TestOneWayTraffic(t *testing.T) {
	need.Long(t, 20*time.Second)
	t.Parallel()
	var waits []func()
	for _, r := range otp.Releases(t) { // all at once, since they only wait
		for _, tt := range []struct {
			visible bool
			every   string // ms
		}{{true, "1"}, {true, "900"}, {false, "1"}} {
			port := r.Epmd(t)
			short := []string{"-kernel", "net_ticktime", "8"}
			erl := start(t, r, otp.Options{EpmdPort: port, ExtraArgs: short})
			cfg := config(port)
			cfg.Visible = tt.visible
			n := startNode(t, cfg)
			b, err := n.NewMailbox(nil)
			require.NoError(t, err)
			require.NoError(t, n.Register(t.Context(), "sink", b))
			go func() {
				for {
					if _, err := b.Receive(t.Context()); err != nil {
						return
					}
				}
			}()
			_, err = n.Connect(background(t), erl.Name())
			require.NoError(t, err)
			up := erl.Async(t, "N = '"+n.Name()+"', monitor_node(N, true), "+
				"F = fun(G) -> {sink, N} ! x, receive {nodedown, _} -> down; over -> up after "+tt.every+" -> G(G) end end, "+
				"erlang:send_after(20000, self(), over), F(F)")
			waits = append(waits, func() { require.Equal(t, "up", up(), "%s, %+v", r, tt) })
		}
	}
	for _, wait := range waits {
		wait()
	}
}
