package beam

import (
	"bufio"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// phoenix.js itself, in Node, notices nothing of two kills but phx_error, and joins again by
// itself over the same WebSocket, with its own pause before that and with the page's. Each push is
// answered. Where the server joins, it does not even hear of an error.
func phoenixJS(t *testing.T, e otp.Elixir, lib []string) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no Node.js")
	}
	var file string
	for _, dir := range lib {
		if strings.HasSuffix(dir, "/phoenix/ebin") {
			file = filepath.Join(dir, "../priv/static/phoenix.cjs.js")
		}
	}
	h := newFront(t)
	start := h.rooms(e, lib)
	w := start()
	clients, kills := 10, need.Fewer(1, 2)
	for _, c := range []struct {
		path  string
		pause []string
		again int // joins of a client after a kill
	}{{"/client", []string{"50"}, 1}, {"/client", nil, 1}, {"/server", nil, 0}} {
		t.Run(fmt.Sprint(c.path, c.pause), func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), node, append([]string{"--experimental-websocket", "testdata/phoenix.cjs", file,
				"ws://" + h.addr + c.path, fmt.Sprint(clients)}, c.pause...)...)
			cmd.Stderr = t.Output()
			over, err := cmd.StdinPipe()
			require.NoError(t, err)
			said, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			var mu sync.Mutex
			count := map[string]int{}
			var joined time.Time
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for s := bufio.NewScanner(said); s.Scan(); {
					mu.Lock()
					if count[s.Text()]++; s.Text() == "join" {
						joined = time.Now()
					}
					mu.Unlock()
				}
			}()
			until := func(what string, many int) {
				t.Helper()
				require.Eventually(t, func() bool {
					mu.Lock()
					defer mu.Unlock()
					return count[what] >= many
				}, expect.Limit, time.Millisecond, "%s: %v", what, count)
			}
			more := func() {
				t.Helper()
				mu.Lock()
				answers := count["answer"]
				mu.Unlock()
				until("answer", answers+5*clients)
			}
			want := map[string]int{"open": clients, "join": clients}
			for k := range kills {
				more()
				require.NoError(t, syscall.Kill(w.pid, syscall.SIGKILL))
				w.wait()
				w = start()
				begun := time.Now()
				until("join", clients+(k+1)*c.again*clients)
				if c.again > 0 {
					t.Logf("all joined %v after the next BEAM was there", joined.Sub(begun).Round(time.Millisecond))
				}
			}
			more()
			require.NoError(t, over.Close())
			<-ended
			require.NoError(t, cmd.Wait())
			want["join"] += kills * c.again * clients
			if c.again > 0 {
				want["error resumed"] = kills * clients
			}
			t.Logf("%v", count)
			maps.DeleteFunc(count, func(what string, _ int) bool { return what == "answer" })
			require.Equal(t, want, count)
		})
	}
}
