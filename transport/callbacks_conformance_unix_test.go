//go:build unix

package transport_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/transporttest"
)

// The plug-in of the Example keeps the contract. Package transporttest has the others.
func TestExamplePlugin(t *testing.T) {
	var in, out atomic.Int64
	tr := expect.NoError(transport.New(metered(&in, &out), nil)).In(t)
	transporttest.Run(t, func() (transport.Transport, transport.Addr, error) {
		addr, err := transport.ParseAddr("127.0.0.1:0")
		return tr, addr, err
	})
	require.Positive(t, in.Load())
	require.Equal(t, in.Load() > 0, out.Load() > 0)
}
