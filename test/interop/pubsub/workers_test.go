package pubsub

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pubsub"
	"github.com/cnode-go/cnode/test/otp"
	"github.com/cnode-go/cnode/transport"
)

// envServe makes this test's binary a node with workers, or without; it holds the name of the
// application.
const (
	envServe   = "CNODE_TEST_PUBSUB"
	envWorkers = "CNODE_TEST_WORKERS"
)

// serveWorkers runs a front, or its worker: it has the application's Presence, and broadcasts.
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
		exposeTracking(n, p)
		n.Expose("w", "broadcast", nodes.FuncOf(func(ctx context.Context, topic string, term ei.Term) error {
			return ps.Broadcast(ctx, topic, term)
		}))
		return err
	}}
	if os.Getenv(envWorkers) == "0" {
		n, err := nodes.New(cfg)
		if err != nil {
			return err
		}
		if err := n.Start(ctx); err != nil {
			return err
		}
		fmt.Printf("ready %s 0\n", cfg.Name)
		<-ctx.Done()
		return n.Shutdown(context.Background())
	}
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

// exposeTracking has this process track processes of its own, each under the key that it is named
// by.
func exposeTracking(n *nodes.Node, p *pubsub.Presence) {
	var mu sync.Mutex
	boxes := map[string]*nodes.Mailbox{}
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
}

// run starts this test's binary with so many workers; at calls a function in it, in the worker that
// has the connection with a node: nil is this one.
func (w *world) run(workers string) (at func(p *peer, fun string, args ...any) (ei.Term, error)) {
	w.t.Helper()
	app := fmt.Sprintf("App%08x", rand.Uint32())
	w.pubsub, w.presence = app+".PubSub", app+".Presence"
	name := goName()
	w.launchGo(name, workers)
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

// What each worker tracks is seen by all nodes, and by the other workers, as that of one node. When
// the worker that speaks for it is killed, another one does, and only the processes of that worker
// are gone.
func TestWorkersTrack(t *testing.T) {
	each(t, func(w *world) {
		at := w.run("3")
		x, y := w.lab.peers[0], w.lab.peers[1]
		do := func(p *peer, fun string, args ...string) ei.Term {
			w.t.Helper()
			var terms []any
			for _, a := range args {
				terms = append(terms, ei.Binary(a))
			}
			v, err := at(p, fun, terms...)
			require.NoError(w.t, err)
			bad, isTuple := v.(ei.Tuple)
			require.False(w.t, isTuple, "%v", bad)
			return v
		}
		pids := map[*peer]int{}
		for _, p := range []*peer{x, y, nil} {
			pids[p] = int(do(p, "pid").(ei.Int))
		}
		require.Len(w.t, slices.Compact(slices.Sorted(maps.Values(pids))), 3)
		for _, p := range w.lab.peers {
			w.hasMembers(p, 5)
		}
		all := func(want string, workers ...*peer) {
			w.t.Helper()
			for _, p := range w.lab.peers {
				w.eventually(want, func() string { return w.at(p, "room") })
			}
			for _, p := range workers {
				w.eventually(want, func() string { return string(do(p, "seen", "room").(ei.Binary)) })
			}
		}
		w.track(x, "room", "xena", "Xena")
		do(x, "track", "room", "a", "A")
		all("a=A xena=Xena", x, y, nil)
		do(y, "track", "room", "b", "B")
		do(nil, "track", "room", "c", "C")
		all("a=A b=B c=C xena=Xena", x, y, nil)
		do(y, "update", "room", "b", "Bo")
		all("a=A b=Bo c=C xena=Xena", x, y, nil)
		do(nil, "track", "room", "d", "D")
		do(nil, "untrack", "room", "c")
		all("a=A b=Bo d=D xena=Xena", x, y, nil)
		do(y, "track", "room", "e", "E")
		all("a=A b=Bo d=D e=E xena=Xena", x, y, nil)
		do(y, "finish", "e")
		all("a=A b=Bo d=D xena=Xena", x, y, nil)

		// the shard's process of a worker is killed: of one that follows, and of the one that leads
		shard := w.shardName()
		leader := shard + "_leader"
		require.Equal(w.t, ei.Atom("true"), do(x, "leads", leader))
		do(y, "kill", shard)
		do(y, "track", "room", "f", "F")
		all("a=A b=Bo d=D f=F xena=Xena", x, y, nil)
		do(x, "kill", shard)
		do(y, "untrack", "room", "f")
		all("a=A b=Bo d=D xena=Xena", x, y, nil)

		// a whole worker, which leads or not
		kill := func(of *peer) {
			w.t.Helper()
			require.NoError(w.t, syscall.Kill(pids[of], syscall.SIGKILL))
			for _, p := range []*peer{x, y, nil} { // whichever has lost its connection
				require.True(w.t, assertSoon(func() bool { v, err := at(p, "pid"); _, ok := v.(ei.Int); return err == nil && ok }))
			}
		}
		kill(x)
		all("b=Bo d=D xena=Xena", x, y, nil)
		kill(nil)
		all("b=Bo xena=Xena", x, y, nil)
		do(x, "track", "room", "g", "G")
		all("b=Bo g=G xena=Xena", x, y, nil)
	})
}

func (w *world) shardName() string { return string(elixirName(w.presence)) + "_shard0" }

// A program that is killed is seen to be gone after a while, or when it is there again; one that
// ends in good order is at once.
func TestTrackProgram(t *testing.T) {
	each(t, func(w *world) {
		app := fmt.Sprintf("App%08x", rand.Uint32())
		w.pubsub, w.presence = app+".PubSub", app+".Presence"
		w.asks()
		name := goName()
		begin := func(key string) *otp.Program {
			w.t.Helper()
			p := w.launchGo(name, "0")
			for _, of := range w.lab.peers {
				_, err := w.n.RPC(w.ctx(), of.name, "net_adm", "ping", ei.Atom(name))
				require.NoError(w.t, err)
			}
			_, err := w.n.RPC(w.ctx(), name, "w", "track", ei.Binary("room"), ei.Binary(key), ei.Binary(key))
			require.NoError(w.t, err)
			return p
		}
		all := func(want string) {
			w.t.Helper()
			for _, of := range w.lab.peers {
				w.eventually(want, func() string { return w.at(of, "room") })
			}
		}
		w.startPeers(1)
		first := begin("a")
		all("a=a")
		first.Kill()
		all("") // after the down period
		second := begin("b")
		all("b=b")
		second.Kill()
		third := begin("c") // before that
		all("c=c")
		began := time.Now()
		require.NoError(w.t, syscall.Kill(third.Pid(), syscall.SIGTERM))
		all("")
		require.Less(w.t, time.Since(began), 20*period, "it has said so")
		for _, of := range w.lab.peers {
			require.Equal(w.t, "joined a, left a, joined b, left b, joined c, left c", w.noted(of, "room"))
		}
	})
}
