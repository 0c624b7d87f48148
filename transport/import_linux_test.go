package transport

import (
	"testing"

	"github.com/cnode-go/cnode/test/leak"
	"github.com/stretchr/testify/require"
)

// What Import gives can sleep, what ImportAccepted gives has nothing for that yet; both are the connection, whatever is around the plug-in.
func TestImportAccepted(t *testing.T) {
	for name, over := range map[string]struct {
		tr Transport
		at Addr
	}{"tcp": {TCP(), loopback()}, "unix": {Unix(), socketPath(t)}, "wrapped": {Limit(TCP(), LimitOptions{}), loopback()}} {
		for by, tt := range map[string]struct {
			adopt func(Transport, int, []byte) (*Stream, error)
			more  int
		}{"Import": {Transport.Import, 1}, "ImportAccepted": {ImportAccepted, 0}} {
			t.Run(name+" "+by, func(t *testing.T) {
				requireSpeakOnce(t, over.tr, over.at)
				c, s := pair(t, over.tr, over.at)
				dup := duplicate(t, s)
				state, _, err := s.Export()
				require.NoError(t, err)
				before := leak.Descriptors()
				moved, err := tt.adopt(over.tr, dup, state)
				require.NoError(t, err)
				require.Equal(t, tt.more, opened(t, before))
				require.NoError(t, s.Release())
				require.IsType(t, s.car, moved.car)
				requireSpeak(t, c, moved)
				require.NoError(t, moved.Close())
				require.Empty(t, leak.Left(before))
			})
		}
	}
}

// A transport of somebody else's has no difference to make, and what cannot be handed off is refused.
func TestImportAcceptedElsewhere(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	moved, err := ImportAccepted(struct{ Transport }{TCP()}, duplicate(t, s), nil)
	require.NoError(t, err)
	requireSpeak(t, c, moved)
	require.NoError(t, moved.Close())
	_, err = ImportAccepted(NewMemory(), 0, nil)
	require.Error(t, err)
	_, err = ImportAccepted(Fault(TCP(), FaultOptions{}), 0, nil)
	require.Error(t, err)
}
