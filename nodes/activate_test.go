package nodes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

// Sockets that were passed to another process, the parent say, are not used.
func TestActivateOfAnother(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	var cfg Config
	require.NoError(t, cfg.Activate())
	require.Zero(t, cfg.Transport)
}

func TestEndpointIsAt(t *testing.T) {
	for _, tt := range []struct {
		asked, has string
		want       bool
	}{
		{"127.0.0.1:0", "127.0.0.1:4370", true},
		{"127.0.0.1:4370", "127.0.0.1:4370", true},
		{"127.0.0.1:4371", "127.0.0.1:4370", false},
		{"127.0.0.2:0", "127.0.0.1:4370", false},
		{"unix:/a", "unix:/a", true},
		{"unix:/a", "unix:/b", false},
		{"unix:/a", "127.0.0.1:4370", false},
	} {
		asked := of(transport.ParseAddr(tt.asked)).must(t)
		has := of(transport.ParseAddr(tt.has)).must(t)
		require.Equal(t, tt.want, Endpoint{Addr: asked}.IsAt(has), "%v", tt)
		require.True(t, Endpoint{}.IsAt(has))
		require.False(t, Endpoint{Addr: asked}.IsAt(nil))
	}
}
