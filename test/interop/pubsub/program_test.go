package pubsub

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/nodes"
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
	env := []string{
		"HOME=" + w.t.TempDir(), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + sockdir.New(w.t),
		"ERL_EPMD_PORT=" + strconv.Itoa(w.lab.port), "ERL_EPMD_ADDRESS=127.0.0.1",
	}
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
	var err error
	w.n, err = nodes.New(w.config(goName()))
	require.NoError(w.t, err)
	w.t.Cleanup(func() { w.n.Close() })
	require.NoError(w.t, w.n.Start(w.ctx()))
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

// What is broadcast is printed, what is published is broadcast; and nothing is lost, repeated or
// out of order while the program goes on in new processes.
func TestServe(t *testing.T) {
	each(t, func(w *world) {
		p := w.serve(3)
		x, y := w.lab.peers[0], w.lab.peers[1]
		name := elixirName(w.pubsub)
		atY := w.call(y, "subscribe", name, "news")
		w.call(x, "broadcast", name, "news", noteOf("x", 1))
		p.prints(`{note,<<"x">>,1}`)
		require.Equal(w.t, `{note,<<"x">>,1}`, w.next(y, atY))
		box, err := w.n.NewMailbox(nil)
		require.NoError(w.t, err)
		require.NoError(w.t, box.SendName(w.ctx(), p.Name, "peer", ei.Tuple{ei.Atom("publish"), ei.Binary("news"), ei.Atom("hello")}))
		require.Equal(w.t, "hello", w.next(y, atY))
		p.prints(`{note,<<"x">>,1}`, "hello")

		const many = 3000
		flood := make(chan error, 1)
		go func() {
			_, err := w.n.RPC(w.ctx(), x.name, "Elixir.Peer", "trickle", name, "news", many)
			flood <- err
		}()
		for range 3 {
			before := len(p.lines())
			require.True(w.t, assertSoon(func() bool { return len(p.lines()) > before || len(flood) > 0 }))
			out, err := p.command("upgrade", p.Name).CombinedOutput()
			require.NoError(w.t, err, "%s", out)
		}
		require.NoError(w.t, <-flood)
		want := []string{`{note,<<"x">>,1}`, "hello"}
		for i := range many {
			want = append(want, fmt.Sprintf("{n,%d}", i+1))
		}
		p.prints(want...)
	})
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
