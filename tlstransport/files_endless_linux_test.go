package tlstransport

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A file that does not tell its size is not read without end.
func TestEndlessFiles(t *testing.T) {
	require.ErrorContains(t, expect.Err(readOptFile("/dev/zero")), "larger than")
	require.ErrorContains(t, expect.Err(readPEM("/dev/zero")), "larger than")
}
