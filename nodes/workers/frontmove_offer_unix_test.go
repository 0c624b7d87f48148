//go:build unix

package workers

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A process that cannot take a front over is refused before the front stops.
func TestOfferRefusesEarly(t *testing.T) {
	o := newFrontWorld(t, 1).f.Offer()
	freeze := o.Freeze
	for what, tt := range map[string]struct {
		terms handoff.Terms
		err   error
	}{
		"another name":    {handoff.Terms{What: "other@test", Plugins: nodes.Config{}.Terms().Plugins}, handoff.ErrOther},
		"no plug-in":      {handoff.Terms{Plugins: []string{"other"}}, handoff.ErrUnknown},
		"few descriptors": {handoff.Terms{Plugins: nodes.Config{}.Terms().Plugins, Descriptors: 3}, handoff.ErrLimit},
		"fit":             {nodes.Config{}.Terms(), errFault},
	} {
		t.Run(what, func(t *testing.T) {
			frozen := false
			o.Freeze = func(ctx context.Context) (handoff.Frozen, error) {
				frozen = true
				f, err := freeze(ctx)
				if err == nil {
					f.Thaw()
					err = errFault
				}
				return nil, err
			}
			one, file, err := handoff.ChannelPair()
			require.NoError(t, err)
			defer one.Close()
			other := of(handoff.FileChannel(file)).must(t)
			taken := async(func() (handoff.Taken, error) {
				defer other.Close()
				stage := func(context.Context, []byte, []int) (handoff.Staged, error) { return nil, errors.ErrUnsupported }
				return (&handoff.Acceptance{Terms: tt.terms, Stage: stage}).Take(soon(t), other)
			})
			h, err := o.Give(soon(t), one)
			require.False(t, h.Moved)
			require.ErrorIs(t, err, tt.err)
			require.Error(t, arrives(t, taken, "the other side").err)
			require.Equal(t, what == "fit", frozen)
		})
	}
}
