// Command cnode-gen writes Go types of structs of Elixir and records of Erlang, and modules of
// Elixir of Go types.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cnode-go/cnode/cmd/internal/advice"
	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/cmd/internal/completion"
	"github.com/cnode-go/cnode/cmd/internal/config"
	"github.com/spf13/cobra"
)

// Exit codes, which scripts rely on.
const (
	exitOK     = 0
	exitFailed = 1 // the reason is on the standard error, and nothing was written
	exitUsage  = 2 // the command line is wrong
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the whole program: the exit code for a command line.
func run(args []string, out, errOut io.Writer) int {
	ctx, stop := cli.UntilSignal()
	defer stop()
	o := &config.Options{Program: "cnode-gen"}
	cmd := newCommand(o)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return cli.FlagError(cmd, args, err) })
	completion.Add(cmd, o, args)
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(errOut)
	err := cmd.ExecuteContext(ctx)
	var usage *cli.UsageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(errOut, "cnode-gen: %v\nsee: cnode-gen --help\n", err)
		return exitUsage
	}
	fmt.Fprintf(errOut, "cnode-gen: %s\n", advice.Of(err, byHand))
	cli.DieOf(ctx, err)
	return exitFailed
}

var byHand = advice.Kind{Name: "file by hand", About: advice.Is(errByHand,
	"Nothing written by hand is overwritten: name another file with -o, or remove that one first.")}
