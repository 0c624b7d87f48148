package mapper

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

// At the address at which nodes find a node, they find its port mapper too.
func TestAddrs(t *testing.T) {
	for _, tc := range []struct {
		node, told string
		want       []string
	}{
		{"127.0.0.1:5", "", []string{"127.0.0.1:99", "[::1]:99"}},
		{"[::1]:5", "", []string{"127.0.0.1:99", "[::1]:99"}},
		{"192.0.2.7:5", "", []string{"127.0.0.1:99", "[::1]:99", "192.0.2.7:99"}},
		{"[2001:db8::7]:5", "", []string{"127.0.0.1:99", "[::1]:99", "[2001:db8::7]:99"}},
		{"0.0.0.0:5", "", []string{"[::1]:99", "0.0.0.0:99"}},
		{"[::]:5", "", []string{"0.0.0.0:99", "[::]:99"}},
		{"[fe80::1%lo]:5", "", []string{"127.0.0.1:99", "[::1]:99"}},
		{"0.0.0.0:5", "192.0.2.8", []string{"127.0.0.1:99", "[::1]:99", "192.0.2.8:99"}},
		{"unix:/somewhere", "", []string{"127.0.0.1:99", "[::1]:99"}},
	} {
		addr, err := transport.ParseAddr(tc.node)
		require.NoError(t, err)
		got, err := addrsFor(addr, func(name string) string {
			return map[string]string{"ERL_EPMD_PORT": "99", "ERL_EPMD_ADDRESS": tc.told}[name]
		})
		require.NoError(t, err)
		require.Equal(t, tc.want, got, "%s, %q", tc.node, tc.told)
	}
}
