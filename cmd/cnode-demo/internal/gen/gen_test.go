package gen

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/cli"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/config"
	"github.com/cnode-go/cnode/nodes/nodestest"
	"github.com/cnode-go/cnode/test/expect"
	"github.com/cnode-go/cnode/test/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

var update = flag.Bool("update", false, "write the golden files anew")

// run runs the command.
func run(t *testing.T, args ...string) (text, complaints string, err error) {
	cmd := Command(&config.Options{Transport: "tcp", Epmd: "auto"})
	var out, errs bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

// Modules of Elixir for all forms of a struct, and a client. Elixir compiles these files in
// test/interop/gen.
func TestElixir(t *testing.T) {
	for file, args := range map[string][]string{
		"everything.ex": {"--go", "./testdata/shop.Everything"},
		"user.ex":       {"--go", "./testdata/shop.User", "--module", "Shop.Person"},
		"options.ex":    {"--go", "./testdata/shop.Options"},
		"doc.ex":        {"--go", "./testdata/shop.Doc"},
		"client.ex":     {"--go", "./testdata/shop", "--client", "Shop.Client"},
	} {
		text, complaints, err := run(t, args...)
		require.NoError(t, err, file)
		path := filepath.Join("testdata", file)
		if *update {
			require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(want), text)
		if file == "client.ex" {
			require.Regexp(t, `^left out: \S+shop.go:\d+:\d+: its name is no constant\n`+
				`left out: \S+shop.go:\d+:9: its requests are neither here nor where a called function returns them, `+
				`in a literal nodes.Server\{On: map\[string\]nodes.Func\{…\}\}\n$`, complaints)
		} else {
			require.Empty(t, complaints)
		}
	}
}

// The file is written at the end.
func TestOutput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.ex")
	text, _, err := run(t, "--go", "./testdata/shop.Doc", "-o", path)
	require.NoError(t, err)
	require.Empty(t, text)
	_, _, err = run(t, "--go", "./testdata/shop.Wrong", "-o", path)
	require.Error(t, err)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(got), "defmodule Shop.Doc do\n")
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		args  []string
		want  string
		usage bool
	}{
		{[]string{}, "want --from NODE or --go PACKAGE.TYPE", true},
		{[]string{"--from", "a@b", "--go", "x.Y"}, "want --from NODE or --go PACKAGE.TYPE", true},
		{[]string{"--from", "a@b"}, "want --struct MODULE or --record MODULE:RECORD", true},
		{[]string{"--from", "a@b", "--struct", "A`"}, "--struct A`: want a module's name as Elixir writes it, Shop.Order", true},
		{[]string{"--from", "a@b", "--struct", "A", "--package", "a b"}, `--package: "a b" cannot be the name of a Go package`, true},
		{[]string{"--from", "a@b", "--struct", "Func.A"}, `--package: "func" cannot be the name of a Go package`, true},
		{[]string{"--from", "a@b", "--record", "order"}, "--record order: want MODULE:RECORD", true},
		{[]string{"--from", "a@b", "--client", "A"}, "--client is for --go PACKAGE: a Go node does not tell the types of its functions, " +
			"its source does", true},
		{[]string{"--go", "shop"}, "--go shop: want PACKAGE.TYPE, such as ./shop.Order", true},
		{[]string{"--go", "x.Y", "--struct", "A"}, "--struct, --record and --package are for --from", true},
		{[]string{"--go", "x", "--client", "a"}, "--client a: want a module's name as Elixir writes it, Shop.Client", true},
		{[]string{"--go", "./testdata/shop.Wrong"}, "the key \"#{x}\" cannot be that of a field in Elixir's source", false},
		{[]string{"--go", "./testdata/shop.Sent"}, "a chan int can be no term", false},
		{[]string{"--go", "./testdata/shop.None"}, "/testdata/shop has no type None", false},
		{[]string{"--go", "./testdata/shop.Colour"}, "shop.Colour is no struct", false},
		{[]string{"--go", "./testdata/shop.Doc", "--module", "a"}, `"a" is no name of an Elixir module`, false},
		{[]string{"--go", "./source", "--client", "A"}, "exposes and serves nothing", false},
		{[]string{"--go", "./...", "--client", "A"}, "./... is more than one package", false},
		{[]string{"--go", "./nowhere.A"}, "go list ./nowhere: exit status 1: ", false},
	} {
		_, _, err := run(t, tt.args...)
		require.ErrorContains(t, err, tt.want, tt.args)
		usage := new(cli.UsageError)
		if tt.usage {
			require.ErrorAs(t, err, &usage)
		} else {
			require.NotErrorAs(t, err, &usage)
		}
	}
}

// A Go node has no modules.
func TestGoNode(t *testing.T) {
	a, b := nodestest.Pair(t)
	ask := &asker{ctx: expect.Context(t), conn: a.Conn(b.Name()), node: b.Name()}
	_, err := ask.module("Elixir.Shop.Order")
	require.ErrorContains(t, err, "b@test is no BEAM, whose modules can be asked for: ")
}
