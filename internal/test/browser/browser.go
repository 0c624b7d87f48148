//go:build unix

// Package browser drives a Chromium without a screen, for tests of pages.
package browser

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
)

// A Browser is spoken to in the protocol of its developers' tools. It ends with the test.
type Browser struct {
	t         *testing.T
	say       *os.File
	hear      *os.File
	answers   *bufio.Reader
	last      int
	session   string
	requested []string
}

// New starts a browser with an empty page; without a browser the test is skipped.
func New(t *testing.T) *Browser {
	theirs, say, err := os.Pipe()
	require.NoError(t, err)
	hear, told, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command(program(t), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir())
	cmd.ExtraFiles = []*os.File{theirs, told}
	require.NoError(t, cmd.Start())
	theirs.Close()
	told.Close()
	t.Cleanup(func() {
		say.Close() // it ends
		require.NoError(t, cmd.Wait())
		hear.Close()
	})
	b := &Browser{t: t, say: say, hear: hear, answers: bufio.NewReader(hear)}
	var target struct{ TargetID, SessionID string }
	b.Do("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	b.Do("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &target)
	b.session = target.SessionID
	return b
}

func program(t *testing.T) string {
	for _, name := range []string{"chromium", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return need.Program(t, "chromium-headless-shell")
}

// Do calls a method of the protocol; the result, which may be nil, is a pointer.
func (b *Browser) Do(method string, params, result any) {
	b.t.Helper()
	b.last++
	text, err := json.Marshal(map[string]any{"id": b.last, "method": method, "params": params, "sessionId": b.session})
	require.NoError(b.t, err)
	if b.session == "" {
		text = bytes.Replace(text, []byte(`,"sessionId":""`), nil, 1)
	}
	require.NoError(b.t, b.hear.SetReadDeadline(time.Now().Add(expect.Limit)))
	_, err = b.say.Write(append(text, 0))
	require.NoError(b.t, err)
	for {
		text, err := b.answers.ReadBytes(0)
		require.NoError(b.t, err)
		var a struct {
			ID            int
			Method        string
			Params        struct{ Request struct{ URL string } }
			Result, Error json.RawMessage
		}
		require.NoError(b.t, json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &a))
		switch {
		case a.Method == "Network.requestWillBeSent":
			b.requested = append(b.requested, a.Params.Request.URL)
		case a.ID == b.last:
			require.Empty(b.t, string(a.Error), method)
			if result != nil {
				require.NoError(b.t, json.Unmarshal(a.Result, result))
			}
			return
		}
	}
}

// Requested gives the addresses of all requests since the first call of Do with "Network.enable".
func (b *Browser) Requested() []string { return b.requested }

// Screen sets the width of the page, and whether it is a dark one.
func (b *Browser) Screen(width int, dark bool) {
	b.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.Do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1,
		"mobile": width < 600}, nil)
	b.Do("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]string{"name": "prefers-color-scheme",
		"value": scheme}}}, nil)
}

// Open navigates to an address.
func (b *Browser) Open(url string) {
	b.t.Helper()
	b.Do("Page.navigate", map[string]any{"url": url}, nil)
}

// Eval gives the value of an expression, which may be a promise.
func (b *Browser) Eval(expression string) any {
	b.t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	b.Do("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	require.Empty(b.t, string(r.ExceptionDetails))
	return r.Result.Value
}

// Waits until an expression is true.
func (b *Browser) Waits(condition string) {
	b.t.Helper()
	b.Eval("new Promise(done => { const look = () => " + condition + " ? done(true) : setTimeout(look, 10); look() })")
}

// Picture is what the page looks like, all of it if whole, as PNG.
func (b *Browser) Picture(whole bool) []byte {
	b.t.Helper()
	var shot struct{ Data string }
	b.Do("Page.captureScreenshot", map[string]any{"captureBeyondViewport": whole}, &shot)
	picture, err := base64.StdEncoding.DecodeString(shot.Data)
	require.NoError(b.t, err)
	return picture
}
