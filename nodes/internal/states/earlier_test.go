package states

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/internal/form"
)

// earlierState is a state as an earlier version wrote it: before MonitorNodes, before the name
// table of names, before ways that wait. These files are kept as they are, for ever.
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

// States that earlier versions have written can be read completely: written again they are the
// same.
func TestEarlierStates(t *testing.T) {
	var conn Conn
	var node Node
	var front Front
	var worker Worker
	for name, tt := range map[string]struct {
		kind byte
		s    form.Describer
	}{"conn": {KindConn, &conn}, "node": {KindNode, &node}, "front": {KindFront, &front}, "worker": {KindWorker, &worker}} {
		b := earlierState(t, name)
		require.NoError(t, form.Read(tt.kind, b, tt.s), name)
		again, err := form.Write(t.Context().Err, tt.kind, tt.s)
		require.NoError(t, err)
		require.Equal(t, b, again, name)
	}
	require.Equal(t, "h@acabr", conn.Peer.Name)
	require.Len(t, conn.Unread, 2)
	require.Equal(t, "bcs@hac", node.Conns[0].Peer.Name)
	require.Len(t, node.Conns[0].Bonds, 3)
	require.Zero(t, front.NameTable)
	require.Len(t, front.Crew, 2)
	require.Len(t, front.Routes, 3)
	require.Zero(t, worker.NameTable)
	require.Len(t, worker.Work, 3)
	require.Len(t, worker.Meets, 3)
}

// The features that earlier versions announce for a worker's state are known.
func TestEarlierWorkersAreKnown(t *testing.T) {
	require.Subset(t, WorkerKnown(), []string{"cnode-worker-state-1", "cnode-worker-state-2"})
}
