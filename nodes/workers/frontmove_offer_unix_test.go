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

// channelPair is both ends of a channel in this process. The first is closed with the test.
func channelPair(t testing.TB) (one, other *handoff.Channel) {
	t.Helper()
	one, file, err := handoff.ChannelPair()
	require.NoError(t, err)
	t.Cleanup(func() { _ = one.Close() })
	other, err = handoff.FileChannel(file)
	require.NoError(t, err)
	return one, other
}

// A process that cannot take a front over is refused before the front stops.
func TestOfferRefusesEarly(t *testing.T) {
	w := newWorld(t, "tcp")
	front := newFrontWorld(t, 1)
	for who, o := range map[string]*handoff.Offer{"front": front.f.Offer()} {
		freeze := o.Freeze
		for what, tt := range map[string]struct {
			terms handoff.Terms
			err   error
		}{
			"another name":    {handoff.Terms{What: "other@test", Plugins: nodes.Config{}.Terms().Plugins}, handoff.ErrOther},
			"no plug-in":      {handoff.Terms{Plugins: []string{"other"}}, handoff.ErrUnknown},
			"few descriptors": {handoff.Terms{Plugins: nodes.Config{}.Terms().Plugins, Descriptors: 3}, handoff.ErrLimit},
			"fit":             {nodes.Config{}.Terms(), nil},
		} {
			t.Run(who+" "+what, func(t *testing.T) {
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
				one, other := channelPair(t)
				taken := async(func() (handoff.Taken, error) {
					defer other.Close()
					stage := func(context.Context, []byte, []int) (handoff.Staged, error) { return nil, errors.ErrUnsupported }
					return (&handoff.Acceptance{Terms: tt.terms, Stage: stage}).Take(w.ctx(), other)
				})
				h, err := o.Give(w.ctx(), one)
				require.False(t, h.Moved)
				require.Error(t, arrives(t, taken, "the other side").err)
				if tt.err == nil {
					require.True(t, frozen)
					tt.err = errFault
				} else {
					require.False(t, frozen)
				}
				require.ErrorIs(t, err, tt.err)
			})
		}
	}
}
