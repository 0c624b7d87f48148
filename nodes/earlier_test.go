package nodes

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/internal/form"
)

// earlierState is a state as an earlier version wrote it: before nodes that come and go were told, before the roll of names, before ways
// that wait. These are kept as they are, for ever.
func earlierState(t *testing.T, kind string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "earlier", kind))
	require.NoError(t, err)
	quoted, ok := strings.CutPrefix(string(text), "go test fuzz v1\n[]byte(")
	require.True(t, ok)
	b, err := strconv.Unquote(strings.TrimSuffix(quoted, ")\n"))
	require.NoError(t, err)
	return []byte(b)
}

// What earlier versions have written is read, and all of it: written again it is the same.
func TestEarlierStates(t *testing.T) {
	var conn connState
	var node nodeState
	var front frontState
	var worker workerState
	for name, tt := range map[string]struct {
		kind byte
		s    form.Describer
	}{"conn": {kindConn, &conn}, "node": {kindNode, &node}, "front": {kindFront, &front}, "worker": {kindWorker, &worker}} {
		b := earlierState(t, name)
		require.NoError(t, readState(tt.kind, b, tt.s), name)
		again, err := writeState(tt.kind, tt.s)
		require.NoError(t, err)
		require.Equal(t, b, again, name)
	}
	require.Equal(t, "h@acabr", conn.peer.Name)
	require.Len(t, conn.unread, 2)
	require.Equal(t, "bcs@hac", node.conns[0].peer.Name)
	require.Len(t, node.conns[0].bonds, 3)
	require.Zero(t, front.roll)
	require.Len(t, front.crew, 2)
	require.Len(t, front.routes, 3)
	require.Zero(t, worker.roll)
	require.Len(t, worker.work, 3)
	require.Len(t, worker.meets, 3)
}

// The words by which earlier versions say what they give are known.
func TestEarlierWorkersAreKnown(t *testing.T) {
	require.Subset(t, workerKnows(), []string{"cnode-worker-state-1", "cnode-worker-state-2"})
}
