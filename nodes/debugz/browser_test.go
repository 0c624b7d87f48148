//go:build unix

package debugz_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image/png"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/debugz"
)

// A browser is a Chromium without a screen, spoken to in the protocol of its developers' tools.
type browser struct {
	t       *testing.T
	say     *os.File
	answers *bufio.Reader
	last    int
	session string
}

func newBrowser(t *testing.T) *browser {
	program := need.Program(t, "chromium-headless-shell")
	theirs, say, err := os.Pipe()
	require.NoError(t, err)
	hear, told, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir())
	cmd.ExtraFiles = []*os.File{theirs, told}
	require.NoError(t, cmd.Start())
	theirs.Close()
	told.Close()
	t.Cleanup(func() {
		say.Close() // it ends
		require.NoError(t, cmd.Wait())
		hear.Close()
	})
	b := &browser{t: t, say: say, answers: bufio.NewReader(hear)}
	require.NoError(t, hear.SetReadDeadline(time.Now().Add(expect.Limit)))
	var target struct{ TargetID, SessionID string }
	b.do("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	b.do("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &target)
	b.session = target.SessionID
	return b
}

func (b *browser) do(method string, params, result any) {
	b.t.Helper()
	b.last++
	text, err := json.Marshal(map[string]any{"id": b.last, "method": method, "params": params, "sessionId": b.session})
	require.NoError(b.t, err)
	if b.session == "" {
		text = bytes.Replace(text, []byte(`,"sessionId":""`), nil, 1)
	}
	_, err = b.say.Write(append(text, 0))
	require.NoError(b.t, err)
	for {
		text, err := b.answers.ReadBytes(0)
		require.NoError(b.t, err)
		var a struct {
			ID            int
			Result, Error json.RawMessage
		}
		require.NoError(b.t, json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &a))
		if a.ID == b.last {
			require.Empty(b.t, string(a.Error), method)
			if result != nil {
				require.NoError(b.t, json.Unmarshal(a.Result, result))
			}
			return
		}
	}
}

// eval gives the value of an expression, which may be a promise.
func (b *browser) eval(expression string) any {
	b.t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	b.do("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	require.Empty(b.t, string(r.ExceptionDetails))
	return r.Result.Value
}

// waits until an expression is true.
func (b *browser) waits(condition string) {
	b.t.Helper()
	b.eval("new Promise(done => { const look = () => " + condition + " ? done(true) : setTimeout(look, 10); look() })")
}

// axe fails for what axe-core finds wrong.
func (b *browser) axe() {
	b.t.Helper()
	path := os.Getenv("CNODE_TEST_AXE")
	if path == "" {
		return
	}
	script, err := os.ReadFile(path)
	require.NoError(b.t, err)
	b.eval(string(script) + "; true")
	require.Empty(b.t, b.eval(`axe.run().then(r => r.violations.map(v => v.impact + ": " + v.id + ": " +
		v.nodes.map(n => n.html).join(" ")))`))
}

// On a telephone and on a wide screen, light and dark: all of it is there, nothing is wider than
// the screen, no column is cut off, text can be told from its ground, and the page renews itself.
// The pictures go to the directory that CNODE_TEST_SCREENSHOTS names, and the rules of axe-core are
// tried if CNODE_TEST_AXE names its axe.min.js.
func TestInBrowser(t *testing.T) {
	b := newBrowser(t)
	s := show(t, debugz.Options{})
	for _, name := range []string{"web1", "web2", "store", "mailer-with-a-long-name"} {
		s.net.Connect(s.a, s.net.Node(name, func(cfg *nodes.Config) { cfg.Visible = len(name) < 6 }))
	}
	server := httptest.NewServer(s.page)
	defer server.Close()
	defer server.CloseClientConnections()
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{400, 1400} {
			b.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1,
				"mobile": width < 600}, nil)
			b.do("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]string{"name": "prefers-color-scheme",
				"value": scheme}}}, nil)
			b.do("Page.navigate", map[string]any{"url": server.URL}, nil)
			b.waits(`document.querySelector("#live:not([hidden])")`)
			require.LessOrEqual(t, b.eval("document.documentElement.scrollWidth"), float64(width), "%s at %d", scheme, width)
			require.Empty(t, b.eval(`[...document.querySelectorAll(".box")].filter(e => e.scrollWidth > e.clientWidth)
				.map(e => e.ariaLabel)`), "%s at %d", scheme, width)
			require.Equal(t, 5.0, b.eval(`document.querySelectorAll("#map text").length`))
			light := b.eval(`[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector("td")).color]
				.map(c => c.match(/\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 765)`).([]any)
			ground, ink := light[0].(float64), light[1].(float64)
			require.Greater(t, max(ground-ink, ink-ground), 0.6)
			require.Equal(t, scheme == "dark", ground < 0.5)
			b.axe()
			var shot struct{ Data string }
			b.do("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
			picture, err := base64.StdEncoding.DecodeString(shot.Data)
			require.NoError(t, err)
			decoded, err := png.Decode(bytes.NewReader(picture))
			require.NoError(t, err)
			require.InDelta(t, width, decoded.Bounds().Dx(), 20) // but for a bar to scroll by
			if dir := os.Getenv("CNODE_TEST_SCREENSHOTS"); dir != "" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("debugz-%s-%d.png", scheme, width)), picture, 0o600))
			}
		}
	}
	_, err := s.b.RPC(t.Context(), s.a.Name(), "secret", "again")
	require.Error(t, err)
	b.waits(`document.body.textContent.includes("secret:again")`)
	require.NoError(t, s.a.Close())
	b.waits(`document.querySelector("#state.closed")`)
}

// A renewal leaves alone what somebody is about: where the page and its boxes have been scrolled
// to, and the focus of the keyboard. Parts that come and go do not change that.
func TestRenewalInBrowser(t *testing.T) {
	b := newBrowser(t)
	s := show(t, debugz.Options{})
	const label = "a label that is not to be broken, for the box to be wider than the screen"
	box, err := s.a.NewMailbox(nil)
	require.NoError(t, err)
	require.NoError(t, box.SetLabel(label))
	server := httptest.NewServer(s.page)
	defer server.Close()
	defer server.CloseClientConnections()
	b.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": 700, "height": 300, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.do("Page.navigate", map[string]any{"url": server.URL}, nil)
	b.waits(`document.querySelector("#live:not([hidden])")`)
	b.eval(`{
		const style = document.querySelector("style");
		style.sheet.insertRule("td.w { white-space: nowrap !important }", style.sheet.cssRules.length);
		const box = document.querySelector("#processes .box");
		scrollTo(0, 400);
		box.focus({preventScroll: true});
		box.scrollLeft = 40;
		true
	}`)
	where := `[scrollX, scrollY, document.querySelector("#processes .box").scrollLeft, document.activeElement.ariaLabel]`
	before := b.eval(where).([]any)
	require.Equal(t, []any{40.0, "Processes"}, before[2:])
	require.Greater(t, before[1], 100.0)

	s.net.Connect(s.a, s.net.Node("web1", func(cfg *nodes.Config) { cfg.Visible = true }))
	b.waits(`document.querySelector("#map").textContent.includes("web1")`)
	after := b.eval(where).([]any)
	require.Equal(t, before[2:], after[2:])
	require.Greater(t, after[1], 100.0)

	b.eval(`document.querySelector("#processes a:nth-of-type(2)").focus()`)
	require.NoError(t, box.SetLabel("another"))
	b.waits(`document.querySelector("#processes").textContent.includes("another")`)
	require.Equal(t, "bytes", b.eval("document.activeElement.textContent"))
	require.NoError(t, s.a.Close())
	b.waits(`document.querySelector("#state.closed") || !document.querySelector("#trees")`)
	require.Equal(t, "bytes", b.eval("document.activeElement.textContent"))
}
