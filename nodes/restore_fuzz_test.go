package nodes

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// addField appends a field to a whole state.
func addField(b []byte, tag uint64, n form.Need, value string) []byte {
	b = binary.AppendUvarint(b, tag<<1|uint64(n))
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

// Restore refuses ways to other workers in the state of a node that is one process.
func TestRestoreRefusesParts(t *testing.T) {
	for _, c := range []states.Conn{{Worker: 1}, {Trunk: 1}, {Shadow: true}} {
		c.Self, c.Peer.Name, c.Plugin, c.Pid = "a@b", "c@d", "tcp", ei.Pid{Node: "a@b", ID: 1, Creation: 4}
		b, err := form.Write(t.Context().Err, states.KindNode, &states.Node{Name: "a@b", Creation: 4, Conns: []states.Conn{c}})
		require.NoError(t, err)
		_, err = Restore(Config{Cookie: "secret", Resolver: Static{}}, b, nil)
		require.ErrorIs(t, err, ErrState)
	}
}

// FuzzRestore tries any bytes as the state of a node: no panic, and what is refused leaves nothing
// behind.
func FuzzRestore(f *testing.F) {
	f.Add([]byte(form.Magic + string(rune(states.KindNode)) + "\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		cfg := Config{Cookie: "secret", Resolver: Static{}}
		if s, err := Restore(cfg, b, nil); err == nil {
			require.NoError(t, s.Discard())
		}
	})
}
