package interop

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// A BEAM ends the connection over an ei.Raw that is no term, and this side's log says why.
func TestMalformedRaw(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := r.Start(t, otp.Options{EpmdPort: port})
		var log bytes.Buffer // a TextHandler writes one line at a time
		cfg := gonode.Config(t, "raw@127.0.0.1", port)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		n := gonode.Start(t, cfg)
		c, err := n.Connect(expect.Context(t), erl.Name())
		require.NoError(t, err)
		box, err := n.NewMailbox(nil)
		require.NoError(t, err)
		require.NoError(t, box.SendName(expect.Context(t), erl.Name(), "rex", ei.Raw{109, 255, 255, 255, 255, 1}))
		select {
		case <-c.Done():
		case <-expect.Context(t).Done():
			t.Fatal("the connection does not end")
		}
		require.NoError(t, n.Close())
		said, down := strings.Index(log.String(), "a malformed ei.Raw was sent"), strings.Index(log.String(), `msg="node down"`)
		require.NotEqual(t, -1, said, log.String())
		require.Less(t, said, down, log.String())
		require.Contains(t, log.String(), "peer="+erl.Name()+` error="6 bytes to rex: `)
	})
}
