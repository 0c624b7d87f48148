//go:build unix

package nodes

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/transport/handoff"
)

// Features that the state needs and the new owner lacks are found out before the node stops;
// features that it does not need are not required.
func TestStateFeaturesAtHello(t *testing.T) {
	w := newWorld(t, "tcp")
	n := w.started("front")
	b, err := n.NewMailbox(nil)
	require.NoError(t, err)
	for _, tt := range []struct {
		types    NodeTypes
		know     []string
		refused  bool
		unknowns []byte // beside the state
	}{
		{0, nil, false, nil},
		{AllNodes, StateFeatures(), false, nil},
		{AllNodes, nil, true, nil},
		{0, StateFeatures(), false, addField(nil, 99, form.Must, "")},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			_, err := b.MonitorNodes(tt.types)
			require.NoError(t, err)
			one, other := channelPair(t)
			taken := async(func() (handoff.Taken, error) {
				defer other.Close()
				know := handoff.Terms{Know: tt.know}
				a := handoff.Acceptance{Terms: know, Stage: func(_ context.Context, s []byte, fds []int) (handoff.Staged, error) {
					g, err := Restore(again(n), append(s, tt.unknowns...), fds)
					if err == nil {
						err = fmt.Errorf("%w: %w", errFault, g.Discard())
					}
					return nil, err
				}}
				return a.Take(w.ctx(), other)
			})
			frozen := false
			_, err = (&handoff.Offer{Needs: n.StateNeeds, Freeze: func(ctx context.Context) (handoff.Frozen, error) {
				frozen = true
				return n.Freeze(ctx)
			}}).Give(w.ctx(), one)
			theirs := arrives(t, taken, "the other side").err
			require.Error(t, theirs)
			require.Equal(t, !tt.refused, frozen, "%v", err)
			for _, err := range []error{err, theirs} {
				// unknowns are found late, but with the same error
				if tt.refused || tt.unknowns != nil {
					require.ErrorIs(t, err, handoff.ErrUnknown)
				} else {
					require.ErrorContains(t, err, errFault.Error())
				}
			}
		})
	}
}
