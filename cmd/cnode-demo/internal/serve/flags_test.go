package serve

import (
	"testing"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
)

func TestAlsoGivesEndpoints(t *testing.T) {
	overTLS := transport.NewMemory() // any transport will do
	a := also{given: []string{"tcp:127.0.0.1:4371", "tls:[::1]:4372", "unix:/run/x"}}
	require.True(t, a.overTLS())
	cfg := nodes.Config{Transport: transport.TCP()}
	require.NoError(t, a.over(&cfg, func() (transport.Transport, error) { return overTLS, nil }))
	require.Len(t, cfg.Also, 3)
	require.Equal(t, "127.0.0.1:4371", cfg.Also[0].Addr.String())
	require.Equal(t, transport.Transport(overTLS), cfg.Also[1].Transport)
	require.Equal(t, "[::1]:4372", cfg.Also[1].Addr.String())
	require.Equal(t, transport.Unix().Name(), cfg.Also[2].Transport.Name())
	require.ElementsMatch(t, []string{"tcp", "memory", "unix"}, cfg.Terms().Plugins, "what another process hands over finds its plug-in")
	require.False(t, (&also{given: []string{"tcp:127.0.0.1:1"}}).overTLS())
}
