//go:build unix

package cnodezstd

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/gallery/internal/carry"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/transporttest"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

func loopback() transport.Addr {
	at, _ := transport.ParseAddr("127.0.0.1:0")
	return at
}

// No rule is skipped: it moves as TCP does.
func TestConformance(t *testing.T) {
	tr, err := New()
	require.NoError(t, err)
	transporttest.Run(t, func() (transport.Transport, transport.Addr, error) { return tr, loopback(), nil })
}

func TestNodes(t *testing.T) {
	tr, err := New()
	require.NoError(t, err)
	carry.Nodes(t, tr, loopback)
}

// connect connects to a listener of package net.
func connect(t *testing.T) (*transport.Stream, net.Conn) {
	t.Helper()
	tr, err := New()
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	s, err := tr.Connect(expect.Context(t), transport.FromNetAddr(l.Addr()))
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	far, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { far.Close() })
	return s, far
}

// What compresses takes less on the wire.
func TestCompresses(t *testing.T) {
	s, far := connect(t)
	text := bytes.Repeat([]byte("the quick brown fox jumps over the lazy dog. "), 20_000)
	_, err := s.Writev(expect.Context(t), text)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	wire, err := io.ReadAll(far)
	require.NoError(t, err)
	require.Less(t, len(wire), len(text)/20)
}

// What is no frame, or becomes too large, ends reading for good.
func TestHostile(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	bomb := frame(enc, make([]byte, 1<<20)) // more than a frame may hold
	for name, sent := range map[string][]byte{
		"garbage": []byte("GET / HTTP/1.1\r\n\r\n"), "not compressed": {0x80, 0, 0, 3, 'x', 'y', 'z', 1}, "a bomb": bomb,
	} {
		t.Run(name, func(t *testing.T) {
			s, far := connect(t)
			_, err := far.Write(append(sent, 0, 0, 0, 1, 'x', 1))
			require.NoError(t, err)
			for range 2 {
				_, err = s.Read(context.Background(), make([]byte, 10))
				require.ErrorIs(t, err, syscall.EBADMSG)
			}
		})
	}
}
