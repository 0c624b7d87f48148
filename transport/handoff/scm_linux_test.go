package handoff

import (
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/internal/test/scarce"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport/handoff/internal/sock"
)

// The error of a pair that cannot be made names the call once.
func TestPairWithoutDescriptors(t *testing.T) {
	enough := scarce.Descriptors(t, 0)
	_, _, err := sock.Pair(syscall.SOCK_STREAM)
	enough()
	require.EqualError(t, err, "socketpair: too many open files")
}
