package tsocket

import (
	"context"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/transport"
)

// TestMain fails when a test leaves a goroutine or a descriptor behind.
func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// tooLong bounds what takes milliseconds unless something is broken.
const tooLong = expect.Limit

// soon is a context for operations that must succeed.
func soon(t testing.TB) context.Context { return expect.Context(t) }

// within is a context of a short time.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// returns waits for an operation in another goroutine, which must come back.
func returns[T any](t testing.TB, c <-chan T) T { t.Helper(); return expect.Returns(t, c) }

// aside runs an operation in another goroutine and gives its error.
func aside(op func() error) <-chan error {
	c := make(chan error, 1)
	go func() { c <- op() }()
	return c
}

// second is the error of a call with two results.
func second[T any](_ T, err error) error { return err }

func requireTimeout(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	var op *transport.OpError
	require.ErrorAs(t, err, &op)
	require.True(t, op.Timeout())
}

func loopback() transport.Addr {
	return transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))
}

// wildcard is a family's wildcard, with port 0.
func wildcard(t testing.TB, family string) transport.Addr {
	t.Helper()
	a, err := transport.ParseInet(family, "", 0)
	require.NoError(t, err)
	return a
}
