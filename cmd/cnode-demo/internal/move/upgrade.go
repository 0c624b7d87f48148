package move

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/cli"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/config"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/steps"
	"github.com/cnode-go/cnode/transport/handoff"
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

// errUnsaid and errWorkersUnsaid say that this command does not wait any longer for an upgrade that
// may still be going on.
var (
	ErrUnsaid        = errors.New("did not report the outcome of the upgrade")
	ErrWorkersUnsaid = errors.New("did not report the outcome of its workers' upgrade")
)

// errEnds: serve was told to end, or its listener has failed, before the new process had
// everything.
var errEnds = errors.New("ends, and has not handed the node over")

// ErrSilentOwner says that the new process has taken the node over, and has died since, or hangs.
var ErrSilentOwner = errors.New("has taken over the node, but has not reported that it runs")

// ErrTroubledOwner says that the new process has taken the node over, and that not all of its start
// has succeeded.
var ErrTroubledOwner = errors.New("has taken over the node, but its start has failed")

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
	limit, cancel := context.WithTimeout(ctx, upgradeLimit)
	defer cancel()
	ch, err := dialControl(limit, name)
	if err != nil {
		return err
	}
	defer ch.Close()
	steps.Reached("upgrade: connected")
	words, err := ch.Ask(limit, "upgrade", binary)
	steps.Reached("upgrade: answered")
	err = errors.Join(err, ch.Close())
	var refused *handoff.RefusedError
	switch {
	case errors.As(err, &refused):
		err = fmt.Errorf("%s (process %d) serves on: %s", name, ch.Peer().PID, refused.Reason)
	case err != nil:
		err = fmt.Errorf("%s (process %d) %w: %w", name, ch.Peer().PID, ErrUnsaid, err)
	case len(words) > 0 && words[0] == answerEnds:
		err = fmt.Errorf("%s (process %d) %w", name, ch.Peer().PID, errEnds)
	case len(words) > 3 && words[0] == answerTroubled:
		err = fmt.Errorf("process %s, to which process %s handed %s, %w: %s", words[2], words[1], name,
			ErrTroubledOwner, words[3])
	case len(words) > 3 && words[0] == answerSilent:
		err = fmt.Errorf("process %s, to which process %s handed %s, %w: %s", words[2], words[1], name, ErrSilentOwner, words[3])
	case len(words) < 3 || words[0] != answerUpgraded:
		err = fmt.Errorf("%s (process %d) has answered %q", name, ch.Peer().PID, words)
	}
	if err != nil {
		return unlessStopped(ctx, err)
	}
	if _, err = fmt.Fprintf(out, "upgraded %s %s %s\n", name, words[1], words[2]); err != nil {
		return err
	}
	if len(words) > 3 && words[3] == askWorkers {
		return awaitWorkers(ctx, name, errOut)
	}
	return nil
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
func awaitWorkers(ctx context.Context, name string, errOut io.Writer) error {
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
	ch, err := dialControl(ctx, name)
	var words []string
	if err == nil {
		words, err = ch.Ask(ctx, askWorkers)
		err = errors.Join(err, ch.Close())
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s is upgraded, and %w: %w", name, ErrWorkersUnsaid, err)
	case len(words) == 0 || words[0] != askWorkers:
		return fmt.Errorf("%s is upgraded, and has answered %q when it was asked about its workers", name, words)
	case len(words) > 1:
		return fmt.Errorf("%s is upgraded, but not all of its workers:\n%s", name, strings.Join(words[1:], "\n"))
	}
	return nil
}
