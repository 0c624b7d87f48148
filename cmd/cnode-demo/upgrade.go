package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/spf13/cobra"
)

// upgradeLimit bounds an upgrade as a whole. Each of its steps has a limit of its own, in the process that is asked.
const upgradeLimit = 90 * time.Second

func newUpgrade(o *options) *cobra.Command {
	var binary string
	cmd := &cobra.Command{
		Use:   "upgrade NAME",
		Short: "Have a running serve go on in a new process, without anybody noticing",
		Long: `Ask the serve that runs as NAME, of the same user, to start a new process with its own arguments, environment and standard
streams, from its own file as it is now or from --binary, and to hand everything over: connections, mailboxes, links, monitors and the
name. Connected nodes see nothing but a short silence. It prints "upgraded NAME OLDPID NEWPID" (exit 0).

If the new process does not start, crashes, hangs or refuses, whenever that is, the old one serves on, and the reason is on the
standard error (exit 1). A serve with --fault or --trace cannot move.`,
		Example: `  cnode-demo upgrade cnode@127.0.0.1
  cnode-demo upgrade cnode@127.0.0.1 --binary ./cnode-demo-new`,
		Args: args("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return upgrade(cmd.Context(), o, args[0], binary, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&binary, "binary", "", "`PATH` of the program to start (default: the file now at the running one's own path)")
	return cmd
}

func upgrade(ctx context.Context, o *options, name, binary string, out io.Writer) error {
	name, err := o.checkTarget(name)
	if err != nil {
		return err
	}
	if binary != "" {
		if binary, err = filepath.Abs(binary); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, upgradeLimit)
	defer cancel()
	ch, err := dialControl(ctx, name)
	if err != nil {
		return err
	}
	defer ch.Close()
	words, err := ch.Ask(ctx, "upgrade", binary)
	var refused *handoff.RefusedError
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("%s (process %d) serves on: %s", name, ch.Peer().PID, refused.Reason)
	case err != nil:
		return fmt.Errorf("%s (process %d) has not said what became of it: %w", name, ch.Peer().PID, err)
	case len(words) != 3 || words[0] != "upgraded":
		return fmt.Errorf("%s (process %d) has answered %q", name, ch.Peer().PID, words)
	}
	_, err = fmt.Fprintf(out, "upgraded %s %s %s\n", name, words[1], words[2])
	return err
}
