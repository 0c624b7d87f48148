package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cnode-go/cnode/cmd/cnode-gen/internal/source"
	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/cmd/internal/config"
	"github.com/cnode-go/cnode/ei"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// An order is what the command line says.
type order struct {
	from, pkg              string
	structs, records       []string
	goName, module, client string
	link                   bool
	output                 string
	limit                  time.Duration
}

// newCommand is the whole command line.
func newCommand(o *config.Options) *cobra.Command {
	var between config.Virtual
	var g order
	cmd := &cobra.Command{
		Use:   "cnode-gen",
		Short: "Write Go types of an Elixir struct, and Elixir modules of Go types",
		Long: `Write source, so that neither side types by hand what the other has declared. With --from it is Go, of what a running node
tells: structs of Elixir, with their typespecs if the node has the modules' files with debug_info, and else with the types of the
defaults; or records of Erlang. Name all that one package is to have at once: what several of them need is written once. With --go
it is Elixir, of what the source of a Go program says, for which the go command is needed: a struct, or a client of the functions and
servers that the program exposes by nodes.FuncOf. A file is written only if everything has succeeded, and overwritten only if
cnode-gen has written it: its first line says so.`,
		Example: `  cnode-gen --from shop@127.0.0.1 --struct Shop.Order --package shop -o order.go
  cnode-gen --from shop@127.0.0.1 --struct Shop.Order --struct Shop.Customer -o shop/
  cnode-gen --from shop@127.0.0.1 --record shop:order
  cnode-gen --go ./shop.Order -o lib/order.ex
  cnode-gen --go ./cmd/pricing --client Pricing -o lib/pricing.ex`,
		Args:    cli.Args(),
		Version: cli.Version(),

		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.check(); err != nil {
				return err
			}
			if g.output != "" && !g.isFolder() {
				if err := checkOutput(g.output); err != nil {
					return err
				}
			}
			var files map[string][]byte
			var err error
			if g.from != "" {
				ctx, cancel := context.WithTimeout(cmd.Context(), g.limit)
				defer cancel()
				files, err = g.ask(ctx, o, &between, cmd.ErrOrStderr())
			} else { // the go command may have everything to compile
				files, err = g.read(cmd.Context(), cmd.ErrOrStderr())
			}
			if err != nil {
				return err
			}
			return g.write(files, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	o.AddTo(f)
	between.AddTo(f)
	ownWords(f)
	f.StringVar(&g.from, "from", "", "`NODE` to ask")
	f.StringSliceVar(&g.structs, "struct", nil, "`MODULE` of a struct of Elixir, such as Shop.Order; several times for several (--from)")
	f.StringSliceVar(&g.records, "record", nil, "`MODULE:RECORD` of Erlang; several times for several (--from)")
	f.StringVar(&g.pkg, "package", "", "`NAME` of the Go package (default: the first word of MODULE)")
	f.StringVar(&g.goName, "go", "", "`PACKAGE.TYPE` of Go, or PACKAGE with --client; as import path or ./folder")
	f.StringVar(&g.module, "module", "", "`MODULE` of Elixir for TYPE (default: that of its tag struct=, or Package.TYPE)")
	f.StringVar(&g.client, "client", "", "`MODULE` of Elixir that calls what PACKAGE exposes and serves (--go)")
	f.BoolVar(&g.link, "link", false, "the client calls by Cnode.Node, so that the program may be a child with a link (--client)")
	f.StringVarP(&g.output, "output", "o", "", "`FILE` to write, or FOLDER/ for a file of each module (--from); default: the standard output")
	f.DurationVar(&g.limit, "timeout", time.Minute, "how long to wait for the answers of NODE")
	return cmd
}

// ownWords are what the flags of all commands mean here, where no node is served.
func ownWords(f *pflag.FlagSet) {
	for name, words := range map[string]string{
		"name": "name of this node, `ALIVE[@HOST]`; without @HOST it gets this machine's host name, in the short form unless\n" +
			"NODE's is long (default: a name that no other node has)",
		"listen":    "`ADDRESS` of NODE's UNIX socket: unix:PATH, where PATH is the socket, or the directory that it is in",
		"epmd":      "which port mapper to ask, `auto|HOST:PORT`; auto: the one that runs where NODE is",
		"log-level": "log to the standard error: `off|error|warn|info|debug` (default: off)",
	} {
		f.Lookup(name).Usage = words
	}
}

func (g *order) check() error {
	switch {
	case g.link && g.client == "":
		return cli.Usagef("--link is for --client MODULE")
	case (g.from == "") == (g.goName == ""):
		return cli.Usagef("want --from NODE or --go PACKAGE.TYPE")
	case g.limit <= 0:
		return cli.Usagef("--timeout %v: want a time to wait", g.limit)
	case g.from == "":
		return g.checkGo()
	case g.client != "":
		return cli.Usagef("--client is for --go PACKAGE: a Go node does not tell the types of its functions, its source does")
	case g.module != "":
		return cli.Usagef("--module is for --go PACKAGE.TYPE")
	case len(g.structs)+len(g.records) == 0:
		return cli.Usagef("want --struct MODULE or --record MODULE:RECORD")
	}
	for _, name := range g.structs {
		if !source.IsAlias(ei.Atom("Elixir." + name)) {
			return cli.Usagef("--struct %s: want a module's name as Elixir writes it, Shop.Order", name)
		}
	}
	for _, name := range g.records {
		if module, record, _ := strings.Cut(name, ":"); module == "" || record == "" {
			return cli.Usagef("--record %s: want MODULE:RECORD", name)
		}
	}
	if g.pkg == "" {
		module, _, _ := strings.Cut(slices.Concat(g.structs, g.records)[0], ":")
		first, _, _ := strings.Cut(module, ".")
		g.pkg = strings.ToLower(first)
	}
	if !token.IsIdentifier(g.pkg) {
		return cli.Usagef("--package: %q cannot be the name of a Go package", g.pkg)
	}
	return nil
}

func (g *order) checkGo() error {
	switch {
	case len(g.structs) > 0 || len(g.records) > 0 || g.pkg != "":
		return cli.Usagef("--struct, --record and --package are for --from")
	case g.client != "" && g.module != "":
		return cli.Usagef("--module is for --go PACKAGE.TYPE")
	case g.client != "" && !source.IsAlias(ei.Atom("Elixir."+g.client)):
		return cli.Usagef("--client %s: want a module's name as Elixir writes it, Shop.Client", g.client)
	case g.isFolder():
		return cli.Usagef("-o %s: want a file; a folder is for --from", g.output)
	}
	return nil
}

// isFolder tells whether the output is a folder, for several files.
func (g *order) isFolder() bool { return strings.HasSuffix(g.output, "/") }

// errByHand: a file that this command has not written is not overwritten.
var errByHand = errors.New("it is there, and its first line does not say that cnode-gen has written it")

// checkOutput refuses a file that holds what somebody else has written. Pipes and devices hold
// nothing, nor does an empty file.
func checkOutput(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return err
	}
	f, err := os.Open(path)
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
	return fmt.Errorf("-o %s: %w", path, errByHand)
}

// write writes the files, by name: "" is the output itself, the others are in it. Nothing is
// written before it is known that all may be.
func (g *order) write(files map[string][]byte, out io.Writer) error {
	if g.output == "" {
		_, err := out.Write(files[""])
		return err
	}
	if g.isFolder() {
		if err := os.MkdirAll(g.output, 0o777); err != nil {
			return err
		}
	}
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		if err := checkOutput(filepath.Join(g.output, name)); err != nil {
			return err
		}
	}
	if g.from != "" {
		if err := checkPackage(g.output, files); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(g.output, name), files[name], 0o666); err != nil {
			return err
		}
	}
	return nil
}

// ask writes Go.
func (g *order) ask(
	ctx context.Context, o *config.Options, between *config.Virtual, errOut io.Writer,
) (files map[string][]byte, err error) {
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
	there := map[ei.Atom]string{}
	if g.output != "" {
		if there, err = structTypes(g.output); err != nil {
			return nil, err
		}
	}
	var roots []source.Root
	for _, name := range g.structs {
		roots = append(roots, source.Root{Module: ei.Atom("Elixir." + name)})
	}
	for _, name := range g.records {
		module, record, _ := strings.Cut(name, ":")
		roots = append(roots, source.Root{Module: ei.Atom(module), Record: ei.Atom(record)})
	}
	done := make(chan struct{})
	var written map[string][]byte
	var warnings []string
	var failed error
	go func() { // the types are the node's, and so is how long it takes to go through them
		defer close(done)
		written, warnings, failed = source.GoTypes(g.pkg, roots, g.isFolder(), there, a.module)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return nil, fmt.Errorf("the types that %s tells: %w", target, ctx.Err())
	}
	for _, text := range warnings {
		fmt.Fprintf(errOut, "warning: %s\n", text)
	}
	return written, failed
}

// read writes Elixir.
func (g *order) read(ctx context.Context, errOut io.Writer) (map[string][]byte, error) {
	path, name := g.goName, ""
	if g.client == "" {
		dot := strings.LastIndex(path, ".")
		if path, name = path[:max(dot, 0)], path[dot+1:]; dot < 0 || !token.IsIdentifier(name) {
			return nil, cli.Usagef("--go %s: want PACKAGE.TYPE, such as ./shop.Order", g.goName)
		}
	}
	p, err := load(ctx, cmp.Or(path, "."))
	if err != nil {
		return nil, err
	}
	var in source.Project
	if g.output != "" {
		if in, err = projectOf(g.output); err != nil {
			return nil, err
		}
	}
	var text []byte
	var remarks []string
	if g.client == "" {
		text, remarks, err = source.ElixirOfType(p, name, g.module, in)
	} else {
		text, remarks, err = source.ElixirClient(p, g.client, g.link, in)
		for i, what := range remarks {
			remarks[i] = "left out: " + what
		}
	}
	for _, what := range remarks {
		fmt.Fprintln(errOut, what)
	}
	if defined := new(source.DefinedError); errors.As(err, &defined) {
		err = fmt.Errorf("-o %s: %w: --module or --client gives another name", g.output, err)
	}
	return map[string][]byte{"": text}, err
}
