package workers

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// FuzzRestore tries any bytes as the state of a front and a worker: no panic, and what is
// refused leaves nothing behind.
func FuzzRestore(f *testing.F) {
	for _, kind := range []byte{states.KindFront, states.KindWorker} {
		f.Add([]byte(form.Magic + string(kind) + "\x01"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		cfg := nodes.Config{Cookie: "secret", Resolver: nodes.Static{}}
		if g, err := Restore(Config{Node: cfg, Workers: 8}, b, nil); err == nil {
			require.NoError(t, g.Discard())
		}
		h := &workerHeir{cfg: cfg}
		if staged, err := h.stage(t.Context(), b, nil); err == nil {
			require.NoError(t, staged.Discard())
		}
	})
}
