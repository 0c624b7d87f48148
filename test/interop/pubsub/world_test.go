package pubsub

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pubsub"
)

const (
	limit = 2 * time.Minute
	tick  = 10 * time.Millisecond
	// period is the broadcast period of the Presences.
	period = 100 * time.Millisecond
	// down is after how much silence a replica counts as down: a machine may stand still for a while.
	down = 4 * time.Second
)

// sources are the modules that an Elixir node loads, in an order in which they compile.
func sources(t *testing.T) string {
	t.Helper()
	files := []string{"testdata/pubsub.ex", "testdata/tracker.ex"}
	if lib := os.Getenv("CNODE_TEST_PHOENIX_PUBSUB"); lib != "" {
		files = nil
		require.NoError(t, filepath.WalkDir(lib, func(path string, _ fs.DirEntry, err error) error {
			if strings.HasSuffix(path, ".ex") && !strings.HasSuffix(path, "application.ex") {
				files = append(files, path)
			}
			return err
		}))
		// behaviours and structs come before those that use them
		first := []string{"adapter.ex", "state.ex", "replica.ex", "tracker.ex"}
		slices.SortStableFunc(files, func(a, b string) int {
			return rank(first, filepath.Base(a)) - rank(first, filepath.Base(b))
		})
	}
	var all strings.Builder
	for _, file := range append(files, "testdata/peer.ex") {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		all.Write(text)
		all.WriteByte('\n')
	}
	return all.String()
}

func rank(first []string, name string) int {
	if i := slices.Index(first, name); i >= 0 {
		return i
	}
	return len(first)
}

// A peer is an Elixir node, which tests share.
type peer struct {
	name    string
	program *otp.Program
}

// A lab is what there is of one Elixir.
type lab struct {
	elixir otp.Elixir
	port   int
	stop   func()
	peers  []*peer
}

var labs = map[string]*lab{}

func closePeers() {
	for _, l := range labs {
		for _, p := range l.peers {
			p.program.Close()
		}
		l.stop()
	}
}

// A world is a test's Go node, and Elixir nodes.
type world struct {
	t   *testing.T
	lab *lab
	n   *nodes.Node
	// of this test alone
	pubsub, presence string
	ps               *pubsub.PubSub
	program          *otp.Program // see run
}

// each runs f with a world of each Elixir.
func each(t *testing.T, f func(w *world)) {
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		l := labs[e.Version]
		if l == nil {
			port, stop, err := otp.Releases(t)[0].LaunchEpmd()
			require.NoError(t, err)
			l = &lab{elixir: e, port: port, stop: stop}
			labs[e.Version] = l
			for range 2 {
				l.peers = append(l.peers, l.launch(t, fmt.Sprintf("ex%08x@127.0.0.1", rand.Uint32())))
			}
		}
		t.Cleanup(func() {
			if t.Failed() {
				for _, p := range l.peers {
					t.Logf("%s said:\n%s", p.name, p.program.Log())
				}
			}
		})
		f(&world{t: t, lab: l})
	})
}

// launch starts an Elixir node.
func (l *lab) launch(t *testing.T, name string) *peer {
	t.Helper()
	cmd := l.elixir.Command(context.Background(), t, l.port, name,
		`Code.compile_string(IO.read(:stdio, :eof)); IO.puts("ready #{node()} 0"); Process.sleep(:infinity)`,
		"ELIXIR_ERL_OPTIONS=-connect_all false -kernel prevent_overlapping_partitions false")
	cmd.Stdin = strings.NewReader(sources(t))
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	p, err := otp.LaunchProgram(ctx, cmd)
	require.NoError(t, err)
	return &peer{name, p}
}

// config is that of a node of the world.
func (w *world) config(name string) nodes.Config {
	return gonode.Config(w.t, name, w.lab.port)
}

// start starts the Go node, and on all nodes a PubSub and a Presence of this test's own.
func (w *world) start(pool int) {
	w.t.Helper()
	app := fmt.Sprintf("App%08x", rand.Uint32())
	w.pubsub, w.presence = app+".PubSub", app+".Presence"
	cfg := w.config(goName())
	cfg.Setup = func(n *nodes.Node) (err error) {
		w.ps, err = pubsub.Start(w.t.Context(), n, w.pubsub, &pubsub.Options{PoolSize: pool})
		return err
	}
	w.n = gonode.Start(w.t, cfg)
	w.t.Cleanup(func() { require.NoError(w.t, w.ps.Close()) })
	w.startPeers(pool)
	w.meet()
}

// startPeers connects the Elixir nodes, and starts what they have.
func (w *world) startPeers(pool int) {
	w.t.Helper()
	x, y := w.lab.peers[0], w.lab.peers[1]
	_, err := w.n.RPC(w.ctx(), x.name, "net_kernel", "connect_node", ei.Atom(y.name))
	require.NoError(w.t, err)
	for _, p := range w.lab.peers {
		w.call(p, "start", elixirName(w.pubsub), pool, elixirName(w.presence), w.options(pool))
	}
}

// hasMembers waits until a node knows of so many members of the PubSub.
func (w *world) hasMembers(p *peer, many int) {
	w.t.Helper()
	var last ei.Term
	if !assertSoon(func() bool {
		last = nil
		last, _ = w.n.RPC(w.ctx(), p.name, "pg", "get_members", ei.Atom(pubsub.Scope), elixirName(w.pubsub)+".Adapter")
		list, _ := last.(ei.List)
		return len(list) == many
	}) {
		require.Fail(w.t, "not the members that there are", "%d, but: %v", many, last)
	}
}

// meet waits until all nodes have found each other.
func (w *world) meet() {
	w.t.Helper()
	for _, p := range w.lab.peers {
		w.hasMembers(p, len(w.lab.peers)+1)
		box := w.call(p, "subscribe", elixirName(w.pubsub), "meet")
		heard := make(chan error, 1)
		go func() {
			_, err := w.n.RPC(w.ctx(), p.name, "Elixir.Peer", "next", box)
			heard <- err
		}()
		require.Eventually(w.t, func() bool {
			require.NoError(w.t, w.ps.Broadcast(w.ctx(), "meet", ei.Atom("here")))
			return len(heard) > 0
		}, limit, tick)
		require.NoError(w.t, <-heard)
	}
}

func goName() string { return fmt.Sprintf("go%08x@127.0.0.1", rand.Uint32()) }

// options are those of the Elixir nodes' Presence.
func (w *world) options(pool int) ei.Term {
	return parse(w.t, fmt.Sprintf(`[{broadcast_period, %d}, {max_silent_periods, 5}, {down_period, %d}, {pool_size, %d}]`,
		period.Milliseconds(), down.Milliseconds(), pool))
}

func parse(t *testing.T, text string) ei.Term {
	t.Helper()
	term, err := ei.Parse(text)
	require.NoError(t, err)
	return term
}

func elixirName(name string) ei.Atom { return ei.Atom("Elixir." + name) }

func (w *world) ctx() context.Context { return expect.Context(w.t) }

// call calls a function of the module Peer.
func (w *world) call(p *peer, function string, args ...any) ei.Term {
	w.t.Helper()
	v, err := w.n.RPC(w.ctx(), p.name, "Elixir.Peer", function, args...)
	require.NoError(w.t, err, "%s at %s", function, p.name)
	return v
}

// eventually waits until both sides say the same.
func (w *world) eventually(want string, got func() string) {
	w.t.Helper()
	var last string
	if !assertSoon(func() bool { last = got(); return last == want }) {
		require.Equal(w.t, want, last)
	}
}

func assertSoon(f func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(tick) {
		if f() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
