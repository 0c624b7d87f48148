//go:build unix

package sock

import (
	"errors"
	"net"
	"path/filepath"
	"testing"

	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/fdtest"
)

// A file is removed while its socket is open: once the socket is closed, the file of a socket that
// was bound meanwhile may get the same inode number.
func TestRemovedBeforeClosed(t *testing.T) {
	fdtest.NoLeak(t)
	dir := sockdir.New(t)
	path := filepath.Join(dir, "s")
	conn, p, err := BindDatagram(transport.UnixAddr(path), nil)
	require.NoError(t, err)
	failure := errors.New("it failed")
	require.ErrorIs(t, p.RemoveThen(func() error {
		require.NoFileExists(t, path)
		next, p, err := BindDatagram(transport.UnixAddr(path), nil)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		require.FileExists(t, path)
		require.NoError(t, p.RemoveThen(next.Close))
		return failure
	}), failure)
	require.ErrorIs(t, conn.Close(), net.ErrClosed)
	require.NoFileExists(t, path)

	var none *Pin
	require.ErrorIs(t, none.RemoveThen(func() error { return failure }), failure)
}
