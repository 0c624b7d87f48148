package handoff

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/test/expect"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/test/sockdir"
	"github.com/cnode-go/cnode/transport"
)

// A lack of descriptors does not end a listener: peers that connect meanwhile are accepted once
// there are descriptors, and a context and Close end the wait. With transport.NoWait an Accept does
// not wait for descriptors either.
func TestAcceptWithoutDescriptors(t *testing.T) {
	noLeak(t)
	dir := sockdir.New(t)
	require.NoError(t, os.Chmod(dir, 0o700))
	listen := func(name string) *Control {
		c, err := ListenControl(filepath.Join(dir, name))
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	c, closed := listen("c"), listen("closed")
	visitor, err := ConnectControl(soon(t), c.Path())
	require.NoError(t, err)
	defer visitor.Close()
	more := withoutNumbers(t)

	_, err = c.Accept(transport.NoWait())
	require.ErrorIs(t, err, unix.EMFILE)
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err = c.Accept(short)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	ended := make(chan error, 1)
	go func() { _, err := closed.Accept(context.Background()); ended <- err }()
	require.Eventually(t, func() bool { return closed.turn.Callers() > 0 }, expect.Limit, time.Millisecond)
	require.NoError(t, closed.Close())
	require.ErrorIs(t, <-ended, net.ErrClosed)

	go func() {
		conn, err := c.Accept(context.Background())
		if err == nil {
			err = conn.Close()
		}
		ended <- err
	}()
	require.Eventually(t, func() bool { return c.turn.Callers() > 0 }, expect.Limit, time.Millisecond)
	more()
	require.NoError(t, <-ended)
}

// With transport.NoWait a pending connection is accepted, but Accept does not wait for one.
func TestAcceptSingleTry(t *testing.T) {
	noLeak(t)
	l, err := ListenJSON(filepath.Join(sockdir.New(t), "s"), nil)
	require.NoError(t, err)
	accept := func(ctx context.Context) error {
		ended := make(chan error, 1)
		go func() {
			c, err := l.Accept(ctx)
			if err == nil {
				err = c.Close()
			}
			ended <- err
		}()
		select {
		case err := <-ended:
			return err
		case <-time.After(expect.Limit):
			require.FailNow(t, "it waits")
			return nil
		}
	}
	path, err := transport.UnixPath(l.Addr())
	require.NoError(t, err)
	for _, ctx := range []context.Context{transport.NoWait(), soon(t), transport.NoWait()} {
		require.ErrorIs(t, accept(transport.NoWait()), os.ErrDeadlineExceeded)
		c, err := ConnectJSON(soon(t), path, nil)
		require.NoError(t, err)
		require.NoError(t, accept(ctx))
		require.NoError(t, c.Close())
	}
	require.NoError(t, l.turn.Take(soon(t)))
	l.turn.Stall() // whoever has the turn waits for a connection
	require.ErrorIs(t, accept(transport.NoWait()), os.ErrDeadlineExceeded)
	l.turn.Resume()
	l.turn.Pass()
	require.NoError(t, l.Close())
	require.ErrorIs(t, accept(transport.NoWait()), net.ErrClosed)
}
