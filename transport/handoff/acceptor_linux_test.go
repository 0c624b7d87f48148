package handoff

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
)

// A lack of descriptors does not end a listener: peers that connect meanwhile are accepted once
// there are descriptors, and a context and Close end the wait. With transport.NoWait an Accept does
// not wait for descriptors either.
func TestAcceptWithoutDescriptors(t *testing.T) {
	fdtest.NoLeak(t)
	dir := sockdir.New(t)
	require.NoError(t, os.Chmod(dir, 0o700))
	listen := func(name string) *Control {
		return expect.Open(ListenControl(filepath.Join(dir, name))).In(t)
	}
	c, closed := listen("c"), listen("closed")
	expect.Open(ConnectControl(fdtest.Soon(t), c.Path())).In(t)
	more := withoutNumbers(t)

	require.ErrorIs(t, expect.Err(c.Accept(transport.NoWait())), unix.EMFILE)
	require.ErrorIs(t, expect.Err(c.Accept(fdtest.Briefly(t))), context.DeadlineExceeded)
	ended := make(chan error, 1)
	go func() { _, err := closed.Accept(context.Background()); ended <- err }()
	require.Eventually(t, func() bool { return closed.acceptor.Waiting() }, expect.Limit, time.Millisecond)
	require.NoError(t, closed.Close())
	require.ErrorIs(t, <-ended, net.ErrClosed)

	go func() {
		conn, err := c.Accept(context.Background())
		if err == nil {
			err = conn.Close()
		}
		ended <- err
	}()
	require.Eventually(t, func() bool { return c.acceptor.Waiting() }, expect.Limit, time.Millisecond)
	more()
	require.NoError(t, <-ended)
}
