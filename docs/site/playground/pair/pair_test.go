package pair_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/docs/site/playground/capture"
	"github.com/cnode-go/cnode/docs/site/playground/pair"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
)

// What two nodes say to each other is given, from the first byte of the handshake to the end of the
// connection, and what alice has of it.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), expect.Limit)
	defer cancel()
	var lines []string
	require.NoError(t, pair.Run(ctx, `{quote,"A1"}`, func(e capture.Event) {
		require.NotEqual(t, capture.KindFault, e.Kind, e.Text)
		lines = append(lines, e.Kind+" "+e.Text)
	}))
	rest := lines
	for _, want := range []string{
		"note gen_server:call({shop,'bob@tab'}, ", "name alice@tab", "handshake name alice@tab", "handshake status ok",
		"name bob@tab", "handshake challenge", "handshake reply", "handshake ack",
		"message REG_SEND", `{quote,"A1"}`, `{ok,{quote,"A1"}}`, `note the call returns {ok,{quote,"A1"}}`,
		"note link", "message LINK", "message PAYLOAD_EXIT2", "message PAYLOAD_EXIT from", "note alice@tab receives EXIT with the reason stop",
		"note monitor", "message MONITOR_P", "message REG_SEND", "message PAYLOAD_MONITOR_P_EXIT from clock",
		"note alice@tab receives MONITOR_P_EXIT with the reason normal", "end ",
	} {
		for len(rest) > 0 && !strings.Contains(rest[0], want) {
			rest = rest[1:]
		}
		require.NotEmpty(t, rest, "no %q in its place in\n%s", want, strings.Join(lines, "\n"))
	}
}

func TestRunWrong(t *testing.T) {
	var wrong *ei.TextError
	require.ErrorAs(t, pair.Run(t.Context(), "{a", func(e capture.Event) { t.Error(e) }), &wrong)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, pair.Run(ctx, "a", func(capture.Event) {}), context.Canceled)
}
