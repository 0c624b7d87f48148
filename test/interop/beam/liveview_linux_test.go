package beam

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/browser"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// liveViews has a browser fill in a form while its BEAM is killed: what was typed stays, over the
// same connection, and no banner is shown. Nested views are there again, and a file can be chosen
// again whose upload had begun.
func liveViews(t *testing.T, e otp.Elixir, lib []string) {
	need.Long(t, 8*time.Second)
	const outage = 5 * time.Second
	b := browser.New(t)
	h := newFront(t)
	start := h.rooms(e, lib)
	w := start()
	b.Do("Page.enable", nil, nil)
	b.Open("http://" + h.addr + "/")
	b.Waits("window.live && live.isConnected() && document.querySelector('.phx-connected')")
	types := func(text string) {
		t.Helper()
		b.Eval("document.getElementById('text').focus()")
		b.Do("Input.insertText", map[string]any{"text": text}, nil)
	}
	shows := func(text string) {
		t.Helper()
		b.Waits(fmt.Sprintf("document.getElementById('echo').innerText == %q", text))
	}
	pid := func() any { return b.Eval("document.getElementById('pid').innerText") }
	types("before")
	shows("before")
	require.EqualValues(t, fmt.Sprint(w.pid), pid())
	click := func(id, counts, want string) {
		t.Helper()
		b.Eval(fmt.Sprintf("document.getElementById(%q).click()", id))
		b.Waits(fmt.Sprintf("document.getElementById(%q).innerText == %q", counts, want))
	}
	click("nested-inc", "nested-n", "1")
	small, large := filepath.Join(t.TempDir(), "small"), filepath.Join(t.TempDir(), "large")
	require.NoError(t, os.WriteFile(small, make([]byte, 100_000), 0o644))
	require.NoError(t, os.WriteFile(large, make([]byte, 90_000_000), 0o644))
	chooses := func(file string) {
		t.Helper()
		var document struct {
			Root struct{ NodeID int }
		}
		var input struct{ NodeID int }
		b.Do("DOM.getDocument", nil, &document)
		b.Do("DOM.querySelector", map[string]any{"nodeId": document.Root.NodeID, "selector": "input[type=file]"}, &input)
		b.Do("DOM.setFileInputFiles", map[string]any{"nodeId": input.NodeID, "files": []string{file}}, nil)
	}
	chooses(large)
	b.Waits("Number(document.getElementById('size').innerText) < 0") // some of it is there
	require.NoError(t, syscall.Kill(w.pid, syscall.SIGKILL))
	w.wait()
	types(" while nobody is there")
	b.Eval("document.getElementById('inc').click()")
	time.Sleep(outage)
	w = start()
	b.Waits(fmt.Sprintf("document.getElementById('pid').innerText == '%d' && live.isConnected()", w.pid))
	b.Waits(fmt.Sprintf("document.getElementById('nested-pid').innerText == '%d'", w.pid))
	shows("before while nobody is there")
	require.Equal(t, "before while nobody is there", b.Eval("document.getElementById('text').value"))
	types(" and after")
	shows("before while nobody is there and after")
	click("inc", "n", "1") // the click during the outage is lost
	click("nested-inc", "nested-n", "1")
	chooses(small)
	b.Waits("document.getElementById('size').innerText == '100000'")
	t.Logf("websockets opened: %v, pictures of 20 ms with a banner: %v", b.Eval("window.opens"), b.Eval("window.banner"))
	require.EqualValues(t, 1, b.Eval("window.opens"), "the same connection")
	require.LessOrEqual(t, b.Eval("window.banner").(float64), 25.0)
}
