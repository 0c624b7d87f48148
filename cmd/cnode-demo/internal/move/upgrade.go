package move

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/steps"
	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/cmd/internal/config"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/service"
	"github.com/spf13/cobra"
)

// upgradeLimit bounds an upgrade as a whole. Each of its steps has a limit of its own, in the
// process that is asked.
const upgradeLimit = 90 * time.Second

func Command(o *config.Options) *cobra.Command {
	var binary string
	cmd := &cobra.Command{
		Use:   "upgrade NAME",
		Short: "Move a running serve to a new process, without other nodes noticing",
		Long: `Ask the serve that runs as NAME, under the same user, to start a new process and to hand everything over to it: connections,
mailboxes, links, monitors and the name. The new process gets the same arguments, environment and standard streams, and runs the program
now at the old one's path, or --binary. Connected nodes see only a short silence. upgrade prints "upgraded NAME OLDPID NEWPID" (exit 0).

If serve has --workers, the process that accepts moves first, and its two process ids are printed; then each worker moves separately. A
worker whose new process fails carries on in its old one, and the reason is on the standard error (exit 1); run upgrade again to retry.
So it is if a worker's new process has died after it took the worker over: then a new worker takes its place.

If the new process does not start, crashes, hangs or refuses before it has everything, the old one keeps serving, and the reason is on the
standard error (exit 1). Once it has everything there is no way back: if it then crashes, the node is gone, and the standard error says so
(exit 1). The new process has 10 s to report that it has started, a worker's 30 s. A --binary that is a script must end with exec: serve can
stop only the process that it started itself, not the children of that process.

The new process does not belong to the shell that started the old one: neither Ctrl-C nor closing the terminal ends it. Use kill NEWPID, or
start serve with cnode-demo stay.

A serve with --fault or --trace cannot move.`,
		Example: `  cnode-demo upgrade cnode@127.0.0.1
  cnode-demo upgrade cnode@127.0.0.1 --binary ./cnode-demo-new`,
		Args: cli.Args("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if binary == "" && cmd.Flags().Changed("binary") {
				return cli.Usagef("--binary is empty: want the path of a program, or no --binary")
			}
			return askUpgrade(cmd.Context(), o, args[0], binary, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&binary, "binary", "",
		"`PATH` of the program to start (default: the file that is now at the running program's path)")
	return cmd
}

var (
	// ErrNoServe: nothing listens on the node's control socket.
	ErrNoServe = errors.New("no serve of this user runs as")
	// ErrTroubledOwner says that the new process has taken the node over, and that not all of its
	// start has succeeded.
	ErrTroubledOwner = errors.New("has taken over the node, but its start has failed")
	// ErrWorkersUnsaid says that this command does not wait any longer for an upgrade of workers
	// that may still be going on.
	ErrWorkersUnsaid = errors.New("did not report the outcome of its workers' upgrade")
)

func askUpgrade(ctx context.Context, o *config.Options, name, binary string, out, errOut io.Writer) error {
	name, err := o.CheckTarget(name)
	if err != nil {
		return err
	}
	if binary != "" {
		if binary, err = filepath.Abs(binary); err != nil {
			return err
		}
	}
	control := service.ControlPath(name)
	limit, cancel := context.WithTimeout(ctx, upgradeLimit)
	defer cancel()
	steps.Reached("upgrade: asks")
	asked, err := service.Ask(limit, control, binary)
	steps.Reached("upgrade: answered")
	if err != nil {
		return unlessStopped(ctx, Explain(name, err))
	}
	if _, err = fmt.Fprintf(out, "upgraded %s %d %d\n", name, asked.Old, asked.New); err != nil {
		return err
	}
	if asked.Workers {
		return awaitWorkers(ctx, name, control, errOut)
	}
	return nil
}

// Explain says in the words of the user, who knows names of nodes and no sockets, why a process has
// not done what it was asked for.
func Explain(name string, err error) error {
	var e *service.AskError
	isAsked := errors.As(err, &e)
	if isAsked {
		err = e.Err
	}
	if errors.Is(err, service.ErrNobody) {
		return fmt.Errorf("%w %s: %w", ErrNoServe, name, err)
	}
	if !isAsked {
		return err
	}
	var refused *handoff.RefusedError
	var failed *handoff.StartError
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("%s (process %d) serves on: %s", name, e.Old, refused.Reason)
	case errors.Is(err, service.ErrEnds):
		return fmt.Errorf("%s (process %d) ends, and has not handed the node over", name, e.Old)
	case errors.As(err, &failed):
		return fmt.Errorf("process %d, to which process %d handed %s, %w: %s", e.New, e.Old, name, ErrTroubledOwner, failed.Reason)
	case errors.Is(err, service.ErrSilent):
		return fmt.Errorf("process %d, to which process %d handed %s, %w", e.New, e.Old, name, err)
	}
	return fmt.Errorf("%s (process %d) %w", name, e.Old, err)
}

// signalTime is how long a signal may take that a service manager sends to all of a service.
const signalTime = 100 * time.Millisecond

// unlessStopped is err, or that this command has been told to end: when the service is stopped the
// node's process hears of that first, and an upgrade that fails for it is no failure of the
// service.
func unlessStopped(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case <-time.After(signalTime):
		return err
	}
}

// crewLimit bounds the wait for the upgrade of all workers, which have limits of their own.
const crewLimit = 10 * time.Minute

// sayAfter is how long the command says nothing before it tells the user what it waits for.
const sayAfter = 2 * time.Second

// awaitWorkers asks the new process for the outcome of its workers' upgrade.
func awaitWorkers(ctx context.Context, name, control string, errOut io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, crewLimit)
	defer cancel()
	said := make(chan struct{})
	say := time.AfterFunc(sayAfter, func() {
		defer close(said)
		fmt.Fprintf(errOut, "upgrade: waiting for the workers of %s; they go on without this command, too\n", name)
	})
	defer func() {
		if !say.Stop() {
			<-said
		}
	}()
	err := service.AskWorkers(ctx, control)
	var failed *service.WorkersError
	switch {
	case errors.As(err, &failed):
		return fmt.Errorf("%s is upgraded, but not all of its workers:\n%s", name, strings.Join(failed.Failures, "\n"))
	case err != nil:
		return fmt.Errorf("%s is upgraded, and %w: %w", name, ErrWorkersUnsaid, err)
	}
	return nil
}
