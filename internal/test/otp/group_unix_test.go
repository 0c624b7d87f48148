//go:build unix

package otp

import (
	"context"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// When kill returns, the program is gone, with all that it has started.
func TestKillEndsAll(t *testing.T) {
	p, err := LaunchProgram(context.Background(), exec.Command("sh", "-c", "sleep 1000 & echo ready a 0; wait"))
	require.NoError(t, err)
	defer p.Close()
	require.True(t, groupLives(p.Pid()))
	p.Kill()
	require.False(t, groupLives(p.Pid()))
}
