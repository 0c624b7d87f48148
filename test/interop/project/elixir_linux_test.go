package project

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
)

func page(t *testing.T) []byte {
	text, err := os.ReadFile("../../../docs/how-to/elixir-project.md")
	require.NoError(t, err)
	return text
}

// printed is what a chapter of the page shows, block by block.
func printed(t *testing.T, title string, count int) (blocks []string) {
	_, chapter, _ := strings.Cut(string(page(t)), "\n## "+title+"\n")
	chapter, _, ok := strings.Cut(chapter, "\n## ")
	require.True(t, ok)
	for _, m := range regexp.MustCompile("(?ms)^```\\w+\n(.*?)^```$").FindAllStringSubmatch(chapter, -1) {
		blocks = append(blocks, m[1])
	}
	require.Len(t, blocks, count)
	return blocks
}

// replaced replaces what has to be there.
func replaced(t *testing.T, text, old, with string) string {
	t.Helper()
	require.Contains(t, text, old)
	return strings.Replace(text, old, with, 1)
}

const commandLine = "go install github.com/cnode-go/cnode/cmd/cnode-gen@latest\n"

// asPrinted makes the project of the page.
func asPrinted(t *testing.T, e *elixir) {
	begin := time.Now()
	blocks := printed(t, "From mix new to a typed call", 6)
	own := strings.Count(blocks[1], "\n") + strings.Count(blocks[2], "\n")
	for line := range strings.Lines(blocks[3]) {
		if line != "\n" {
			own++
		}
	}
	require.Equal(t, 11, own, "lines of one's own")

	e.does("", replaced(t, blocks[0], commandLine, ""))
	compilers, dep, ok := strings.Cut(blocks[1], "\n")
	require.True(t, ok)
	e.edit("shop/mix.exs", "      deps: deps()\n", "      "+compilers+"\n      deps: deps()\n")
	e.edit("shop/mix.exs", "defp deps do\n    [\n", "defp deps do\n    [\n      "+dep)
	e.edit("shop/lib/shop/application.ex", "children = [\n", "children = [\n      "+blocks[2])
	e.file("shop/go/pricing/main.go", blocks[3])
	get, call, ok := strings.Cut(blocks[4], "mix deps.get\n")
	require.True(t, ok)
	e.tidy(get)
	question, answer, ok := strings.Cut(blocks[5], "\n")
	require.True(t, ok)
	// iex as printed, with the line that is typed on its standard input
	typed := fmt.Sprintf("echo 'IO.puts(\"answer: #{%s}\")' | iex ", strings.TrimPrefix(question, "iex> "))
	call = replaced(t, "mix deps.get\n"+call, "iex ", typed)
	out := e.does("shop", call)
	require.Contains(t, out, "answer: "+answer)
	require.NotContains(t, out, "warning:")
	t.Logf("from mix new to a typed call: %v", time.Since(begin).Round(time.Second))
	client, err := os.ReadFile(filepath.Join(e.dir, "shop/lib/shop/pricing.ex"))
	require.NoError(t, err)
	require.Contains(t, string(client), "@spec total(atom(), float(), integer(), timeout()) :: float()")
}

// tidy runs lines of a shell where modules can be fetched.
func (d *desk) tidy(lines string) {
	d.t.Helper()
	cmd := d.command("sh", "-ec", fmt.Sprintf("cd '%s/shop'\n%s", d.dir, lines))
	out, err := d.output(cmd)
	require.NoError(d.t, err, "%s", out)
}

// The project of docs/how-to/elixir-project.md, and what the page says of it.
func TestProject(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, found otp.Elixir) {
		e := &elixir{newDesk(t), found}
		asPrinted(t, e)
		e.does("shop", "mix format --check-formatted lib/shop/pricing.ex")

		program, err := os.ReadFile("testdata/pricing.go.txt")
		require.NoError(t, err)
		e.file("shop/go/pricing/main.go", string(program))
		e.compiles()

		built := filepath.Join(e.dir, "shop/_build/dev/lib/shop/cnode/pricing")
		begin := func() *system {
			return e.start(e.command(e.Program, "--name", beam, "-e", e.prelude("shop"), "-S", "mix", "run", "--no-halt"),
				goNode+" is connected").asks()
		}
		s := begin()
		s.supervised(built, func(version int) {
			e.file("shop/go/pricing/main.go", replaced(t, string(program), "version = 1", fmt.Sprintf("version = %d", version)))
			require.Contains(t, e.does("shop", "mix compile"+map[bool]string{true: " --force"}[version == 3]), "pricing (go/pricing)")
		})
		s.dies()
		begin().stops()
		e.releases()

		e.does("shop", "mix clean")
		require.NoFileExists(t, built)
		require.Contains(t, e.does("shop", "mix compile"), "Building pricing (go/pricing)")
		require.FileExists(t, built)

		// without a name there is a link
		out := e.does("shop", `mix run -e 'IO.inspect({Node.alive?(), Cnode.Node.call(:pricing, :pricing, :total, [1.5, 3])})'`)
		require.Contains(t, out, "{false, 4.5}")
		e.does("shop", "mix test")
	})
}

// compiles: what go build says is said by mix.
func (e *elixir) compiles() {
	t := e.t
	t.Helper()
	e.does("shop", "mix compile")
	require.NotContains(t, e.does("shop", "mix compile"), "pricing", "there is nothing to do")
	e.edit("shop/go/pricing/main.go", "price * float64(qty)", "price * quantity")
	out, err := e.shell("shop", "mix compile")
	require.Error(t, err)
	require.Contains(t, out, "error: undefined: quantity\n  go/pricing/main.go:18\n")
	out = e.does("shop", `mix run --no-compile --no-start -e 'IO.inspect Mix.Task.run("compile.cnode")'`)
	require.Contains(t, out, `compiler_name: "cnode"`)
	require.Contains(t, out, `message: "undefined: quantity"`)
	require.Contains(t, out, `position: 18`)
	e.edit("shop/go/pricing/main.go", "price * quantity", "price * float64(qty)")
	e.does("shop", "mix compile")

	// a go that is missing, or too old, is said
	out, err = e.shell("shop", `PATH=/usr/bin:/bin mix compile`)
	require.Error(t, err)
	require.Contains(t, out, "error: the command go is not found")
	e.file("old/go", "#!/bin/sh\nprintf 'go1.19.8\\n\\n\\n'\n")
	require.NoError(t, os.Chmod(e.dir+"/old/go", 0o755))
	out, err = e.shell("shop", fmt.Sprintf(`PATH=%s/old:$PATH mix compile`, e.dir))
	require.Error(t, err)
	require.Contains(t, out, "error: go is go1.19.8, which is too old")
}

// releases: a release has the program, runs it, and stops it.
func (e *elixir) releases() {
	t := e.t
	t.Helper()
	release, start, ok := strings.Cut(printed(t, "Build", 2)[0], "\n")
	require.True(t, ok)
	e.does("shop", release)
	started := func(line, says string) *system {
		t.Helper()
		return e.start(e.command(e.Program, "-e", e.prelude("shop")+fmt.Sprintf(`
			port = Port.open({:spawn, "sh -c '%s'"}, [:exit_status, :stderr_to_stdout, {:line, 1000}])
			wait = fn wait -> receive do
				{^port, {:data, {_, line}}} -> IO.puts(line); wait.(wait)
				{^port, {:exit_status, s}} -> System.halt(s)
			end end
			wait.(wait)`, strings.TrimSpace(line))), says)
	}
	// with the name and the cookie that a release has by itself
	s := started(start, " is connected")
	control := strings.TrimSuffix(strings.TrimSpace(start), "start")
	require.Contains(t, e.does("shop", control+`rpc '
		IO.inspect(Shop.Pricing.total(:pricing, 1.5, 3))'`), "4.5")
	e.does("shop", control+"stop")
	<-s.ended

	s = started(fmt.Sprintf("RELEASE_DISTRIBUTION=name RELEASE_NODE=%s RELEASE_COOKIE=%s %s", beam, otp.DefaultCookie, start),
		goNode+" is connected").asks()
	require.InDelta(t, 4.5, ask[float64](s, goNode, "pricing", "total", 1.5, 3), 0)
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.info().OSPid))
	require.NoError(t, err)
	require.Contains(t, link, "/rel/shop/lib/shop-0.1.0/priv/cnode/pricing")
	s.stops()
}
