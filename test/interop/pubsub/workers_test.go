package pubsub

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pubsub"
	"github.com/cnode-go/cnode/test/otp"
	"github.com/cnode-go/cnode/transport"
)

// envServe makes this test's binary a node with workers; it holds the name of the application.
const envServe = "CNODE_TEST_PUBSUB"

// serveWorkers runs a front, or its worker: it follows the application's Presence, and broadcasts.
func serveWorkers(app string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := nodes.Config{Name: os.Getenv("CNODE_TEST_NAME"), Cookie: otp.DefaultCookie, Setup: func(n *nodes.Node) error {
		ps, err := pubsub.Start(ctx, n, app+".PubSub", nil)
		if err != nil {
			return err
		}
		p, err := ps.StartPresence(ctx, app+".Presence", &pubsub.PresenceOptions{
			BroadcastPeriod: period, DownPeriod: 20 * period, PermdownPeriod: 1000 * period,
		})
		n.Expose("w", "seen", nodes.FuncOf(func(topic string) string { return seen(p, topic) }))
		n.Expose("w", "pid", nodes.FuncOf(os.Getpid))
		n.Expose("w", "broadcast", nodes.FuncOf(func(ctx context.Context, topic string, term ei.Term) error {
			return ps.Broadcast(ctx, topic, term)
		}))
		return err
	}}
	if nodes.IsWorker() {
		w, err := nodes.StartWorker(ctx, cfg)
		if err != nil {
			return err
		}
		return w.Wait(ctx)
	}
	f, err := nodes.StartFront(ctx, nodes.FrontConfig{Node: cfg, Workers: 3, Choose: nodes.LeastSessions, Patience: limit})
	if err != nil {
		return err
	}
	at, _ := transport.AddrPort(f.Addr())
	fmt.Printf("ready %s %d\n", cfg.Name, at.Port())
	<-ctx.Done()
	return f.Shutdown(context.Background())
}

// Each worker knows who is present, and broadcasts to all nodes, also to those to which another
// worker has the connection.
func TestWorkersPresence(t *testing.T) {
	each(t, func(w *world) {
		app := fmt.Sprintf("App%08x", rand.Uint32())
		w.pubsub, w.presence = app+".PubSub", app+".Presence"
		name := goName()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), envServe+"="+app, "CNODE_TEST_NAME="+name,
			"ERL_EPMD_PORT="+strconv.Itoa(w.lab.port), "ERL_EPMD_ADDRESS=127.0.0.1")
		otp.Serve(w.t, cmd)
		w.asks()
		w.startPeers(1)
		x, y := w.lab.peers[0], w.lab.peers[1]
		w.track(x, "room", "ann", "Ann")
		atX, atY := w.call(x, "subscribe", elixirName(w.pubsub), "t"), w.call(y, "subscribe", elixirName(w.pubsub), "t")
		at := func(p *peer, fun string, args ...any) (ei.Term, error) { // as that node's worker says
			if p == nil {
				return w.n.RPC(w.ctx(), name, "w", fun, args...)
			}
			list := ei.List{}
			for _, a := range args {
				list = append(list, a.(ei.Term))
			}
			return w.n.RPC(w.ctx(), p.name, "rpc", "call", ei.Atom(name), ei.Atom("w"), ei.Atom(fun), list)
		}
		workers := map[string]bool{}
		for _, p := range []*peer{x, y, nil} {
			pid, err := at(p, "pid")
			require.NoError(w.t, err)
			workers[pid.String()] = true
		}
		require.Len(w.t, workers, 3)
		for _, p := range w.lab.peers {
			w.hasMembers(p, 5)
		}
		w.track(y, "room", "bob", "Bob")
		for i, p := range []*peer{x, y, nil} {
			w.eventually("ann=Ann bob=Bob", func() string {
				v, err := at(p, "seen", ei.Binary("room"))
				text, _ := v.(ei.Binary)
				return string(text) + errorText(err)
			})
			_, err := at(p, "broadcast", ei.Binary("t"), ei.Int(i))
			require.NoError(w.t, err)
			require.Equal(w.t, strconv.Itoa(i), w.next(x, atX))
			require.Equal(w.t, strconv.Itoa(i), w.next(y, atY))
		}
	})
}
