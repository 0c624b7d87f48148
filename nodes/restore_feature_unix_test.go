//go:build unix

package nodes

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A new owner that does not know the form of the state is found out before the node stops; an
// unknown field, in a state of a form that it knows, later.
func TestStateFeaturesAtHello(t *testing.T) {
	w := newWorld(t, "tcp")
	n := w.started("front")
	for _, tt := range []struct {
		know     []string
		refused  bool
		unknowns []byte // beside the state
	}{
		{[]string{states.Feature}, false, nil},
		{nil, true, nil},
		{[]string{"cnode-state-99"}, true, nil},
		{[]string{states.Feature}, false, addField(nil, 99, form.Must, "")},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			one, other := channelPair(t)
			taken := async(func() (handoff.Taken, error) {
				defer other.Close()
				terms := again(n).Terms()
				terms.Know = tt.know
				a := handoff.Acceptance{Terms: terms, Stage: func(_ context.Context, s []byte, fds []int) (handoff.Staged, error) {
					g, err := Restore(again(n), append(s, tt.unknowns...), fds)
					if err == nil {
						err = fmt.Errorf("%w: %w", errFault, g.Discard())
					}
					return nil, err
				}}
				return a.Take(w.ctx(), other)
			})
			frozen, o := false, n.Offer()
			o.Freeze = func(ctx context.Context) (handoff.Frozen, error) {
				frozen = true
				return n.Freeze(ctx)
			}
			_, err := o.Give(w.ctx(), one)
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
