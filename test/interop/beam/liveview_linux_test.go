package beam

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/browser"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// liveViews has a browser fill in a form while its BEAM is killed: what was typed stays, over the
// same connection, and no banner is shown.
func liveViews(t *testing.T, e otp.Elixir, lib []string) {
	need.Long(t, 4*time.Second)
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
	first := pid()
	require.EqualValues(t, fmt.Sprint(w.pid), first)
	require.NoError(t, syscall.Kill(w.pid, syscall.SIGKILL))
	w.wait()
	types(" while nobody is there")
	time.Sleep(2 * time.Second)
	w = start()
	b.Waits(fmt.Sprintf("document.getElementById('pid').innerText == '%d' && live.isConnected()", w.pid))
	shows("before while nobody is there")
	require.Equal(t, "before while nobody is there", b.Eval("document.getElementById('text').value"))
	types(" and after")
	shows("before while nobody is there and after")
	b.Eval("document.getElementById('inc').click()")
	b.Waits("document.getElementById('n').innerText == '1'")
	t.Logf("websockets opened: %v, pictures of 20 ms with a banner: %v", b.Eval("window.opens"), b.Eval("window.banner"))
	require.EqualValues(t, 1, b.Eval("window.opens"), "the same connection")
	require.LessOrEqual(t, b.Eval("window.banner").(float64), 25.0)
}
