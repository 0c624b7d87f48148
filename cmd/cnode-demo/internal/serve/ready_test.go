package serve

import (
	"bytes"
	"io"
	"net/netip"
	"testing"

	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
)

// A node that does not listen at the address that its name leads to is told what to do.
func TestUnreachableNodeGetsAdvice(t *testing.T) {
	addr, err := transport.ParseAddr("127.0.0.1:5")
	require.NoError(t, err)
	for _, logged := range []bool{false, true} {
		require.Contains(t, unreachable(t.Context(), "a@192.0.2.1", addr, logged),
			"name it ALIVE@127.0.0.1, or --listen 192.0.2.1")
		require.Empty(t, unreachable(t.Context(), "a@127.0.0.1", addr, logged))
	}
	const nowhere = "a@no-such-host.invalid"
	require.Contains(t, unreachable(t.Context(), nowhere, addr, false), "has no address")
	require.Empty(t, unreachable(t.Context(), nowhere, addr, true), "nothing to add")
}

// If the ready line cannot be written, where the node serves is said elsewhere.
func TestReadyWithoutRoom(t *testing.T) {
	read, write := io.Pipe()
	require.NoError(t, read.Close())
	var errOut bytes.Buffer
	printReady(write, &errOut, "x@127.0.0.1", transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:4371")))
	require.Contains(t, errOut.String(), "x@127.0.0.1 serves at 127.0.0.1:4371")
}
