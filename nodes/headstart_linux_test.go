package nodes

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/test/port"
	"github.com/cnode-go/cnode/test/scarce"
)

// The same where a connection takes its time.
func TestHeadStartElsewhere(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	address(t, [4]byte{192, 0, 2, 1})
	testHeadStart(t, "192.0.2.1", 0, false)
}

// A head start does not take the last descriptor: here the one with which to find that there is no port mapper.
func TestHeadStartWithOneDescriptor(t *testing.T) {
	old := newPlace(t, "127.0.0.1")
	a := aheadOf(t, "127.0.0.1", 0, old.port(), nil)
	a.cfg.Resolver.(*PortMapper).Client.Addr = port.Vacant(t)
	next, err := os.Open(os.DevNull)
	require.NoError(t, err)
	number := uint64(next.Fd())
	require.NoError(t, next.Close())
	enough := scarce.Descriptors(t, number+1)
	_, err = a.Connect(soon(t), "bob@127.0.0.1")
	enough()
	require.ErrorIs(t, err, epmd.ErrNoPortMapper)
}
