package permission

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/transport"
)

// A program of the C library, which is connected to a node with all packages, gets nothing but
// ticks and the answer that it waits for, whatever happens there: it would take another message for
// that answer.
func TestUnasked(t *testing.T) {
	for name, config := range map[string]nodes.Config{
		"default": {}, "no spawn requests of its own": {Flags: dist.FlagsDefault &^ dist.FlagSpawn},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { unasked(t, config) }) })
	}
}

func unasked(t *testing.T, cfg nodes.Config) {
	ctx, tr, p := t.Context(), transport.NewMemory(), new(packages)
	node := func(cfg nodes.Config) *nodes.Node {
		cfg.Cookie, cfg.Transport, cfg.Resolver = "secret", tr, addresses
		cfg.Logger = slog.New(slog.DiscardHandler)
		n, err := nodes.New(cfg)
		require.NoError(t, err)
		t.Cleanup(func() { n.Close() })
		return n
	}
	cfg.Name, cfg.Visible, cfg.Listen, cfg.Setup = "all@host", true, addresses["all@host"].Addr, p.start
	all := node(cfg)
	other := node(nodes.Config{Name: "peer@host", Visible: true, Listen: addresses["peer@host"].Addr, Setup: new(packages).start})
	require.NoError(t, all.Start(ctx))
	c, got := program(t, node(nodes.Config{Name: "program@host", Flags: dist.FlagsLibei}))
	silent, nothing := program(t, node(nodes.Config{Name: "silent@host", Flags: dist.FlagsLibei}))
	box, err := all.NewMailbox(nil)
	require.NoError(t, err)
	_, err = box.MonitorNodes(context.Background(), nodes.AllNodes)
	require.NoError(t, err)
	require.NoError(t, p.scope.Join(ctx, "g", box))
	require.NoError(t, p.pubsub.Subscribe(box, "topic"))
	require.NoError(t, p.pubsub.Broadcast(ctx, "topic", "before"))
	require.NoError(t, p.presence.Track(ctx, box, "topic", "joe", ei.Map{}))
	require.NoError(t, p.global.Register(ctx, ei.Atom("box"), box, global.Method{}))
	lock := global.Lock{Resource: ei.Atom("lock")}
	require.NoError(t, p.global.SetLock(ctx, box, lock))
	require.NoError(t, other.Start(ctx))
	_, err = other.Connect(ctx, "all@host")
	require.NoError(t, err)
	time.Sleep(10 * time.Minute)
	require.NoError(t, p.presence.Update(ctx, box, "topic", "joe", ei.Map{{Key: ei.Atom("k"), Value: ei.Int(1)}}))
	require.NoError(t, p.global.DelLock(ctx, box, lock))
	for _, name := range []string{"Elixir.Phoenix.PubSub", "Elixir.App.PubSub.Adapter", "Elixir.App.Presence_shard0", "global_name_server"} {
		require.NoError(t, box.SendExit(ctx, all.Whereis(name).Pid(), ei.Atom("kill"))) // another one begins in its place
	}
	time.Sleep(10 * time.Minute)
	require.NoError(t, other.Close())
	require.NoError(t, p.pubsub.Push(ctx, "topic", "event", ei.Map{}))
	require.NoError(t, p.scope.Leave(ctx, "g", box))
	require.NoError(t, box.Close())
	time.Sleep(10 * time.Minute)
	require.NoError(t, c.Err(), "it is connected throughout")
	require.Empty(t, got)
	require.NoError(t, silent.Err())

	// Its process is told what it has asked for: also of a scope, if it asks first.
	self := c.Self()
	call := func(op, request ei.Term) {
		require.NoError(t, c.SendName(ctx, "rex", ei.Tuple{self, ei.Tuple{ei.Atom("call"), ei.Atom("observer_backend"), op, request, self}}))
	}
	call(ei.Atom("procs_info"), ei.List{self})
	synctest.Wait()
	require.Len(t, got, 2)
	require.Equal(t, ei.Atom("procs_info"), (<-got).(ei.Tuple)[0])
	require.Equal(t, ei.Tuple{ei.Atom("rex"), ei.Atom("ok")}, <-got)
	require.NoError(t, c.SendName(ctx, "Elixir.Phoenix.PubSub", ei.Tuple{ei.Atom("discover"), self}))
	synctest.Wait()
	require.Len(t, got, 2)
	for range 2 {
		answer := (<-got).(ei.Tuple)
		require.Contains(t, []ei.Term{ei.Atom("$gen_cast"), ei.Atom("discover")}, answer[0])
	}

	stopping, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	require.NoError(t, all.Shutdown(stopping))
	<-silent.Done()
	require.Empty(t, nothing)
}

// program connects a node that is never started, which is what a program of the C library is, and
// notes the messages that it gets.
func program(t *testing.T, n *nodes.Node) (*nodes.Conn, <-chan ei.Term) {
	c, err := n.Connect(t.Context(), "all@host")
	require.NoError(t, err)
	got := make(chan ei.Term, 1000)
	go func() {
		for {
			m, err := c.Receive(context.Background())
			if err != nil {
				return
			}
			what, err := m.Term()
			if err != nil {
				what = ei.Atom(m.Op.String())
			}
			got <- what
		}
	}()
	return c, got
}
