package beam

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/internal/test/browser"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
)

const sideBySide = `<!DOCTYPE html><meta charset="utf-8"><style>
	body { margin: 0; display: flex; gap: 20px; padding: 12px 16px; font: 15px 'DejaVu Sans', sans-serif; color: #1f2328; overflow: hidden }
	h1 { font-size: 17px; margin: 0 0 2px } p { margin: 0 0 8px; height: 20px; color: #59636e } .killed { color: #cf222e; font-weight: bold }
	iframe { width: 422px; height: 226px; border: 1px solid #d1d9e0; border-radius: 6px; background: white }
	</style><body>
	<div><h1>Phoenix today</h1><p></p><iframe src="http://%s/letter-today"></iframe></div>
	<div><h1>with a front</h1><p></p><iframe src="http://%s/letter"></iframe></div>`

const letter = "Dear station, two tickets for the night train, please: one by the window, and one beside it. We come from the north, " +
	"with a dog and two bicycles. Is there a seat for the dog? It is small, and sleeps a lot."

// The pictures of docs/pictures/websockets.gif: somebody types into two pages at once, one of which
// has a front, while both BEAMs are killed. Their names are the milliseconds of their times, in the
// directory websockets of the one that CNODE_TEST_SCREENSHOTS names. With -short, so that there is
// one Elixir.
func TestLetterInBrowser(t *testing.T) {
	dir := os.Getenv("CNODE_TEST_SCREENSHOTS")
	if dir == "" {
		t.Skip("CNODE_TEST_SCREENSHOTS names no directory")
	}
	dir = filepath.Join(dir, "websockets")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		lib := buildProgram(t, e, "rooms.ex", socketPeers...)
		h := newFront(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		today := l.Addr().String()
		require.NoError(t, l.Close())
		_, port, _ := net.SplitHostPort(today)
		begins := func(where string) *exec.Cmd {
			cmd := exec.CommandContext(t.Context(), e.Program, append(slices.Clone(lib), "-e", "Rooms.run("+where+")")...)
			cmd.Env, cmd.Stderr, cmd.WaitDelay = append(os.Environ(), "LC_ALL=C.UTF-8"), t.Output(), time.Second
			require.NoError(t, cmd.Start())
			t.Cleanup(func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			})
			return cmd
		}
		killed := uint64(0) // workers up to this one
		works := [2]func() bool{func() bool {
			conn, err := net.Dial("tcp", today)
			if err == nil {
				conn.Close()
			}
			return err == nil
		}, func() bool {
			return slices.ContainsFunc(h.stats().Workers, func(w front.Worker) bool { return w.ID > killed })
		}}
		both := func() []*exec.Cmd { return []*exec.Cmd{begins(port), begins(strconv.Quote(h.path))} }
		beams := both()
		for _, works := range works {
			require.Eventually(t, works, expect.Limit, 10*time.Millisecond)
		}
		page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, sideBySide, today, h.addr) }))
		defer page.Close()
		b := browser.New(t)
		b.Do("Emulation.setDeviceMetricsOverride", map[string]any{"width": 900, "height": 304, "deviceScaleFactor": 1, "mobile": false}, nil)
		b.Open(page.URL)
		b.Waits("document.readyState == 'complete'")
		sides := frames(t, b)
		for _, side := range sides {
			require.Eventually(t, func() bool { return side("document.querySelector('.phx-connected') != null") == true }, expect.Limit,
				50*time.Millisecond)
			side("document.getElementById('text').focus()")
		}
		says := func(i int, class, text string) {
			b.Eval(fmt.Sprintf("{ const p = document.querySelectorAll('p')[%d]; p.className = %q; p.innerText = %q }", i, class, text))
		}
		begun, typed := time.Now(), 0
		banners, worked := [2]int{}, [2]bool{true, true}
		var kill, after time.Time
		every := time.NewTicker(140 * time.Millisecond)
		defer every.Stop()
		for i := range sides {
			says(i, "", "the BEAM runs")
		}
		for after.IsZero() || time.Since(after) < 2*time.Second {
			<-every.C
			require.Less(t, time.Since(begun), expect.Limit)
			for ; typed < min(len(letter), int(time.Since(begun).Seconds()*9)); typed++ {
				for _, side := range sides {
					side(fmt.Sprintf(`{ const e = document.getElementById("text"); e.value += %q
						e.dispatchEvent(new Event("input", {bubbles: true})) }`, letter[typed:typed+1]))
				}
			}
			if kill.IsZero() && time.Since(begun) > 2*time.Second {
				for _, w := range h.stats().Workers {
					killed = max(killed, w.ID)
				}
				for i, beam := range beams {
					require.NoError(t, beam.Process.Kill())
					_ = beam.Wait()
					says(i, "killed", "kill -9, and the next BEAM starts")
				}
				kill, worked, beams = time.Now(), [2]bool{}, both()
			}
			lost := 0
			for i, side := range sides {
				if !worked[i] && works[i]() {
					worked[i] = true
					says(i, "", "the next BEAM runs")
				}
				if side("[...document.querySelectorAll('.flash')].some(e => e.checkVisibility())") == true {
					banners[i]++
					lost++
				}
			}
			if !kill.IsZero() && after.IsZero() && worked == [2]bool{true, true} && lost == 0 {
				after = time.Now()
			}
			name := filepath.Join(dir, fmt.Sprintf("%06d.png", time.Since(begun).Milliseconds()))
			require.NoError(t, os.WriteFile(name, b.Picture(false), 0o600))
		}
		t.Logf("%d characters, pictures with a banner: %v", typed, banners)
		require.NotZero(t, banners[0])
		require.Zero(t, banners[1])
	})
}

// frames gives what evaluates an expression in each frame of a page, which is of another origin.
func frames(t *testing.T, b *browser.Browser) (all []func(expression string) any) {
	t.Helper()
	var tree struct {
		FrameTree struct {
			ChildFrames []struct{ Frame struct{ ID string } }
		}
	}
	b.Do("Page.getFrameTree", nil, &tree)
	for _, f := range tree.FrameTree.ChildFrames {
		all = append(all, func(expression string) any {
			var world struct{ ExecutionContextID int }
			b.Do("Page.createIsolatedWorld", map[string]any{"frameId": f.Frame.ID, "worldName": "test"}, &world)
			var r struct{ Result struct{ Value any } }
			b.Do("Runtime.evaluate", map[string]any{"expression": expression, "contextId": world.ExecutionContextID, "returnByValue": true}, &r)
			return r.Result.Value
		})
	}
	require.Len(t, all, 2)
	return all
}
