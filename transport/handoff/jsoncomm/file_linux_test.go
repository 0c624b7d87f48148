package jsoncomm

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
)

// A file of a set that came with a document is like an attachment: Go's poller is not told of one
// that could make it wait.
func TestOddFileOfASet(t *testing.T) {
	fdtest.NoLeak(t)
	client, server := sockets(t, nil)
	fd := expect.NoError(unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)).In(t)
	require.NoError(t, client.Send(fdtest.Soon(t), "x", fd))
	require.NoError(t, unix.Close(fd))
	var got string
	set, _, err := server.Receive(fdtest.Soon(t), &got)
	require.NoError(t, err)
	f := expect.NoError(set.File(0, "counter")).In(t)
	require.ErrorIs(t, f.SetReadDeadline(time.Time{}), os.ErrNoDeadline)
	require.NoError(t, f.Close())
	require.NoError(t, set.Close())
}
