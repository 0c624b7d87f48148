package virtual

import (
	"context"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/transport"
)

// TestMain fails when a test leaves a goroutine or a descriptor behind.
func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// pair connects two streams over tr.
func pair(t testing.TB, tr transport.Transport, at transport.Addr) (client, server *transport.Stream) {
	t.Helper()
	l := expect.NoError(tr.Listen(at, 0)).In(t)
	defer l.Close()
	return acceptOne(t, l, func() (*transport.Stream, error) { return tr.Connect(soon(t), l.Addr()) })
}

// acceptOne connects with connect and accepts at l.
func acceptOne(
	t testing.TB, l *transport.Listener, connect func() (*transport.Stream, error),
) (client, server *transport.Stream) {
	t.Helper()
	connected := make(chan error, 1)
	go func() {
		var err error
		client, err = connect()
		connected <- err
	}()
	server, err := l.Accept(soon(t))
	require.NoError(t, <-connected)
	require.NoError(t, err)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func loopback() transport.Addr {
	return transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))
}

// open returns a new stream, which is closed at the end of the test.
func open(t testing.TB) func(*transport.Stream, error) *transport.Stream {
	return func(s *transport.Stream, err error) *transport.Stream {
		require.NoError(t, err)
		t.Cleanup(func() { s.Close() })
		return s
	}
}

// tooLong bounds what takes milliseconds unless something is broken.
const tooLong = expect.Limit

// soon is a context for operations that must succeed.
func soon(t testing.TB) context.Context { return expect.Context(t) }

func requireWrites(t testing.TB, s *transport.Stream, text string) {
	t.Helper()
	require.NoError(t, expect.Err(s.Writev(soon(t), []byte(text))))
}

func requireReads(t testing.TB, s *transport.Stream, want string) {
	t.Helper()
	got := make([]byte, len(want))
	require.NoError(t, expect.Err(s.Readv(soon(t), got)))
	require.Equal(t, want, string(got))
}

// hooked is an in-memory transport whose ends read and write as a test wants.
func hooked(
	read func(next through, ctx context.Context, p []byte) (int, error),
	write func(next through, ctx context.Context, v [][]byte) (int64, error),
) transport.Transport {
	return newWrapper(transport.NewMemory(), wrapper{
		wrap: func(below *transport.Stream) end { return &hookedEnd{through{below}, read, write} },
	})
}

type hookedEnd struct {
	through
	onRead  func(next through, ctx context.Context, p []byte) (int, error)
	onWrite func(next through, ctx context.Context, v [][]byte) (int64, error)
}

func (h *hookedEnd) read(ctx context.Context, p []byte) (int, error) {
	if h.onRead == nil {
		return h.through.read(ctx, p)
	}
	return h.onRead(h.through, ctx, p)
}

func (h *hookedEnd) write(ctx context.Context, v [][]byte) (int64, error) {
	if h.onWrite == nil {
		return h.through.write(ctx, v)
	}
	return h.onWrite(h.through, ctx, v)
}

// memoryWindow is how many bytes one direction of an in-memory connection holds.
const memoryWindow = 64 << 10
