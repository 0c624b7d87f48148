package project

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/need"
)

// rebar3's own cookie of a new release.
const rebarCookie = "shop_cookie"

// part is what a pattern matches in a file.
func (d *desk) part(name, pattern string) string {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, name))
	require.NoError(d.t, err)
	part := regexp.MustCompile(pattern).FindString(string(text))
	require.NotEmpty(d.t, part, "%s in %s", pattern, text)
	return part
}

// The chapter about rebar3 as it is printed, with what rebar3 itself makes: it fetches the package,
// runs Go before it compiles, and the release answers in its shell.
func TestRebar(t *testing.T) {
	if _, err := exec.LookPath("rebar3"); err != nil {
		need.Missing(t, "no rebar3 on the PATH (test/run.sh brings it)")
	}
	d := newDesk(t)
	blocks := printed(t, "Erlang and rebar3", 8)
	sh := func(folder, lines string) (string, error) {
		d.t.Helper()
		return d.output(d.command("sh", "-ec", "cd '"+d.dir+"/"+folder+"'\n"+lines))
	}
	does := func(folder, lines string) string {
		d.t.Helper()
		out, err := sh(folder, lines)
		require.NoError(t, err, "%s\n%s", lines, out)
		return out
	}
	begin, dep, hook, applications, child := blocks[0], blocks[1], blocks[2], blocks[3], blocks[4]
	name, lines, shell := blocks[5], blocks[6], blocks[7]
	does("", begin)
	d.file("shop/apps/shop/go/pricing/main.go", printed(t, "From mix new to a typed call", 6)[3])
	d.edit("shop/rebar.config", "{deps, []}.\n", dep)
	d.file("shop/apps/shop/rebar.config", hook)
	d.edit("shop/apps/shop/src/shop.app.src", d.part("shop/apps/shop/src/shop.app.src", `{applications,[^}]*},\n`), applications)
	d.edit("shop/apps/shop/src/shop_sup.erl", d.part("shop/apps/shop/src/shop_sup.erl", `(?s)\ninit\(.*?\}\}\.\n`), "\n"+child)
	d.edit("shop/config/vm.args", "-sname shop\n", name)
	build, start, ok := strings.Cut(lines, "_build")
	require.True(t, ok)
	does("shop", build)

	cmd := d.command("sh", "-ec", "cd '"+d.dir+"/shop'\nexec _build"+start)
	keys, err := cmd.StdinPipe()
	require.NoError(t, err)
	s := d.start(cmd, "1>").asksBy(rebarCookie)
	s.returns(0)
	question, answer, _ := strings.Cut(shell, "\n")
	_, err = io.WriteString(keys, strings.TrimPrefix(question, "1> ")+"\n")
	require.NoError(t, err)
	s.says(answer, 1)
	pid := s.info().OSPid
	require.Equal(t, ei.Atom("ok"), ask[ei.Atom](s, beam, "init", "stop"))
	<-s.ended
	gone(t, pid, "the program outlives the BEAM")

	// where it is copied for another machine
	does("shop", "rebar3 as prod release")
	require.FileExists(t, d.dir+"/shop/_build/prod/rel/shop/lib/shop-0.1.0/priv/cnode/pricing")
	modules, err := filepath.Glob(d.dir + "/shop/_build/prod/rel/shop/lib/cnode-*/ebin/cnode_node.beam")
	require.NoError(t, err)
	require.Len(t, modules, 1)

	d.edit("shop/apps/shop/go/pricing/main.go", "price * float64(qty)", "price * quantity")
	out, err := sh("shop", "rebar3 compile")
	require.Error(t, err)
	require.Contains(t, out, "undefined: quantity")
	does("shop", "rebar3 clean")
	require.NoDirExists(t, d.dir+"/shop/apps/shop/priv/cnode")

	// in the root of a release, where no release would take what the hook builds
	does("shop", "cp -r apps/shop/go . && cat apps/shop/rebar.config >>rebar.config")
	out, err = sh("shop", "rebar3 compile")
	require.Error(t, err)
	require.Contains(t, out, "chdir src/../go")

	// an application alone
	does("", "rebar3 new app alone")
	d.file("alone/go/go.mod", "module alone\n")
	d.file("alone/go/pricing/main.go", "package main\n\nfunc main() {}\n")
	d.file("alone/rebar.config", hook)
	does("alone", "rebar3 compile")
	require.FileExists(t, d.dir+"/alone/_build/default/lib/alone/priv/cnode/pricing")
}

// Each page has the same lines, by which the tests fetch the package.
func TestDependency(t *testing.T) {
	lines := map[string][]string{}
	pages, err := filepath.Glob("../../../docs/*/*.md")
	require.NoError(t, err)
	for _, page := range append(pages, "../../../README.md", "../../../beam/cnode/README.md") {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`\{:?cnode, (\{git_subdir|git:).*"\}`).FindAllStringSubmatch(string(text), -1) {
			lines[m[0]] = append(lines[m[0]], filepath.Base(page))
		}
	}
	require.Len(t, lines, 2, "one for mix, one for rebar3: %v", lines)
}
