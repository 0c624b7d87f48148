package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes, which scripts rely on.
const (
	exitOK     = 0
	exitFailed = 1 // the command was understood and did not succeed; the reason is on the standard error
	exitUsage  = 2 // the command line is wrong; nothing was done
)

// A usageError is a fault of the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// run is the whole program: the exit code for a command line.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	cmd := newRoot()
	cmd.SetArgs(args)
	cmd.SetIn(in)
	cmd.SetOut(out)
	cmd.SetErr(errOut)
	cmd, err := cmd.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(errOut, "%s: %v\nsee: %s --help\n", cmd.Name(), err, cmd.CommandPath())
		return exitUsage
	}
	fmt.Fprintf(errOut, "%s: %s\n", cmd.Name(), explain(err))
	return exitFailed
}

func newRoot() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:   "cnode-demo",
		Short: "A C-node in Go, to try out and to talk to Erlang nodes with",
		Args:  args(),

		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.CompletionOptions.DisableDefaultCmd = true
	o.addTo(root.PersistentFlags())
	root.AddCommand(newServe(o), newPing(o), newCall(o), newNames(o), newEpmd(o))
	return root
}

// args demands the words that are named; those in brackets may be left out.
func args(want ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, got []string) error {
		if len(got) > len(want) {
			return usagef("unknown command or argument %q%s", got[len(want)], suggestion(cmd, got[len(want)]))
		}
		for _, missing := range want[len(got):] {
			if !strings.HasPrefix(missing, "[") {
				return usagef("%s is missing", missing)
			}
		}
		return nil
	}
}

func suggestion(cmd *cobra.Command, word string) string {
	if like := cmd.SuggestionsFor(word); len(like) > 0 {
		return "; did you mean " + strings.Join(like, ", ") + "?"
	}
	return ""
}
