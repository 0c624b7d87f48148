package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/pty"
)

// Tab completes values, and the names of nodes, in each shell as it comes: without the package
// bash-completion, too. Nodes are those of this user with their whole names, and those that the
// port mapper knows.
func TestShellsComplete(t *testing.T) {
	w := newHome(t, 0)
	w.node("shop")
	w.serve("serve", "--name", "served@127.0.0.1")
	require.NoError(t, os.Symlink(program, filepath.Join(w.home, "cnode-demo")))
	for _, tt := range []struct {
		shell []string
		start string
	}{
		{[]string{"bash", "--norc", "--noprofile"}, "source <(cnode-demo completion bash)"},
		{[]string{"zsh", "-f"}, "autoload -U compinit; compinit -D; source <(cnode-demo completion zsh)"},
		{[]string{"fish", "--no-config"}, "cnode-demo completion fish | source"},
	} {
		t.Run(tt.shell[0], func(t *testing.T) {
			cmd := exec.Command(need.Program(t, tt.shell[0]), tt.shell[1:]...)
			cmd.Dir = t.TempDir()
			cmd.Env = append(append(pty.Environment(t), w.env...), "PATH="+w.home+":"+os.Getenv("PATH"), "LANG=C.UTF-8")
			term := pty.Start(t, cmd)
			term.Type(t, tt.start+"; echo ready | tr a-z A-Z\r")
			term.Expect(t, "READY")
			for begun, whole := range map[string]string{
				"ping --transport un": "ix", "call --syntax el": "ixir", "ping --log-format=j": "son",
				"top --sort q": "ueue", "ping shop@12": "7.0.0.1", "call served@127": ".0.0.1", "upgrade served@": "127.0.0.1",
			} {
				// Ctrl-A goes to the beginning of the line, which is then printed in place of run
				term.Type(t, "cnode-demo "+begun+"\t\x01echo \r")
				term.Expect(t, "cnode-demo "+begun+whole+"\n") // without the space that follows it in the line
			}
		})
	}
}
