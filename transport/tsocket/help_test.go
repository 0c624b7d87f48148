package tsocket

import (
	"context"
	"encoding/binary"
	"errors"
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

func requireTimeout(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	op := expect.As[*transport.OpError](t, err)
	require.True(t, op.Timeout())
}

func loopback() transport.Addr {
	return transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))
}

// wildcard is a family's wildcard, with port 0.
func wildcard(t testing.TB, family string) transport.Addr {
	t.Helper()
	return expect.NoError(transport.ParseInet(family, "", 0)).In(t)
}

// pair connects two streams over tr.
func pair(t testing.TB, tr transport.Transport, at transport.Addr) (client, server *transport.Stream) {
	t.Helper()
	l := expect.NoError(tr.Listen(at, 0)).In(t)
	defer l.Close()
	return acceptOne(t, l, func() (*transport.Stream, error) { return tr.Connect(soon(t), l.Addr()) })
}

// acceptOne connects with connect and accepts at l.
func acceptOne(t testing.TB, l *transport.Listener, connect func() (*transport.Stream, error)) (client, server *transport.Stream) {
	t.Helper()
	connected := make(chan error, 1)
	go func() {
		var err error
		client, err = connect()
		connected <- err
	}()
	server, err := l.Accept(soon(t))
	require.NoError(t, expect.Returns(t, connected))
	require.NoError(t, err)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// requireSpeak sends a few bytes each way.
func requireSpeak(t testing.TB, a, b *transport.Stream) {
	t.Helper()
	for _, way := range [][2]*transport.Stream{{a, b}, {b, a}} {
		require.NoError(t, expect.Err(way[0].Writev(soon(t), []byte("words"))))
		requireReads(t, way[1], "words")
	}
}

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

// A framer reads a packet with a length of four bytes before it.
type framer struct {
	header [4]byte
	body   []byte
	calls  int
}

func (f *framer) next() ([][]byte, error) {
	f.calls++
	switch f.calls {
	case 1:
		return [][]byte{f.header[:]}, nil
	case 2:
		size := binary.BigEndian.Uint32(f.header[:])
		if size > 1<<20 {
			return nil, errors.New("too long")
		}
		f.body = make([]byte, size)
		return [][]byte{f.body}, nil
	}
	return nil, nil
}

func frames(bodies ...string) (b []byte) {
	for _, p := range bodies {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

// outstanding starts a receive and returns once the receive has claimed its direction.
func outstanding(t testing.TB, d *Datagram, ctx context.Context) <-chan error {
	t.Helper()
	done := expect.Aside(func() error { _, _, err := d.RecvFrom(ctx, make([]byte, 100)); return err })
	require.Eventually(t, d.receiving.Load, tooLong, time.Millisecond)
	return done
}
