package main

import (
	"os"
	"os/exec"
	"testing"

	"github.com/cnode-go/cnode/internal/test/pty"
)

// Who sits at a terminal is told that the time is up.
func TestTimeoutAtTerminal(t *testing.T) {
	cmd := exec.Command(ours(t), "-name", "x@127.0.0.1", "-m", "-timeout", "1")
	cmd.Env = append(os.Environ(), asProgram+"=yes")
	pty.Start(t, cmd).Expect(t, "erl-call: not done within 1s (-timeout)")
}
