// Package stay is a small process that stays where a program upgrades itself: whoever watches the
// process that it has started sees none of the changes.
package stay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"

	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/spf13/cobra"
)

// ErrSystem: this system has no way to become the parent of a process whose parent has ended.
var ErrSystem = fmt.Errorf("only Linux gives a process the children of its children: %w on %s", errors.ErrUnsupported,
	runtime.GOOS)

// An EndedError is how the program has ended, if not with status 0. It has said why itself.
type EndedError struct {
	Code   int            // its exit status
	Signal syscall.Signal // or the signal that has ended it, if not 0
}

func (e *EndedError) Error() string {
	if e.Signal != 0 {
		return fmt.Sprintf("the program was ended by a signal: %v", e.Signal)
	}
	return fmt.Sprintf("the program has ended with exit status %d", e.Code)
}

// A StartError says that the program could not be started.
type StartError struct{ Err error }

func (e *StartError) Error() string { return e.Err.Error() }
func (e *StartError) Unwrap() error { return e.Err }

// Exit is a shell's exit status for a program that it does not find, or cannot run.
func (e *StartError) Exit() int {
	if errors.Is(e.Err, exec.ErrNotFound) || errors.Is(e.Err, fs.ErrNotExist) {
		return 127
	}
	return 126
}

// deadly are the signals of which a Go program can die as any other program does. The runtime has
// its own answer to others.
var deadly = []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL}

// Exit ends this process as the program has ended: by the same signal, where that can be, or with
// the exit status that it returns, which for a signal is a shell's.
func (e *EndedError) Exit() int {
	if e.Signal == 0 {
		return e.Code
	}
	// The kernel lets no signal end the first process of a container.
	if slices.Contains(deadly, e.Signal) && os.Getpid() != 1 {
		cli.DieBy(e.Signal)
	}
	return 128 + int(e.Signal)
}

func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stay -- PROGRAM [ARG…]",
		Short: "Run a program that upgrades itself, for those who watch one process",
		Long: `Start PROGRAM and stay until it has ended, with its exit status: as in a shell 127 if there is no such program, and 126 if it
cannot be run. When it upgrades itself, as serve and programs with an
upgrade.Upgrader do, stay follows the new process. So it is a process 1 for containers, and a child for runit, supervisord and shells, that
is the same all the time. Under systemd it is not needed: a program tells systemd itself.

Signals that tell a process something (SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH and the real-time ones) are
passed on to the process that the program is at the moment, but not those that were ignored when stay was started. If a signal ends the
program, stay dies of it too, or as process 1 exits with 128 and its number.

Processes whose parents have ended become children of stay, which removes them when they end. It waits for none of them: when the program
ends, stay does.

stay knows a new process by CNODE_UPGRADE_FD in its environment, and finds it in /proc. It does not follow a serve --takeover that was
started elsewhere, for which it ends. If it is killed itself, the program is not. Linux only.`,
		Example: `  cnode-demo stay -- cnode-demo serve --name cnode@127.0.0.1
  ENTRYPOINT ["/cnode-demo", "stay", "--"]          in a Dockerfile`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.Usagef("PROGRAM is missing")
			}
			if args[0] == "" {
				return cli.Usagef("PROGRAM is empty")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return run(args) },
	}
	cmd.Flags().SetInterspersed(false) // the flags behind PROGRAM are its own, also without --
	return cmd
}
