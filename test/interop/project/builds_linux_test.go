package project

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
)

// says is a Go program that prints a word.
const says = "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Print(%q) }\n"

// What the compiler builds, of two programs without a node, in the places where projects are: with
// several builds, copied, read-only, in an umbrella.
func TestBuilds(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, found otp.Elixir) {
		e := &elixir{newDesk(t), found}
		blocks := printed(t, "From mix new to a typed call", 6)
		compilers, dep, ok := strings.Cut(blocks[1], "\n")
		require.True(t, ok)
		e.does("", "mix new shop")
		e.edit("shop/mix.exs", "      deps: deps()\n", "      "+compilers+"\n      deps: deps()\n")
		e.edit("shop/mix.exs", "defp deps do\n    [\n", "defp deps do\n    [\n      "+dep)
		e.file("shop/go/go.mod", "module shop\n")
		e.file("shop/go/pricing/main.go", fmt.Sprintf(says, "one"))
		e.file("shop/go/tool/main.go", fmt.Sprintf(says, "tool"))
		e.file("shop/priv/static/page.html", "page") // what mix links to
		out := e.does("shop", "mix deps.get && mix compile")
		require.Contains(t, out, "Building pricing (go/pricing)\n")

		e.cutOff()
		e.moves()
		e.belongs()
		e.ofTheUser()
		e.readOnly()
		e.umbrella()
	})
}

// prints runs a program of a build.
func (e *elixir) prints(want, program string) {
	e.t.Helper()
	require.Equal(e.t, want, strings.TrimSpace(e.does("", program)))
}

// has compares the names of the programs in a folder.
func (e *elixir) has(folder string, want ...string) {
	e.t.Helper()
	entries, err := os.ReadDir(filepath.Join(e.dir, folder))
	require.NoError(e.t, err)
	names := []string{}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	require.Equal(e.t, want, names)
}

// cutOff: go looks at the beginning of a program only, to see whether it is built.
func (e *elixir) cutOff() {
	e.t.Helper()
	program := e.dir + "/shop/_build/dev/lib/shop/cnode/pricing"
	require.NoError(e.t, os.Truncate(program, 1<<20))
	e.does("shop", "mix compile")
	e.prints("one", program)
	program = e.dir + "/shop/priv/cnode/pricing"
	require.NoError(e.t, os.Truncate(program, 1<<20))
	e.does("shop", "mix compile")
	e.prints("one", program)
}

// moves: a project that is copied with its builds leaves the original alone.
func (e *elixir) moves() {
	e.t.Helper()
	e.does("", "mkdir elsewhere && cp -a shop elsewhere/shop && rm -r elsewhere/shop/go/tool && cd elsewhere/shop && mix compile")
	e.has("elsewhere/shop/_build/dev/lib/shop/priv/cnode", "pricing")
	e.has("shop/_build/dev/lib/shop/priv/cnode", "pricing", "tool")
	e.does("", "rm -r elsewhere")
}

// belongs: each build has its own programs, and a release has those of its build, no more.
func (e *elixir) belongs() {
	e.t.Helper()
	e.file("shop/go/pricing/main.go", fmt.Sprintf(says, "two"))
	e.does("shop", "rm -r go/tool && MIX_ENV=prod mix release --quiet")
	release := "shop/_build/prod/rel/shop/lib/shop-0.1.0/priv"
	e.has(release+"/cnode", "pricing")
	e.prints("two", release+"/cnode/pricing")
	e.has(release, "cnode", "static")
	e.prints("one", "shop/_build/dev/lib/shop/cnode/pricing")
	e.has("shop/_build/dev/lib/shop/cnode", "pricing", "tool")
	e.does("shop", "mix compile")
	e.prints("two", "shop/_build/dev/lib/shop/cnode/pricing")
	e.has("shop/_build/dev/lib/shop/cnode", "pricing")
}

// ofTheUser: what a user has in the environment changes no message.
func (e *elixir) ofTheUser() {
	e.t.Helper()
	e.edit("shop/go/pricing/main.go", `"two"`, "two")
	for _, flags := range []string{"-v", "-json", "-x -v"} {
		out, err := e.shell("shop", fmt.Sprintf("GOFLAGS='-trimpath %s' mix compile", flags))
		require.Error(e.t, err)
		require.Equal(e.t, "error: undefined: two\n  go/pricing/main.go:5\n", strings.TrimSuffix(out, "\n"), flags)
	}
	e.edit("shop/go/pricing/main.go", "two", `"two"`)
}

// readOnly: the sources cannot be written to, and the build is elsewhere.
func (e *elixir) readOnly() {
	e.t.Helper()
	d := *e.desk
	d.mounts += fmt.Sprintf("mount --bind '%[1]s/shop' '%[1]s/shop'\nmount -o remount,bind,ro '%[1]s/shop'\n", e.dir)
	locked := &elixir{&d, e.Elixir}
	// nothing has been built there, and the second time there is nothing to do
	e.does("shop", "rm -r priv/cnode")
	for range 2 {
		locked.does("shop", fmt.Sprintf("MIX_ENV=prod MIX_BUILD_PATH='%[1]s/build' mix release --quiet --overwrite --path '%[1]s/rel'", e.dir))
		e.has("rel/lib/shop-0.1.0/priv", "cnode", "static")
		e.prints("two", "rel/lib/shop-0.1.0/priv/cnode/pricing")
	}
	require.NoDirExists(e.t, e.dir+"/shop/priv/cnode")
}

// umbrella: the root builds the programs of its applications, and says what go says.
func (e *elixir) umbrella() {
	e.t.Helper()
	e.does("", "mix new all --umbrella && cp -a shop all/apps/shop && rm -r all/apps/shop/_build all/apps/shop/deps")
	e.edit("all/apps/shop/mix.exs", "      deps: deps()\n", `      build_path: "../../_build", config_path: "../../config/config.exs",
      deps_path: "../../deps", lockfile: "../../mix.lock", deps: deps()
`)
	e.does("all", "cd apps && mix new other")
	out := e.does("all", "mix deps.get && mix compile")
	require.Contains(e.t, out, "Building pricing (go/pricing)\n")
	e.prints("two", "all/_build/dev/lib/shop/cnode/pricing")
	require.NotContains(e.t, e.does("all", "mix compile"), "pricing")
	e.edit("all/apps/shop/go/pricing/main.go", `"two"`, "two")
	out, err := e.shell("all", "mix compile")
	require.Error(e.t, err)
	require.Contains(e.t, out, "error: undefined: two\n  go/pricing/main.go:5\n")
	e.does("all", "mix clean")
	require.NoFileExists(e.t, e.dir+"/all/_build/dev/lib/shop/cnode/pricing")
	require.NoDirExists(e.t, e.dir+"/all/apps/shop/priv/cnode")
}
