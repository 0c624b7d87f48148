package stay

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
)

// What stays is a process, and so is what it starts: here the test is both, called by these names.
const (
	parentRole = "stay"
	nodeRole   = "node"
	tellRole   = "tell"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case parentRole:
			os.Exit(parent(os.Args[2:]))
		case nodeRole:
			os.Exit(node(os.Args[2]))
		case tellRole:
			os.Exit(tell(len(os.Args) > 2))
		}
	}
	os.Exit(leak.Run(m))
}

// parent is what the command's main function does.
func parent(args []string) int {
	cmd := Command()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	err := cmd.Execute()
	var ended *EndedError
	switch {
	case errors.As(err, &ended):
		return ended.Exit()
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
