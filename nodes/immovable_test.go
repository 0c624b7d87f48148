//go:build unix

package nodes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

// immovable is TCP without Import.
func immovable(t testing.TB) transport.Transport {
	cb := transport.TCPCallbacks()
	cb.Name, cb.Import = "stuck", nil
	tr, err := transport.New(cb, nil)
	require.NoError(t, err)
	return tr
}
