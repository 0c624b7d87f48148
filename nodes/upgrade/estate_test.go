package upgrade

import (
	"testing"

	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/stretchr/testify/require"
)

// A still is a handoff.Frozen with a state, and nothing else.
type still struct{ state []byte }

func (s *still) State() []byte    { return s.state }
func (*still) Descriptors() []int { return nil }
func (*still) Thaw()              {}
func (*still) Release() error     { return nil }

// The copy of a state that an Upgrader makes holds no keys once the hand-off is over, by Thaw or by
// Release.
func TestEstateForgets(t *testing.T) {
	for name, end := range map[string]func(handoff.Frozen) error{
		"thawed":   func(f handoff.Frozen) error { f.Thaw(); return nil },
		"released": handoff.Frozen.Release,
	} {
		f, err := bequeath(&still{[]byte("secret")}, nil)
		require.NoError(t, err)
		state := f.State()
		require.Contains(t, string(state), "secret", name)
		require.NoError(t, end(f))
		require.Equal(t, make([]byte, len(state)), state, name)
	}
}
