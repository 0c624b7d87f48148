package nodes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

// A node must listen at the address at which other nodes look for it.
func TestCheckReachable(t *testing.T) {
	for _, tc := range []struct{ name, at, says string }{
		{"a@127.0.0.1", "127.0.0.1:5", ""},
		{"a@localhost", "127.0.0.1:5", ""},
		{"a@127.0.1.1", "127.0.0.1:5", "will look for this one at 127.0.1.1, but it listens on 127.0.0.1 only"},
		{"a@127.0.1.1", "127.0.1.1:5", ""},
		{"a@192.0.2.1", "127.0.0.1:5", "at 192.0.2.1"},
		{"a@192.0.2.1", "0.0.0.0:5", ""},
		{"a@192.0.2.1", "192.0.2.2:5", ""}, // one address may be forwarded to another
		{"a@no-such-host.invalid", "127.0.0.1:5", "has no address"},
		{"a@anywhere", "unix:/tmp/a", ""},
	} {
		addr, err := transport.ParseAddr(tc.at)
		require.NoError(t, err)
		err = CheckReachable(t.Context(), tc.name, addr)
		if tc.says == "" {
			require.NoError(t, err, tc.name)
		} else {
			require.ErrorContains(t, err, tc.says, tc.name)
		}
	}
}
