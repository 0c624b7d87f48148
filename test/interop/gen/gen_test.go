// Package gen tests cnode-gen: nothing of what Elixir and Go exchange here is typed by hand on
// both sides.
package gen

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/otp"
)

var generator = otp.Demo{Program: "cnode-gen"}

func TestMain(m *testing.M) { os.Exit(leak.Run(leak.Then(m, generator.Remove))) }

// A shop is an Elixir node with structs, whose beams are in a folder.
type shop struct {
	t       *testing.T
	e       otp.Elixir
	environ []string
	node    string
	dir     string
}

const compile = `
[dir | files] = System.argv()
for f <- files, {m, beam} <- Code.compile_file(f), do: File.write!(Path.join(dir, "#{m}.beam"), beam)
own = ["Elixir.Shop", "Elixir.Library", "Elixir.Decimal"]
for {m, _} <- :code.all_loaded(), String.starts_with?("#{m}", own), do: :code.purge(m) && :code.delete(m)
Code.prepend_path(dir)
defmodule Memory, do: defstruct(n: 1, any: nil)
IO.puts("ready #{node()} 0")
Process.sleep(:infinity)`

func open(t *testing.T, e otp.Elixir) *shop {
	s := &shop{t: t, e: e, dir: t.TempDir(), node: fmt.Sprintf("ex%08x@127.0.0.1", rand.Uint32())}
	s.environ = append(os.Environ(), fmt.Sprintf("ERL_EPMD_PORT=%d", otp.Epmd(t)), "ERL_EPMD_ADDRESS=127.0.0.1", "LC_ALL=C.UTF-8",
		"HOME="+s.dir, "COOKIE="+otp.DefaultCookie, "GOCACHE="+goEnv(t, "GOCACHE"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"))
	cmd := exec.Command(e.Program, "--name", s.node, "--cookie", otp.DefaultCookie, s.file("compile.exs", compile), s.dir,
		s.file("shop.ex", read(t, "testdata/shop.ex")), s.file("library.ex", read(t, "testdata/library.ex")))
	cmd.Env = s.environ
	otp.Serve(t, cmd)
	return s
}

func goEnv(t *testing.T, name string) string {
	out, err := exec.Command("go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

func read(t *testing.T, path string) string {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// file writes a file, where the root file system that Elixir may be in has it, too.
func (s *shop) file(name, text string) string {
	path := filepath.Join(s.dir, name)
	require.NoError(s.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// gen runs the command.
func (s *shop) gen(args ...string) (text, complaints string) {
	s.t.Helper()
	cmd := exec.Command(generator.Path(s.t), append([]string{"--cookie", otp.DefaultCookie}, args...)...)
	var out, errs strings.Builder
	cmd.Env, cmd.Stdout, cmd.Stderr = s.environ, &out, &errs
	if err := cmd.Run(); err != nil {
		errs.WriteString(err.Error())
	}
	return out.String(), errs.String()
}

// elixir runs a script on a node of its own, which knows the modules in some files.
func (s *shop) elixir(script string, args ...string) {
	s.t.Helper()
	path := s.file("script.exs", read(s.t, "testdata/"+script))
	cmd := exec.CommandContext(s.t.Context(), s.e.Program, append([]string{"--name", fmt.Sprintf("me%08x@127.0.0.1", rand.Uint32()),
		"--cookie", otp.DefaultCookie, path}, args...)...)
	cmd.Env, cmd.WaitDelay = s.environ, 10*time.Second
	out, err := cmd.CombinedOutput()
	require.NoError(s.t, err, "%s", out)
	require.True(s.t, strings.HasSuffix(string(out), "all of it\n"), "%s", out)
	require.NotContains(s.t, string(out), "warning")
}

// program builds a program of testdata with the types that gen writes beside it, runs it as a node
// and gives that node's name and the package.
func (s *shop) program(name string, args ...string) (node, pkg, complaints string) {
	s.t.Helper()
	built, err := os.MkdirTemp("testdata", "built-")
	require.NoError(s.t, err)
	s.t.Cleanup(func() { os.RemoveAll(built) })
	pkg = "./" + built
	require.NoError(s.t, os.WriteFile(filepath.Join(built, "main.go"), []byte(read(s.t, "testdata/"+name+"/main.go")), 0o600))
	_, complaints = s.gen(append(args, "--from", s.node, "--package", "main", "-o", built+"/")...)
	program := filepath.Join(s.dir, name)
	for _, args := range [][]string{{"go", "build", "-o", program, pkg}, {"go", "vet", pkg}, {"gofmt", "-l", "-s", built}} {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		require.NoError(s.t, err, "%s", out)
		require.Empty(s.t, string(out), args)
	}
	node = fmt.Sprintf("go%08x@127.0.0.1", rand.Uint32())
	cmd := exec.Command(program, node)
	cmd.Env = s.environ
	otp.Serve(s.t, cmd)
	return node, pkg, complaints
}

// From a live Elixir node come Go types, with them a program, from its source a module of Elixir
// and a client; and values go through all of these unchanged.
func TestRoundTrip(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		s := open(t, e)
		name, pkg, why := s.program("program", "--struct", "Shop.Order")
		require.Empty(t, why)
		s.elixir("ask.exs", name, s.file("shop.ex", read(t, "testdata/shop.ex")))

		order, why := s.gen("--go", pkg+".Order")
		require.Empty(t, why)
		line, why := s.gen("--go", pkg+".Line")
		require.Empty(t, why)
		client, why := s.gen("--go", pkg, "--client", "Till")
		require.Empty(t, why)
		s.elixir("call.exs", name, s.file("order.ex", order), s.file("line.ex", line), s.file("till.ex", client))
	})
}

// Several structs share types, and have defaults of every kind.
func TestLibrary(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		s := open(t, e)
		var args []string
		for _, name := range []string{"Author", "Book", "Page", "Desk", "Lost", "Bare", "Odd"} {
			args = append(args, "--struct", "Library."+name)
		}
		name, _, why := s.program("library", args...)
		require.Equal(t, strings.Join([]string{
			"warning: Library.Author: born: its default is nil, which its type, Date.t(), is not: the field may be absent",
			"warning: Library.Author: id: its default is nil, which its type, id(), is not: the field may be absent",
			"warning: Library.Author: works: its default is nil, which its type, [binary()], is not: the field may be absent",
			`warning: Library.Odd: the key :"1st" cannot be that of a Go field: it is left out`,
			`warning: Library.Odd: the key :"foo-bar" cannot be that of a Go field: it is left out`,
		}, "\n")+"\n", why)
		s.elixir("library.exs", name, s.file("library.ex", read(t, "testdata/library.ex")))
	})
}

// Elixir compiles what the command's own tests expect it to write, and what is in it works.
func TestForms(t *testing.T) {
	written, err := filepath.Glob("../../../cmd/cnode-gen/testdata/*.ex")
	require.NoError(t, err)
	require.Len(t, written, 12)
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		s := &shop{t: t, e: e, dir: t.TempDir()}
		s.environ = append(os.Environ(), fmt.Sprintf("ERL_EPMD_PORT=%d", otp.Epmd(t)), "ERL_EPMD_ADDRESS=127.0.0.1", "LC_ALL=C.UTF-8")
		var files []string
		for _, path := range written {
			files = append(files, s.file(filepath.Base(path), read(t, path)))
		}
		s.elixir("forms.exs", files...)
	})
}

// mix cnode.gen runs the command.
func TestTask(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		s := open(t, e)
		program := filepath.Join(s.dir, "demo")
		require.NoError(t, os.WriteFile(program, []byte(read(t, generator.Path(t))), 0o700))
		s.elixir("task.exs", s.file("cnode.gen.ex", read(t, "../../../beam/cnode/lib/mix/tasks/cnode.gen.ex")), program, s.node, s.dir)
	})
}

// What cannot be is said.
func TestNoStruct(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		s := open(t, e)
		for _, tt := range [][3]string{
			{"Shop.Plain", "cnode-gen: module Shop.Plain defines no struct: it has no function __struct__/0\n", "1"},
			{"Shop.None", "cnode-gen: " + s.node + " has no module Shop.None\n", "1"},
			{"shop", "cnode-gen: --struct shop: want a module's name as Elixir writes it, Shop.Order\nsee: cnode-gen --help\n", "2"},
		} {
			text, why := s.gen("--from", s.node, "--struct", tt[0])
			require.Empty(t, text)
			require.Equal(t, tt[1]+"exit status "+tt[2], why)
		}
		text, why := s.gen("--from", s.node, "--struct", "Shop.Bare")
		require.Empty(t, why)
		require.Contains(t, text, "Name string\n")
		require.Contains(t, text, `"no \"name\""`)
		text, why = s.gen("--from", s.node, "--struct", "Memory")
		require.Empty(t, why)
		require.Contains(t, text, "N   int64\n", "its module has no file")
	})
}

// A plain Erlang node has records, and no structs.
func TestErlang(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := r.Start(t, otp.Options{EpmdPort: port})
		s := &shop{t: t, dir: t.TempDir(), environ: append(os.Environ(), fmt.Sprintf("ERL_EPMD_PORT=%d", port))}
		s.file("till.erl", read(t, "testdata/till.erl"))
		out, err := exec.Command(r.Command("erlc"), "+debug_info", "-o", s.dir, s.dir+"/till.erl").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Equal(t, "true", erl.Eval(t, `code:add_patha("`+s.dir+`")`))
		text, why := s.gen("--from", erl.Name(), "--record", "till:sale")
		require.Empty(t, why)
		require.Equal(t, read(t, "testdata/till.go.txt"), text)
		_, why = s.gen("--from", erl.Name(), "--record", "till:none")
		require.Equal(t, "cnode-gen: module till has no record none\nexit status 1", why)
		_, why = s.gen("--from", erl.Name(), "--struct", "Shop.Order")
		require.Equal(t, "cnode-gen: "+erl.Name()+" has no module Shop.Order: it runs no Elixir\nexit status 1", why)
	})
}
