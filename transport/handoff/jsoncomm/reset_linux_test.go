package jsoncomm

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/fdtest"
)

// The answer of a server that has closed is received, even if the server has not read all requests.
func TestLastWordsOfJSON(t *testing.T) {
	fdtest.NoLeak(t)
	ctx := fdtest.Soon(t)
	a, b, err := Pair(nil)
	require.NoError(t, err)
	defer a.Close()
	require.NoError(t, a.Send(ctx, "one"))
	require.NoError(t, a.Send(ctx, "two"))
	var got string
	set, err := b.Receive(ctx, &got)
	require.NoError(t, err)
	require.NoError(t, set.Close())
	require.NoError(t, b.Send(ctx, "answer"))
	require.NoError(t, b.Close())
	set, err = a.Receive(ctx, &got)
	require.NoError(t, err)
	require.NoError(t, set.Close())
	require.Equal(t, "answer", got)
	_, err = a.Receive(ctx, &got)
	require.ErrorIs(t, err, syscall.ECONNRESET)
}
