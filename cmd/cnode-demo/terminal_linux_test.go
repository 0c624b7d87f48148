package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/pty"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/observer"
)

// record keeps what a terminal shows after a while in the directory that CNODE_TEST_SCREENSHOTS
// names, for test/pictures.sh.
func record(t *testing.T, term *pty.Terminal, name, command string, after time.Duration) {
	if dir := os.Getenv("CNODE_TEST_SCREENSHOTS"); dir != "" {
		time.Sleep(after)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".cast"), term.Cast(t, command), 0o600))
	}
}

// A shop has servers, one of which is slow, and three peers that keep them busy.
func shop(t *testing.T, w *home) *nodes.Node {
	n := w.node("shop")
	require.NoError(t, observer.Serve(n, nil))
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	quick := nodes.FuncOf(func(item string) int { return len(item) })
	slow := nodes.FuncOf(func(ctx context.Context, _ string) {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	})
	for _, name := range []string{"orders", "stock", "prices", "carts", "mailer"} {
		_, err := n.Serve(name, nodes.Server{On: map[string]nodes.Func{"ask": quick, "mail": slow}}, nil)
		require.NoError(t, err)
	}
	for i, name := range []string{"billing", "web1", "web2"} {
		peer := w.node(name)
		box, err := peer.NewMailbox(nil)
		require.NoError(t, err)
		go func() {
			for turn := 0; ctx.Err() == nil; turn++ {
				for j, server := range []string{"orders", "stock", "prices", "carts"} {
					if turn%(j+1) == 0 {
						_, _ = peer.CallName(ctx, n.Name(), server, ei.Tuple{ei.Atom("ask"), ei.Binary(strings.Repeat("tea", 100<<i))})
					}
				}
				if turn%4 == 0 {
					_ = box.SendName(ctx, n.Name(), "mailer", ei.Tuple{ei.Atom("$gen_cast"), ei.Tuple{ei.Atom("mail"), ei.Binary("thanks")}})
				}
				select {
				case <-time.After(time.Duration(10+i) * time.Millisecond):
				case <-ctx.Done():
				}
			}
		}()
	}
	return n
}

// In a terminal top has a screen of its own, asks again and again, and ends with Esc. The terminal
// has room for the last column.
func TestTopInTerminal(t *testing.T) {
	w := newHome(t, 0)
	n := shop(t, w)
	cmd := exec.Command(program, "top", n.Name(), "--every", "1s", "--name", "operator@127.0.0.1")
	cmd.Env = append(append([]string{noPause}, w.env...), pty.Environment(t)...)
	term := pty.Start(t, cmd)
	term.Resize(t, 112, 30)
	term.Expect(t, n.Name()+"  up ", "nodes: billing@127.0.0.1 ", "web1@127.0.0.1 web2@127.0.0.1", "memory*", "orders", "/s")
	record(t, term, "top", "cnode-demo top "+n.Name(), 10*time.Second)
	term.Type(t, "\x1b")
	ends(t, term)
	require.Zero(t, cmd.ProcessState.ExitCode())
}

// All of the tour is on one screen.
func TestTourInTerminal(t *testing.T) {
	cmd := exec.Command(program)
	cmd.Env = []string{noPause, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + sockdir.New(t)}
	term := pty.Start(t, cmd)
	term.Resize(t, 126, 48)
	term.Expect(t, "A tour: two nodes", "nodedown", "--help lists the commands")
	ends(t, term)
	require.Zero(t, cmd.ProcessState.ExitCode())
	record(t, term, "tour", "cnode-demo", 0)
}

func ends(t *testing.T, term *pty.Terminal) {
	t.Helper()
	select {
	case <-term.Done():
	case <-time.After(waitLimit):
		require.FailNow(t, "it does not end")
	}
}
