package interop

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
)

// A BEAM ends the connection over an ei.Raw that is no term, and this side's log says why.
func malformedRaw(t *testing.T, m *meeting) {
	erl := m.erl
	var log bytes.Buffer // a TextHandler writes one line at a time
	cfg := config(erl.EpmdPort())
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	n, err := nodes.New(cfg)
	require.NoError(t, err)
	defer n.Close()
	require.NoError(t, n.Start(expect.Context(t)))
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
}
