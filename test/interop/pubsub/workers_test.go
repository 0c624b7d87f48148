package pubsub

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pubsub"
	"github.com/cnode-go/cnode/nodes/workers"
)

// envServe makes this test's binary a node with workers, or without; it holds the name of the
// application.
const (
	envServe   = "CNODE_TEST_PUBSUB"
	envWorkers = "CNODE_TEST_WORKERS"
)

// serveWorkers runs a front, or its worker: it has the application's Presence, and broadcasts.
func serveWorkers(app string) error {
	ctx := context.Background()
	cfg := nodes.Config{Name: os.Getenv("CNODE_TEST_NAME"), Cookie: otp.DefaultCookie, Setup: func(n *nodes.Node) error {
		ps, err := pubsub.Start(ctx, n, app+".PubSub", nil)
		if err != nil {
			return err
		}
		p, err := ps.StartPresence(ctx, app+".Presence", &pubsub.PresenceOptions{
			BroadcastPeriod: period, DownPeriod: down, PermdownPeriod: 1000 * period,
		})
		n.Expose("w", "seen", nodes.FuncOf(func(topic string) string { return seen(p, topic) }))
		n.Expose("w", "pid", nodes.FuncOf(os.Getpid))
		if err := exposeTracking(n, p); err != nil {
			return err
		}
		n.Expose("w", "broadcast", nodes.FuncOf(func(ctx context.Context, topic string, term ei.Term) error {
			return ps.Broadcast(ctx, topic, term)
		}))
		return err
	}}
	count := 3
	if os.Getenv(envWorkers) == "0" {
		count = 0
	}
	return gonode.Serve(workers.Config{Node: cfg, Workers: count, Choose: workers.BySessions, Patience: limit}, nil)
}

// exposeTracking has this process track processes of its own, each under the key that it is named
// by.
func exposeTracking(n *nodes.Node, p *pubsub.Presence) error {
	var mu sync.Mutex
	boxes := map[string]*nodes.Mailbox{}
	lasting, err := n.Serve("lasting", nodes.Server{}, nil)
	if err != nil {
		return err
	}
	n.Expose("w", "track_lasting", nodes.FuncOf(func(ctx context.Context, topic, key, name string) error {
		return p.Track(ctx, lasting, topic, key, person{name})
	}))
	n.Expose("w", "update_lasting", nodes.FuncOf(func(ctx context.Context, topic, key, name string) error {
		return p.Update(ctx, lasting, topic, key, person{name})
	}))
	n.Expose("w", "finish_lasting", nodes.FuncOf(func() { lasting.Close() }))
	n.Expose("w", "track", nodes.FuncOf(func(ctx context.Context, topic, key, name string) error {
		b, err := n.NewMailbox(nil)
		if err != nil {
			return err
		}
		mu.Lock()
		boxes[key] = b
		mu.Unlock()
		return p.Track(ctx, b, topic, key, person{name})
	}))
	n.Expose("w", "update", nodes.FuncOf(func(ctx context.Context, topic, key, name string) error {
		mu.Lock()
		defer mu.Unlock()
		return p.Update(ctx, boxes[key], topic, key, person{name})
	}))
	n.Expose("w", "untrack", nodes.FuncOf(func(ctx context.Context, topic, key string) error {
		mu.Lock()
		defer mu.Unlock()
		return p.Untrack(ctx, boxes[key], topic, key)
	}))
	n.Expose("w", "finish", nodes.FuncOf(func(key string) {
		mu.Lock()
		defer mu.Unlock()
		boxes[key].Close()
	}))
	n.Expose("w", "kill", nodes.FuncOf(func(name string) { n.Whereis(name).Exit(ei.Atom("kill")) }))
	n.Expose("w", "leads", nodes.FuncOf(func(name string) bool { return n.Whereis(name) != nil }))
	return nil
}

// run starts this test's binary with so many workers; at calls a function in it, in the worker that
// has the connection with a node: nil is this one.
func (w *world) run(workers string) (at func(p *peer, fun string, args ...any) (ei.Term, error)) {
	w.t.Helper()
	app := fmt.Sprintf("App%08x", rand.Uint32())
	w.pubsub, w.presence = app+".PubSub", app+".Presence"
	name := goName()
	w.program = w.launchGo(name, workers)
	w.asks()
	w.startPeers(1)
	return func(p *peer, fun string, args ...any) (ei.Term, error) {
		if p == nil {
			return w.n.RPC(w.ctx(), name, "w", fun, args...)
		}
		list := ei.List{}
		for _, a := range args {
			list = append(list, a.(ei.Term))
		}
		return w.n.RPC(w.ctx(), p.name, "rpc", "call", ei.Atom(name), ei.Atom("w"), ei.Atom(fun), list)
	}
}

func (w *world) launchGo(name, workers string) *otp.Program {
	w.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envServe+"="+strings.TrimSuffix(w.pubsub, ".PubSub"), envWorkers+"="+workers, "CNODE_TEST_NAME="+name,
		"ERL_EPMD_PORT="+strconv.Itoa(w.lab.port), "ERL_EPMD_ADDRESS=127.0.0.1")
	return otp.Serve(w.t, cmd)
}

// Each worker knows who is present, and broadcasts to all nodes, also to those to which another
// worker has the connection.
func TestWorkersPresence(t *testing.T) {
	each(t, func(w *world) {
		at := w.run("3")
		x, y := w.lab.peers[0], w.lab.peers[1]
		w.track(x, "room", "ann", "Ann")
		atX, atY := w.call(x, "subscribe", elixirName(w.pubsub), "t"), w.call(y, "subscribe", elixirName(w.pubsub), "t")
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
