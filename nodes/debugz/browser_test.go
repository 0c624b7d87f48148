//go:build unix

package debugz_test

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"math"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/browser"
	"github.com/cnode-go/cnode/internal/test/cluster"
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

// The picture of docs/pictures/debugz.png: a node with traffic, after some two minutes. It goes to
// the directory that CNODE_TEST_SCREENSHOTS names.
func TestTrafficInBrowser(t *testing.T) {
	dir := os.Getenv("CNODE_TEST_SCREENSHOTS")
	if dir == "" {
		t.Skip("CNODE_TEST_SCREENSHOTS names no directory")
	}
	b := browser.New(t)
	s := show(t, debugz.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var busy sync.WaitGroup
	defer busy.Wait()
	begun := time.Now()
	again := func(pause time.Duration, do func() error) {
		busy.Go(func() {
			for do() == nil {
				wave := 1 + 0.6*math.Sin(time.Since(begun).Seconds()/4) // so that the charts are not flat
				time.Sleep(time.Duration(float64(pause) * wave))
			}
		})
	}
	calls := func(n *nodes.Node, function string, size int, pause time.Duration) {
		again(pause, func() error {
			_, _ = n.RPC(ctx, s.a.Name(), "shop", function, make([]byte, size)) // some are errors of the function
			return ctx.Err()
		})
	}
	for i, name := range []string{"web1", "web2", "store", "mailer"} {
		n := s.net.Node(name, func(cfg *nodes.Config) { cfg.Visible = name != "mailer" })
		s.net.Connect(s.a, n)
		calls(n, "quote", 300<<i, 3*time.Millisecond<<(2*i))
	}
	calls(s.b, "order", 100, 400*time.Millisecond)
	box := cluster.Mailbox(t, s.a, nil)
	again(8*time.Millisecond, func() error { return box.SendName(ctx, "store@test", "stock", make([]byte, 900)) })
	server := httptest.NewServer(s.page)
	defer server.Close()
	defer server.CloseClientConnections()
	b.Screen(1400, false)
	b.Open(server.URL)
	for range 110 { // each look is a point of the charts
		view(t, s.page)
		time.Sleep(950 * time.Millisecond)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "debugz-traffic.png"), b.Picture(true), 0o600))
	cancel()
}

// A renewal leaves alone what somebody is about: where the page and its boxes have been scrolled
// to, and the focus of the keyboard. Parts that come and go do not change that.
func TestRenewalInBrowser(t *testing.T) {
	b := browser.New(t)
	s := show(t, debugz.Options{})
	const label = "a label that is not to be broken, for the box to be wider than the screen"
	box := cluster.Mailbox(t, s.a, nil)
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
