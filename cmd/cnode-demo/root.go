package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit codes, which scripts rely on.
const (
	exitOK = 0
	// the command was understood and did not succeed; the reason is on the standard error
	exitFailed = 1
	exitUsage  = 2 // the command line is wrong; nothing was done
)

// A usageError is a fault of the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// run is the whole program: the exit code for a command line.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := untilSignal()
	defer stop()
	printed := &output{to: out}
	cmd := newRoot()
	cmd.SetArgs(args)
	cmd.SetIn(in)
	cmd.SetOut(printed)
	cmd.SetErr(errOut)
	cmd, err := cmd.ExecuteContextC(ctx)
	if err == nil && cmd.Name() != "serve" { // serve reports a failed write when it happens
		err = printed.err
	}
	if err == nil {
		return exitOK
	}
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(errOut, "%s: %v\nsee: %s --help\n", cmd.Name(), err, cmd.CommandPath())
		return exitUsage
	}
	fmt.Fprintf(errOut, "%s: %s\n", cmd.Name(), explain(err))
	dieOf(ctx, err)
	return exitFailed
}

// An output remembers the first failure, since the code that prints does not check each line.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

func newRoot() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:   "cnode-demo",
		Short: "A C-node in Go: try it out, and talk to Erlang nodes with it",
		Long: `cnode-demo is a member of an Erlang cluster, written in Go. Without a command it gives a tour, which needs no Erlang, takes
seconds and leaves nothing behind.

Node names are ALIVE@HOST. HOST is an address that the node listens on, or a host name that resolves to one. Without --listen
that is 127.0.0.1, so names like x@127.0.0.1 always work. ERL_EPMD_PORT and ERL_EPMD_ADDRESS have the same meaning as for erl.

Exit codes: 0 success, 1 failure (the reason, and what to do, on the standard error), 2 wrong command line. A command that a
signal interrupts says so and dies of the signal, as a shell's loop expects; serve and epmd end with 0.`,
		Example: `  cnode-demo                                         a tour
  cnode-demo serve --name cnode@127.0.0.1            a node to play with
  cnode-demo ping x@127.0.0.1                        is it there?
  cnode-demo call x@127.0.0.1 lists seq '[1, 5]'     call a function
  cnode-demo names                                   which nodes are there?
  cnode-demo upgrade cnode@127.0.0.1                 move that node to a new process
  cnode-demo epmd                                    a port mapper where there is no Erlang
  cnode-demo certs /tmp/tls                          certificates, for --transport tls`,
		Args:    args(),
		RunE:    o.tour,
		Version: version(),

		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{withUnit(err)} })
	root.SuggestionsMinimumDistance = 2 // two letters that are swapped
	root.CompletionOptions.DisableDefaultCmd = true
	o.addTo(root.PersistentFlags())
	root.AddCommand(newTour(o), newServe(o), newPing(o), newCall(o), newNames(o), newEpmd(o), newCerts(), newUpgrade(o), newTourHeir(o))
	checkHelp(root)
	trimHelp(root)
	return root
}

// withUnit says what is missing in a time that is a mere number.
func withUnit(err error) error {
	_, quoted, _ := strings.Cut(err.Error(), "missing unit in duration ")
	if number, e := strconv.Unquote(quoted); e == nil {
		return fmt.Errorf("%w; for seconds say %ss", err, number)
	}
	return err
}

// checkHelp makes "help" refuse arguments that there is no help about.
func checkHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() != "help" {
			continue
		}
		c.Args = func(_ *cobra.Command, about []string) error {
			cmd, rest, err := root.Find(about)
			if err != nil {
				return &usageError{err}
			}
			return args()(cmd, rest)
		}
	}
}

// newTour gives the tour as a command of its own.
func newTour(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "tour",
		Short: "Show what a C-node does, with two nodes in this process (the same without a command)",
		Long: `tour starts two nodes and a port mapper of its own, and shows in plain words what they do with each other: connect, send, call,
monitor, notice that a process ends; how a third node moves to another process; and what TLS hides from others. If erl is on the PATH, a
real Erlang node joins in. tour needs nothing else, and leaves nothing behind.`,
		Example: "  cnode-demo tour",
		Args:    args(),
		RunE:    o.tour,
	}
}

func (o *options) tour(cmd *cobra.Command, _ []string) error {
	if err := o.checkTour(cmd); err != nil {
		return err
	}
	return runTour(cmd.Context(), visitLimit, o.logger(cmd.ErrOrStderr()), cmd.OutOrStdout())
}

// checkTour refuses flags that the tour has no use for.
func (o *options) checkTour(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Name != "log-level" && err == nil {
			err = usagef("--%s is for a command such as serve or ping; the tour has names and ports of its own", f.Name)
		}
	})
	if err == nil {
		_, err = o.level()
	}
	return err
}

// args checks that the words named in want are given; those in brackets may be left out.
func args(want ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, got []string) error {
		if len(got) > len(want) && slices.Contains(want, "[ARGS]") {
			return usagef("more than one word for ARGS: want one list such as '[1, \"two\", {three}]'")
		}
		if len(got) > len(want) {
			return usagef("unknown command or argument %q%s", got[len(want)], suggestion(cmd, got[len(want)]))
		}
		for i, word := range got {
			// a variable of the shell that is not set
			if word == "" && !strings.HasPrefix(want[i], "[") {
				return usagef("%s is empty", want[i])
			}
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
	if cmd.Name() == "serve" {
		return "; its name is given with --name"
	}
	return ""
}
