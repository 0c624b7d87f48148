package project

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// The chapter about rebar3 as it is printed: rebar3 runs Go before it compiles, a release has the
// program, and an Erlang supervisor starts it.
func TestRebar(t *testing.T) {
	if _, err := exec.LookPath("rebar3"); err != nil {
		need.Missing(t, "no rebar3 on the PATH (test/run.sh brings it)")
	}
	found := otp.Releases(t)[0] // that of the machine, which rebar3 runs with
	d := newDesk(t)
	page, err := os.ReadFile("../../../docs/how-to/elixir-project.md")
	require.NoError(t, err)
	_, chapter, _ := strings.Cut(string(page), "\n## Erlang and rebar3\n")
	blocks := regexp.MustCompile("(?ms)^```erlang\n(.*?)^```$").FindAllStringSubmatch(chapter, 2)
	require.Len(t, blocks, 2)
	dep, hooks, ok := strings.Cut(blocks[0][1], "\n")
	require.True(t, ok)
	require.Contains(t, dep, "git_subdir")
	d.file("shop/rebar.config", "{deps, [cnode]}.\n"+hooks+`{relx, [{release, {shop, "0.1.0"}, [shop]}, {include_erts, false}]}.`+"\n")
	require.NoError(t, os.Mkdir(d.dir+"/shop/_checkouts", 0o755))
	require.NoError(t, os.CopyFS(d.dir+"/shop/_checkouts/cnode", os.DirFS("../../../beam/cnode")))
	d.file("shop/src/shop.app.src", `{application, shop, [{vsn, "0.1.0"}, {mod, {shop, []}}, {applications, [kernel, stdlib, cnode]}]}.`)
	d.file("shop/src/shop.erl", `-module(shop).
-behaviour(application).
-behaviour(supervisor).
-export([start/2, stop/1, init/1]).
start(_, _) -> supervisor:start_link(?MODULE, []).
stop(_) -> ok.
`+blocks[1][1])
	program, err := os.ReadFile("testdata/pricing.go.txt")
	require.NoError(t, err)
	d.file("shop/go/pricing/main.go", string(program))
	d.tidy("(cd go && go mod init shop && go mod edit -replace github.com/cnode-go/cnode=" + d.dir + "/cnode && go mod tidy)")

	rebar := func(command string) (string, error) {
		d.t.Helper()
		return d.output(d.command("sh", "-ec", "cd '"+d.dir+"/shop' && rebar3 "+command))
	}
	out, err := rebar("compile")
	require.NoError(t, err, "%s", out)
	out, err = rebar("release")
	require.NoError(t, err, "%s", out)
	release := d.dir + "/shop/_build/default/rel/shop/lib"
	require.FileExists(t, release+"/shop-0.1.0/priv/cnode/pricing")
	folders, err := filepath.Glob(release + "/*/ebin")
	require.NoError(t, err)
	args := []string{"-noinput", "-name", beam, "-kernel", "logger_level", "info",
		"-eval", "{ok, _} = application:ensure_all_started(shop).", "-pa"}
	s := d.start(d.command(found.Erl, append(args, folders...)...), "ready "+goNode).asks()
	require.InDelta(t, 4.5, ask[float64](s, goNode, "pricing", "total", 1.5, 3), 0)
	s.stops()

	d.edit("shop/go/pricing/main.go", "price * float64(qty)", "price * quantity")
	out, err = rebar("compile")
	require.Error(t, err)
	require.Contains(t, out, "undefined: quantity")
	out, err = rebar("clean")
	require.NoError(t, err, "%s", out)
	require.NoDirExists(t, d.dir+"/shop/priv/cnode")
}
