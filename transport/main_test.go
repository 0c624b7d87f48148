package transport

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
)

// TestMain fails when a test leaves a goroutine or a descriptor behind.
func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

func requireWrites(t testing.TB, s *Stream, text string) {
	t.Helper()
	require.NoError(t, expect.Err(s.Writev(soon(t), []byte(text))))
}

func requireReads(t testing.TB, s *Stream, want string) {
	t.Helper()
	got := make([]byte, len(want))
	require.NoError(t, expect.Err(s.Readv(soon(t), got)))
	require.Equal(t, want, string(got))
}

// noise is n bytes that are the same every time.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}
