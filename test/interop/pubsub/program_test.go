package pubsub

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
)

var demo otp.Demo

// A program is a running cnode-demo serve that has subscribed to the topic news.
type program struct {
	*otp.Program
	t       *testing.T
	command func(args ...string) *exec.Cmd
}

// serve starts it, with members connected to it and each other, and a node of this process that
// only asks.
func (w *world) serve(members int, args ...string) *program {
	w.t.Helper()
	w.asks()
	w.pubsub = fmt.Sprintf("App%08x.PubSub", rand.Uint32())
	w.presence = strings.Replace(w.pubsub, "PubSub", "Presence", 1)
	env := gonode.Environment(w.t, w.lab.port)
	p := &program{t: w.t, command: func(args ...string) *exec.Cmd {
		cmd := exec.Command(demo.Path(w.t), args...)
		cmd.Env = env
		return cmd
	}}
	p.Program = otp.Serve(w.t, p.command(append([]string{"serve", "--name", goName(), "--cookie", otp.DefaultCookie, "--epmd", "auto",
		"--pubsub", w.pubsub, "--topic", "news"}, args...)...))
	w.startPeers(1)
	for _, e := range w.lab.peers {
		v, err := w.n.RPC(w.ctx(), e.name, "net_adm", "ping", ei.Atom(p.Name))
		require.NoError(w.t, err)
		require.Equal(w.t, ei.Atom("pong"), v)
	}
	for _, e := range w.lab.peers {
		w.hasMembers(e, members)
	}
	return p
}

// asks starts the node, without a PubSub, and connects all.
func (w *world) asks() {
	w.t.Helper()
	w.n = gonode.Start(w.t, w.config(goName()))
}

// lines are what the program has printed of the topic.
func (p *program) lines() (all []string) {
	for line := range strings.Lines(p.Log()) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "pubsub news "); ok {
			all = append(all, text)
		}
	}
	return all
}

func (p *program) prints(want ...string) {
	p.t.Helper()
	if !assertSoon(func() bool { return len(p.lines()) >= len(want) }) {
		require.Equal(p.t, want, p.lines())
	}
	require.Equal(p.t, want, p.lines())
}

// With workers what is broadcast, and what is sent to the node by its name, reaches each, whichever
// has the connection.
func TestServeWorkers(t *testing.T) {
	each(t, func(w *world) {
		p := w.serve(5, "--workers", "3", "--dispatch", "least")
		name := elixirName(w.pubsub)
		var want []string
		for round := range 2 {
			for i, e := range w.lab.peers {
				w.call(e, "broadcast", name, "news", ei.Int(100*round+i))
				want = append(want, strconv.Itoa(100*round+i))
				p.prints(want...)
				w.call(e, "direct", ei.Atom(p.Name), name, "news", ei.Int(100*round+10+i))
				want = append(want, strconv.Itoa(100*round+10+i))
				p.prints(want...)
				at := w.call(e, "subscribe", name, "news")
				_, err := w.n.RPC(w.ctx(), e.name, "erlang", "send", ei.Tuple{ei.Atom("peer"), ei.Atom(p.Name)},
					ei.Tuple{ei.Atom("publish"), ei.Binary("news"), ei.Int(100*round + 20 + i)})
				require.NoError(w.t, err)
				want = append(want, strconv.Itoa(100*round+20+i))
				p.prints(want...)
				require.Equal(w.t, want[len(want)-1], w.next(e, at))
			}
			if round == 0 {
				out, err := p.command("upgrade", p.Name).CombinedOutput()
				require.NoError(w.t, err, "%s", out)
			}
		}
	})
}
