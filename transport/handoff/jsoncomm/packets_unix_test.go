//go:build unix

package jsoncomm

import (
	"errors"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport/handoff/internal/sock"
)

// On systems without sequenced packets all functions that need them return the same error.
func TestNoSequencedPackets(t *testing.T) {
	if sock.Sequenced(syscall.SOCK_SEQPACKET) == nil {
		t.Skip(runtime.GOOS, "has them")
	}
	path := filepath.Join(sockdir.New(t), "x")
	require.ErrorIs(t, expect.Err2(Pair(nil)), errors.ErrUnsupported)
	require.ErrorIs(t, expect.Err(Connect(t.Context(), path, nil)), errors.ErrUnsupported)
	require.ErrorIs(t, expect.Err(Listen(path, nil)), errors.ErrUnsupported)
}
