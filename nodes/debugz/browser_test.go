//go:build unix

package debugz_test

import (
	"bytes"
	"fmt"
	"image/png"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/browser"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/debugz"
)

// axe fails for what axe-core finds wrong.
func axe(t *testing.T, b *browser.Browser) {
	t.Helper()
	path := os.Getenv("CNODE_TEST_AXE")
	if path == "" {
		return
	}
	script, err := os.ReadFile(path)
	require.NoError(t, err)
	b.Eval(string(script) + "; true")
	require.Empty(t, b.Eval(`axe.run().then(r => r.violations.map(v => v.impact + ": " + v.id + ": " +
		v.nodes.map(n => n.html).join(" ")))`))
}

// On a telephone and on a wide screen, light and dark: all of it is there, nothing is wider than
// the screen, no column is cut off, text can be told from its ground, and the page renews itself.
// The pictures go to the directory that CNODE_TEST_SCREENSHOTS names, and the rules of axe-core are
// tried if CNODE_TEST_AXE names its axe.min.js.
func TestInBrowser(t *testing.T) {
	b := browser.New(t)
	s := show(t, debugz.Options{})
	for _, name := range []string{"web1", "web2", "store", "mailer-with-a-long-name"} {
		s.net.Connect(s.a, s.net.Node(name, func(cfg *nodes.Config) { cfg.Visible = len(name) < 6 }))
	}
	server := httptest.NewServer(s.page)
	defer server.Close()
	defer server.CloseClientConnections()
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{400, 1400} {
			b.Screen(width, scheme == "dark")
			b.Open(server.URL)
			b.Waits(`document.querySelector("#live:not([hidden])")`)
			require.LessOrEqual(t, b.Eval("document.documentElement.scrollWidth"), float64(width), "%s at %d", scheme, width)
			require.Empty(t, b.Eval(`[...document.querySelectorAll(".box")].filter(e => e.scrollWidth > e.clientWidth)
				.map(e => e.ariaLabel)`), "%s at %d", scheme, width)
			require.Equal(t, 5.0, b.Eval(`document.querySelectorAll("#map text").length`))
			light := b.Eval(`[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector("td")).color]
				.map(c => c.match(/\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 765)`).([]any)
			ground, ink := light[0].(float64), light[1].(float64)
			require.Greater(t, max(ground-ink, ink-ground), 0.6)
			require.Equal(t, scheme == "dark", ground < 0.5)
			axe(t, b)
			picture := b.Picture(true)
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
	b.Waits(`document.body.textContent.includes("secret:again")`)
	require.NoError(t, s.a.Close())
	b.Waits(`document.querySelector("#state.closed")`)
}

// A renewal leaves alone what somebody is about: where the page and its boxes have been scrolled
// to, and the focus of the keyboard. Parts that come and go do not change that.
func TestRenewalInBrowser(t *testing.T) {
	b := browser.New(t)
	s := show(t, debugz.Options{})
	const label = "a label that is not to be broken, for the box to be wider than the screen"
	box, err := s.a.NewMailbox(nil)
	require.NoError(t, err)
	require.NoError(t, box.SetLabel(label))
	server := httptest.NewServer(s.page)
	defer server.Close()
	defer server.CloseClientConnections()
	b.Do("Emulation.setDeviceMetricsOverride", map[string]any{"width": 700, "height": 300, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.Open(server.URL)
	b.Waits(`document.querySelector("#live:not([hidden])")`)
	b.Eval(`{
		const style = document.querySelector("style");
		style.sheet.insertRule("td.w { white-space: nowrap !important }", style.sheet.cssRules.length);
		const box = document.querySelector("#processes .box");
		scrollTo(0, 400);
		box.focus({preventScroll: true});
		box.scrollLeft = 40;
		true
	}`)
	where := `[scrollX, scrollY, document.querySelector("#processes .box").scrollLeft, document.activeElement.ariaLabel]`
	before := b.Eval(where).([]any)
	require.Equal(t, []any{40.0, "Processes"}, before[2:])
	require.Greater(t, before[1], 100.0)

	s.net.Connect(s.a, s.net.Node("web1", func(cfg *nodes.Config) { cfg.Visible = true }))
	b.Waits(`document.querySelector("#map").textContent.includes("web1")`)
	after := b.Eval(where).([]any)
	require.Equal(t, before[2:], after[2:])
	require.Greater(t, after[1], 100.0)

	b.Eval(`document.querySelector("#processes a:nth-of-type(2)").focus()`)
	require.NoError(t, box.SetLabel("another"))
	b.Waits(`document.querySelector("#processes").textContent.includes("another")`)
	require.Equal(t, "bytes", b.Eval("document.activeElement.textContent"))
	require.NoError(t, s.a.Close())
	b.Waits(`document.querySelector("#state.closed") || !document.querySelector("#trees")`)
	require.Equal(t, "bytes", b.Eval("document.activeElement.textContent"))
}
