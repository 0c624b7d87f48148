package jsoncomm

import (
	"context"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/transport/handoff"
)

// What another user's process sends is refused.
func TestAnotherUser(t *testing.T) {
	fdtest.NoLeak(t)
	name := "@" + t.Name() + strconv.Itoa(os.Getpid())
	server := expect.Open(NewServer(name, &ServerOptions{Peer: handoff.SameUser})).In(t)
	client := expect.Open(NewClient(server.Addr())).In(t)
	f := fdtest.File(t, "f")
	fdtest.AsNobody(t, func() error { return client.Send(context.Background(), "from nobody", f) })
	before := leak.Descriptors()
	require.ErrorIs(t, expect.Err2(server.Receive(fdtest.Soon(t), nil)), handoff.ErrForbidden)
	require.Empty(t, fdtest.LeftOver(before, leak.Descriptors()))
	require.NoError(t, client.Send(fdtest.Soon(t), "from us"))
	fds, _, err := server.Receive(fdtest.Soon(t), nil)
	require.NoError(t, err)
	require.NoError(t, fds.Close())
}
