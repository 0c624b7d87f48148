package genstage

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
)

const (
	limit = 5 * time.Minute
	tick  = 10 * time.Millisecond
)

// sources are the modules that an Elixir node loads: behaviours and macros come before those that
// use them.
func sources(t *testing.T) string {
	t.Helper()
	lib := filepath.Join(os.Getenv("CNODE_TEST_BEAM_PEERS"), "gen_stage", "lib")
	var all strings.Builder
	for _, file := range []string{"utils", "buffer", "dispatcher", "dispatchers/demand_dispatcher", "dispatchers/broadcast_dispatcher",
		"dispatchers/partition_dispatcher", "../gen_stage", "stream", "streamer"} {
		text, err := os.ReadFile(filepath.Join(lib, "gen_stage", file+".ex"))
		require.NoError(t, err)
		all.Write(text)
		all.WriteByte('\n')
	}
	text, err := os.ReadFile("testdata/peer.ex")
	require.NoError(t, err)
	return all.String() + string(text)
}

// A peer is an Elixir node.
type peer struct {
	name    string
	program *otp.Program
}

// A lab is what there is of one Elixir, which tests share.
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

// A world is a test's Go node, and two Elixir nodes.
type world struct {
	t      *testing.T
	ctx    context.Context
	lab    *lab
	n      *nodes.Node
	x, y   *peer
	excess *excess
}

// each runs f with a world of each Elixir.
func each(t *testing.T, f func(w *world)) {
	if os.Getenv("CNODE_TEST_BEAM_PEERS") == "" {
		t.Skip("CNODE_TEST_BEAM_PEERS is not set: see doc.go")
	}
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		l := labs[e.Version]
		if l == nil {
			port, stop, err := otp.Releases(t)[0].LaunchEpmd()
			require.NoError(t, err)
			l = &lab{elixir: e, port: port, stop: stop}
			labs[e.Version] = l
			l.peers = append(l.peers, l.launch(t), l.launch(t))
		}
		w := &world{t: t, lab: l, x: l.peers[0], y: l.peers[1], excess: new(excess)}
		t.Cleanup(func() {
			for _, p := range l.peers {
				if t.Failed() {
					t.Logf("%s said:\n%s", p.name, p.program.Log())
				}
				require.NotContains(t, p.program.Log(), "in excess")
			}
			require.Empty(t, w.excess.String())
		})
		var cancel func()
		w.ctx, cancel = context.WithTimeout(context.Background(), limit)
		t.Cleanup(cancel)
		w.n = w.node()
		f(w)
	})
}

// node starts a Go node.
func (w *world) node() *nodes.Node {
	w.t.Helper()
	cfg := gonode.Config(w.t, fmt.Sprintf("go%08x@127.0.0.1", rand.Uint32()), w.lab.port)
	cfg.Logger = slog.New(slog.NewTextHandler(w.excess, nil))
	return gonode.Start(w.t, cfg)
}

// An excess keeps what a Go node logs about events that it has not demanded.
type excess struct {
	mu  sync.Mutex
	all strings.Builder
}

func (x *excess) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("more events have come than were demanded")) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.all.Write(b)
	}
	return len(b), nil
}

func (x *excess) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.all.String()
}

// launch starts an Elixir node.
func (l *lab) launch(t *testing.T) *peer {
	t.Helper()
	name := fmt.Sprintf("ex%08x@127.0.0.1", rand.Uint32())
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

// call calls a function of the module Peer.
func (w *world) call(p *peer, function string, args ...any) ei.Term {
	w.t.Helper()
	v, err := w.n.RPC(w.ctx, p.name, "Elixir.Peer", function, args...)
	require.NoError(w.t, err, "%s at %s", function, p.name)
	return v
}

// says is a call whose result is known.
func (w *world) says(want string, p *peer, function string, args ...any) {
	w.t.Helper()
	require.Equal(w.t, want, w.call(p, function, args...).String())
}

// soon waits until a call has that result.
func (w *world) soon(want string, p *peer, function string, args ...any) {
	w.t.Helper()
	var last string
	for end := time.Now().Add(limit / 5); time.Now().Before(end); time.Sleep(tick) {
		if last = w.call(p, function, args...).String(); last == want {
			return
		}
	}
	require.Equal(w.t, want, last)
}

// named is a name that no other test has.
func named(what string) string { return fmt.Sprintf("%s_%08x", what, rand.Uint32()) }

// produce starts a Peer.Counter.
func (w *world) produce(p *peer, count int, kind, atEnd string) (name string, pid ei.Pid) {
	name = named("counter")
	return name, w.call(p, "produce", ei.Atom(name), count, ei.Atom(kind), ei.Atom(atEnd)).(ei.Pid)
}

// A collector is a Peer.Collector and the tag of its subscription.
type collector struct {
	at  *peer
	pid ei.Pid
	tag ei.Term
}

// collect starts a Peer.Collector that subscribes; options are in Erlang's text.
func (w *world) collect(p *peer, to any, options string, pause int) *collector {
	w.t.Helper()
	opts, err := ei.Parse(options)
	require.NoError(w.t, err)
	t := w.call(p, "collect", to, opts, pause).(ei.Tuple)
	return &collector{p, t[0].(ei.Pid), t[1]}
}

// at is {Name, Node}, a producer of the Go node.
func (w *world) at(name string) ei.Term { return ei.Tuple{ei.Atom(name), ei.Atom(w.n.Name())} }
