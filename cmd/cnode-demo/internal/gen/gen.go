// Package gen is the command gen.
package gen

import (
	"context"
	"errors"
	"fmt"
	"go/token"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/cli"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/config"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/gen/source"
	"github.com/cnode-go/cnode/ei"
	"github.com/spf13/cobra"
)

// An order is what the command line says.
type order struct {
	from, structure, record, pkg string
	goName, module, client       string
	output                       string
	limit                        time.Duration
}

// Command is the command gen.
func Command(o *config.Options) *cobra.Command {
	var between config.Virtual
	var g order
	cmd := &cobra.Command{
		Use:   "gen",
		Short: "Write Go types of an Elixir struct, and Elixir modules of Go types",
		Long: `Write source, so that neither side types by hand what the other has declared. With --from it is Go, of what a running node
tells: a struct of Elixir, with its typespecs if the node has the module's file with debug_info, and else with the types of the defaults;
or a record of Erlang. With --go it is Elixir, of what the source of a Go program says, for which the go command is needed: a struct, or
a client of the functions and servers that the program exposes by nodes.FuncOf. A file is written only if everything has succeeded, and
overwritten only if gen has written it: its first line says so.`,
		Example: `  cnode-demo gen --from shop@127.0.0.1 --struct Shop.Order --package shop -o order.go
  cnode-demo gen --from shop@127.0.0.1 --record shop:order
  cnode-demo gen --go ./shop.Order -o lib/order.ex
  cnode-demo gen --go ./cmd/pricing --client Pricing -o lib/pricing.ex`,
		Args: cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.check(); err != nil {
				return err
			}
			if err := g.checkOutput(); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), g.limit)
			defer cancel()
			var text []byte
			var err error
			if g.from != "" {
				text, err = g.ask(ctx, o, &between, cmd.ErrOrStderr())
			} else {
				text, err = g.read(ctx, cmd.ErrOrStderr())
			}
			if err != nil {
				return err
			}
			if g.output == "" {
				_, err = cmd.OutOrStdout().Write(text)
				return err
			}
			return g.write(text)
		},
	}
	between.AddTo(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&g.from, "from", "", "`NODE` to ask")
	f.StringVar(&g.structure, "struct", "", "`MODULE` of a struct of Elixir, such as Shop.Order (--from)")
	f.StringVar(&g.record, "record", "", "`MODULE:RECORD` of Erlang (--from)")
	f.StringVar(&g.pkg, "package", "", "`NAME` of the Go package (default: the first word of MODULE)")
	f.StringVar(&g.goName, "go", "", "`PACKAGE.TYPE` of Go, or PACKAGE with --client; as import path or ./folder")
	f.StringVar(&g.module, "module", "", "`MODULE` of Elixir for TYPE (default: that of its tag struct=, or Package.TYPE)")
	f.StringVar(&g.client, "client", "", "`MODULE` of Elixir that calls what PACKAGE exposes and serves (--go)")
	f.StringVarP(&g.output, "output", "o", "", "`FILE` to write (default: the standard output)")
	f.DurationVar(&g.limit, "timeout", time.Minute, "how long to wait")
	return cmd
}

func (g *order) check() error {
	module, record, _ := strings.Cut(g.record, ":")
	switch {
	case (g.from == "") == (g.goName == ""):
		return cli.Usagef("want --from NODE or --go PACKAGE.TYPE")
	case g.limit <= 0:
		return cli.Usagef("--timeout %v: want a time to wait", g.limit)
	case g.from != "" && g.client != "":
		return cli.Usagef("--client is for --go PACKAGE: a Go node does not tell the types of its functions, its source does")
	case g.from != "" && (g.structure == "") == (g.record == ""):
		return cli.Usagef("want --struct MODULE or --record MODULE:RECORD")
	case g.from != "" && g.record != "" && (module == "" || record == ""):
		return cli.Usagef("--record %s: want MODULE:RECORD", g.record)
	case g.structure != "" && !source.IsAlias(ei.Atom("Elixir."+g.structure)):
		return cli.Usagef("--struct %s: want a module's name as Elixir writes it, Shop.Order", g.structure)
	case g.from == "" && (g.structure != "" || g.record != "" || g.pkg != ""):
		return cli.Usagef("--struct, --record and --package are for --from")
	case g.from != "" && g.module != "" || g.client != "" && g.module != "":
		return cli.Usagef("--module is for --go PACKAGE.TYPE")
	case g.client != "" && !source.IsAlias(ei.Atom("Elixir."+g.client)):
		return cli.Usagef("--client %s: want a module's name as Elixir writes it, Shop.Client", g.client)
	}
	if g.from == "" {
		return nil
	}
	if g.pkg == "" {
		first, _, _ := strings.Cut(g.structure+module, ".")
		g.pkg = strings.ToLower(first)
	}
	if !token.IsIdentifier(g.pkg) {
		return cli.Usagef("--package: %q cannot be the name of a Go package", g.pkg)
	}
	return nil
}

// ErrByHand: a file that this command has not written is not overwritten.
var ErrByHand = errors.New("it is there, and its first line does not say that cnode-demo gen has written it")

// checkOutput refuses an output that holds what somebody else has written. Pipes and devices hold
// nothing, nor does an empty file.
func (g *order) checkOutput() error {
	if g.output == "" {
		return nil
	}
	info, err := os.Stat(g.output)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return err
	}
	f, err := os.Open(g.output)
	if err != nil {
		return err
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, int64(len("// "+source.Written))))
	if err != nil {
		return err
	}
	for _, comment := range []string{"// ", "# "} {
		if strings.HasPrefix(string(head), comment+source.Written) {
			return nil
		}
	}
	return fmt.Errorf("-o %s: %w", g.output, ErrByHand)
}

// write writes the output, which may have become somebody else's since the beginning.
func (g *order) write(text []byte) error {
	if err := g.checkOutput(); err != nil {
		return err
	}
	return os.WriteFile(g.output, text, 0o666)
}

// ask writes Go.
func (g *order) ask(ctx context.Context, o *config.Options, between *config.Virtual, errOut io.Writer) (text []byte, err error) {
	target, err := o.CheckTarget(g.from)
	if err != nil {
		return nil, err
	}
	_, c, end, err := o.Dial(ctx, between, target, errOut)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	a := &asker{ctx: ctx, conn: c, node: target}
	done := make(chan struct{})
	var written []byte
	var failed error
	go func() { // the types are the node's, and so is how long it takes to go through them
		defer close(done)
		if module, record, ok := strings.Cut(g.record, ":"); ok {
			written, failed = source.GoOfRecord(g.pkg, ei.Atom(module), ei.Atom(record), a.module)
			return
		}
		written, failed = source.GoOfStruct(g.pkg, ei.Atom("Elixir."+g.structure), a.module)
	}()
	select {
	case <-done:
		return written, failed
	case <-ctx.Done():
		return nil, fmt.Errorf("the types that %s tells: %w", target, ctx.Err())
	}
}

// read writes Elixir.
func (g *order) read(ctx context.Context, errOut io.Writer) ([]byte, error) {
	path, name := g.goName, ""
	if g.client == "" {
		dot := strings.LastIndex(path, ".")
		if path, name = path[:max(dot, 0)], path[dot+1:]; dot < 0 || !token.IsIdentifier(name) {
			return nil, cli.Usagef("--go %s: want PACKAGE.TYPE, such as ./shop.Order", g.goName)
		}
	}
	if path == "" {
		path = "."
	}
	p, err := load(ctx, path)
	if err != nil {
		return nil, err
	}
	if g.client == "" {
		return source.ElixirOfType(p, name, g.module)
	}
	text, unclear, err := source.ElixirClient(p, g.client)
	for _, what := range unclear {
		fmt.Fprintf(errOut, "left out: %s\n", what)
	}
	return text, err
}
