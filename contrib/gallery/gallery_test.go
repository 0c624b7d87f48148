package gallery

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each carrier is at most 120 lines of code.
func TestSize(t *testing.T) {
	for _, file := range []string{"mux/mux.go", "ssh/ssh.go", "vsock/vsock_linux.go", "zstd/zstd.go"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		lines := 0
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
				lines++
			}
		}
		require.LessOrEqual(t, lines, 120, file)
	}
}
