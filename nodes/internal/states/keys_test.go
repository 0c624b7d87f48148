package states

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/nodes/internal/form"
)

// The keys in a state are those that reading it gives, in a state of each kind, and in the node's
// within it.
func TestKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, n, f, w := someConn(t), someNode(t), someFront(t), someWorker(t)
		write := func(kind byte, s form.Describer) []byte {
			b, err := form.Write(t.Context().Err, kind, s)
			require.NoError(t, err)
			return b
		}
		require.Equal(t, [][]byte{c.Export}, Keys(write(KindConn, &c)))
		var ofNode [][]byte
		for _, c := range n.Conns {
			ofNode = append(ofNode, c.Export)
		}
		node := write(KindNode, &n)
		require.Equal(t, ofNode, Keys(node))

		f.Node, w.Node = node, node
		var ofFront, ofWorker [][]byte
		add := func(to *[][]byte, list []LineMessage) {
			for _, w := range list {
				*to = append(*to, w.JSON)
			}
		}
		for _, c := range f.Crew {
			add(&ofFront, c.Unsent)
		}
		require.Equal(t, append(ofFront, ofNode...), Keys(write(KindFront, &f)))
		add(&ofWorker, w.Unsent)
		add(&ofWorker, w.Work)
		require.Equal(t, append(ofWorker, ofNode...), Keys(write(KindWorker, &w)))
	})
	require.Empty(t, Keys(nil))
	require.Empty(t, Keys([]byte("GET / HTTP/1.1")))
}
