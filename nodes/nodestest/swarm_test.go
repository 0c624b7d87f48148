package nodestest_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/nodestest"
)

// alone finds and publishes nothing: no port mapper is needed.
func alone(cfg *nodes.Config) { cfg.Resolver = nodes.Static{} }

func TestSwarmIsAMesh(t *testing.T) {
	s, err := nodestest.StartSwarm(t.Context(), 5, alone)
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.Close()) }()
	require.NoError(t, s.Connect(t.Context()))
	for _, n := range s.Nodes() {
		for _, other := range s.Nodes() {
			if n == other {
				continue
			}
			require.NotNil(t, n.Conn(other.Name()), "%s to %s", n.Name(), other.Name())
		}
	}
}

func TestSwarmFails(t *testing.T) {
	bad, count := errors.New("bad"), 0
	_, err := nodestest.StartSwarm(t.Context(), 3, alone, func(cfg *nodes.Config) {
		count++
		if count == 3 {
			cfg.Setup = func(*nodes.Node) error { return bad }
		}
	})
	require.ErrorIs(t, err, bad)

	s, err := nodestest.StartSwarm(t.Context(), 3, alone)
	require.NoError(t, err)
	require.NoError(t, s.Nodes()[1].Close())
	require.Error(t, s.Connect(t.Context()))
	require.NoError(t, s.Close())
}
