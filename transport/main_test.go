package transport

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/test/leak"
	"github.com/stretchr/testify/require"
)

// TestMain fails when a test leaves a goroutine or a descriptor behind.
func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

func requireReads(t testing.TB, s *Stream, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_, err := s.Readv(soon(t), got)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
}
