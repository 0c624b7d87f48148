package tlstransport

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A file that does not tell its size is not read without end.
func TestEndlessFiles(t *testing.T) {
	_, err := readOptFile("/dev/zero")
	require.ErrorContains(t, err, "larger than")
	_, err = readPEM("/dev/zero")
	require.ErrorContains(t, err, "larger than")
}
