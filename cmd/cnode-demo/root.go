package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/ask"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/certs"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/mapper"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/move"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/serve"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/stay"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/top"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/tour"
	"github.com/cnode-go/cnode/cmd/internal/advice"
	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/cmd/internal/completion"
	"github.com/cnode-go/cnode/cmd/internal/config"
	"github.com/spf13/cobra"
)

// Exit codes, which scripts rely on.
const (
	exitOK = 0
	// the command was understood and did not succeed; the reason is on the standard error
	exitFailed = 1
	exitUsage  = 2 // the command line is wrong; nothing was done
)

// run is the whole program: the exit code for a command line.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := cli.UntilSignal()
	defer stop()
	printed := &output{to: out}
	cmd := newRoot(args)
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
	var ended *stay.EndedError
	if errors.As(err, &ended) {
		return ended.Exit()
	}
	if printed.len == 0 && asksJSON(cmd, args) {
		e := json.NewEncoder(printed)
		e.SetEscapeHTML(false)
		_ = e.Encode(map[string]string{"error": err.Error()}) // there is no other place to say it
	}
	var usage *cli.UsageError
	if errors.As(err, &usage) {
		about := cmd
		if cmd.Name() == "help" { // the list of commands is the root's
			about = cmd.Root()
		}
		fmt.Fprintf(errOut, "%s: %v\nsee: %s --help\n", cmd.Name(), err, about.CommandPath())
		return exitUsage
	}
	fmt.Fprintf(errOut, "%s: %s\n", cmd.Name(), advice.Of(err, advices...))
	cli.DieOf(ctx, err)
	var unstarted *stay.StartError
	if errors.As(err, &unstarted) {
		return unstarted.Exit()
	}
	return exitFailed
}

// asksJSON reports whether a command is to print JSON: its errors are an object then, too, if it
// has printed nothing yet. That holds for a wrong command line as well, of which only a part was
// read.
func asksJSON(cmd *cobra.Command, args []string) bool {
	f := cmd.Flags().Lookup("json")
	return f != nil && (f.Value.String() == "true" || slices.Contains(args, "--json"))
}

// An output remembers the first failure, since the code that prints does not check each line.
type output struct {
	to  io.Writer
	len int
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	o.len += n
	if o.err == nil {
		o.err = err
	}
	return n, err
}

func newRoot(args []string) *cobra.Command {
	o := &config.Options{Program: "cnode-demo"}
	root := &cobra.Command{
		Use:   "cnode-demo",
		Short: "A C-node in Go: try it out, and talk to Erlang nodes with it",
		Long: `cnode-demo is a member of an Erlang cluster, written in Go. Without a command it gives a tour, which needs no Erlang, takes
seconds and leaves nothing behind.

Node names are ALIVE@HOST. HOST is an address that the node listens on, or a host name that resolves to one. Without --listen
that is 127.0.0.1, so names like x@127.0.0.1 always work. ERL_EPMD_PORT and ERL_EPMD_ADDRESS have the same meaning as for erl.

Exit codes: 0 success, 1 failure (the reason, and what to do, on the standard error), 2 wrong command line. A command that a
signal interrupts says so and dies of the signal, as a shell's loop expects; serve and epmd end with 0, stay as its program does,
or with 127 if it is not found and 126 if it cannot be run. What messages and lines of the log mean, and what to do, is in
https://github.com/cnode-go/cnode/blob/main/docs/operate/troubleshooting.md.`,
		Example: `  cnode-demo                                         a tour
  cnode-demo serve --name cnode@127.0.0.1            a node to play with
  cnode-demo ping x@127.0.0.1                        is it there?
  cnode-demo call x@127.0.0.1 lists seq '[1, 5]'     call a function
  cnode-demo names                                   which nodes are there?
  cnode-demo top x@127.0.0.1                         what does it do?
  cnode-demo upgrade cnode@127.0.0.1                 move that node to a new process
  cnode-demo stay -- cnode-demo serve                for containers: stays when the node moves
  cnode-demo epmd                                    a port mapper where there is no Erlang
  cnode-demo certs /tmp/tls                          certificates, for --transport tls`,
		Args:    cli.Args(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return tour.Take(o, cmd) },
		Version: cli.Version(),

		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return cli.FlagError(cmd, args, err) })
	o.AddTo(root.PersistentFlags())
	root.AddCommand(tour.Command(o), serve.Command(o), ask.Ping(o), ask.Call(o), ask.Names(o), top.Command(o), moved("gen", "cmd/cnode-gen"),
		moved("front", "contrib/front/cmd/cnode-front"), mapper.Command(o), certs.Command(), move.Command(o), stay.Command(), tour.Heir())
	checkHelp(root)
	completion.Add(root, o, args)
	config.TrimHelp(root)
	return root
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
				return cli.Usagef("%w", err)
			}
			return cli.Args()(cmd, rest)
		}
	}
}

// moved is what was a command here, and is a program of its own now.
func moved(name, folder string) *cobra.Command {
	return &cobra.Command{Use: name, Hidden: true, DisableFlagParsing: true, RunE: func(*cobra.Command, []string) error {
		return fmt.Errorf("it is the command %s now, with the same flags: go install github.com/cnode-go/cnode/%s@latest",
			path.Base(folder), folder)
	}}
}
