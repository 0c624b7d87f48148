package project

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
)

// A project whose programs somebody else has built is compiled without Go.
func TestPrecompiled(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, found otp.Elixir) {
		e := &elixir{newDesk(t), found}
		var asked atomic.Int32
		files := http.StripPrefix("/v1/", http.FileServer(http.Dir(e.dir+"/served")))
		served := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			files.ServeHTTP(w, r)
		}))
		t.Cleanup(served.Close)

		blocks := printed(t, "From mix new to a typed call", 6)
		compilers, dep, ok := strings.Cut(blocks[1], "\n")
		require.True(t, ok)
		e.does("", "mix new shop")
		e.edit("shop/mix.exs", "      deps: deps()\n",
			fmt.Sprintf("      %s\n      cnode: [precompiled: %q],\n      deps: deps()\n", compilers, served.URL+"/v1"))
		e.edit("shop/mix.exs", "defp deps do\n    [\n", "defp deps do\n    [\n      "+dep)
		e.file("shop/go/go.mod", "module shop\n")
		e.file("shop/go/pricing/main.go", "package main\n\nfunc main() { print(\"one\") }\n")
		e.does("shop", "mix deps.get && mix cnode.precompile -o ../served")
		e.has("served", "pricing-darwin-amd64", "pricing-darwin-arm64", "pricing-linux-amd64", "pricing-linux-arm64",
			"pricing-windows-amd64.exe", "pricing-windows-arm64.exe")
		e.does("served", "sha256sum -c --strict ../shop/cnode.sha256")
		sums, err := os.ReadFile(e.dir + "/shop/cnode.sha256")
		require.NoError(t, err)
		e.does("shop", "mix cnode.precompile -o ../again")
		e.does("again", "sha256sum -c --strict ../shop/cnode.sha256")
		e.does("", "mv shop/go sources && rm -r again")

		// mix runs in a shell without go, and builds anew
		const here = "shop/_build/dev/lib/shop/cnode/pricing"
		compile := func(env string) (string, error) {
			asked.Store(0)
			return e.shell("shop", "rm -rf _build/dev/lib/shop/cnode priv; ! PATH=/usr/bin:/bin command -v go; PATH=/usr/bin:/bin CNODE_CACHE="+
				e.dir+"/kept "+env+" mix compile")
		}
		compiles := func(env string, requests int) string {
			t.Helper()
			out, err := compile(env)
			require.NoError(t, err, out)
			require.EqualValues(t, requests, asked.Load(), out)
			return out
		}
		refuses := func(env string, says ...string) {
			t.Helper()
			out, err := compile(env)
			require.Error(t, err, out)
			for _, what := range append(says, "CNODE_BUILD=1 builds the programs with Go") {
				require.Contains(t, out, what)
			}
			require.NoFileExists(t, e.dir+"/"+here)
		}
		out := compiles("", 1)
		require.Contains(t, out, "Fetching "+served.URL+"/v1/pricing-linux-")
		require.NotContains(t, out, "warning:")
		e.prints("one", here)
		e.prints("one", "shop/_build/dev/lib/shop/priv/cnode/pricing")
		require.NotContains(t, e.does("shop", "mix compile"), "Fetching", "there is nothing to do")

		// from the cache, also when there is no server; not if it is cut off there
		compiles("CNODE_MIRROR=http://127.0.0.1:1", 0)
		e.prints("one", here)
		kept, err := filepath.Glob(e.dir + "/kept/*-pricing-linux-*")
		require.NoError(t, err)
		require.Len(t, kept, 1)
		require.NoError(t, os.Truncate(kept[0], 1000))
		compiles("", 1)
		e.prints("one", here)
		e.does("", "rm -r kept")

		refuses("CNODE_MIRROR=http://127.0.0.1:1", "http://127.0.0.1:1/pricing-linux-", "cannot be reached (connection refused)", e.dir+"/kept")
		refuses("CNODE_MIRROR=http://none.invalid/x", "http://none.invalid/x/pricing-linux-", "cannot be reached (non-existing domain)")
		refuses("CNODE_MIRROR="+served.URL+"/v2", "/v2/pricing-linux-", "the server says 404 Not Found")
		refuses("GOARCH=riscv64", "cnode.sha256 has no program for linux-riscv64")
		server, authority := chain(t)
		encrypted := httptest.NewUnstartedServer(files)
		encrypted.TLS = &tls.Config{Certificates: []tls.Certificate{server}}
		encrypted.StartTLS()
		t.Cleanup(encrypted.Close)
		refuses("CNODE_MIRROR="+encrypted.URL+"/v1", encrypted.URL, "cannot be ") // nobody knows its certificate
		e.file("ca.pem", authority)
		knows := "HEX_CACERTS_PATH=" + e.dir + "/ca.pem CNODE_MIRROR="
		refuses(knows+strings.Replace(encrypted.URL, "127.0.0.1", "localhost", 1)+"/v1", "cannot be reached (TLS client")
		compiles(knows+encrypted.URL+"/v1", 0)
		e.prints("one", here)
		e.does("", "rm -r kept")
		e.does("", "cp -r served other && for f in other/*; do echo more >>$f; done")
		refuses("CNODE_MIRROR=../other/", "../other/pricing-linux-", "has the checksum ", "it is not used")
		e.file("shop/cnode.sha256", "System.halt(0)\n")
		refuses("", "cnode.sha256 has no program for linux-")
		require.NoError(t, os.Remove(e.dir+"/shop/cnode.sha256"))
		refuses("", "cnode.sha256: no such file or directory")
		e.file("shop/cnode.sha256", string(sums))
		require.NoDirExists(t, e.dir+"/kept", "nothing is kept that is wrong")

		// a folder, by its path or as an address, and another system
		compiles("CNODE_MIRROR=../served", 0)
		e.does("", "rm -r kept")
		compiles("GOOS=windows GOARCH=arm64 CNODE_MIRROR=file://"+e.dir+"/served", 0)
		e.has("shop/_build/dev/lib/shop/priv/cnode", "pricing.exe")

		// a proxy knows a host that the system does not
		e.does("", "rm -r kept")
		out = compiles("http_proxy="+served.URL+" CNODE_MIRROR=http://none.invalid/v1", 1)
		require.Contains(t, out, "Fetching http://none.invalid/v1/pricing-linux-")
		e.does("", "rm -r kept")
		refuses("http_proxy="+served.URL+" NO_PROXY=.invalid CNODE_MIRROR=http://none.invalid/v1", "cannot be reached")

		// built with Go, only if somebody says so
		e.does("", "mv sources shop/go")
		out, err = compile("CNODE_BUILD=1")
		require.Error(t, err)
		require.Contains(t, out, "the command go is not found")
		e.edit("shop/go/pricing/main.go", "one", "two")
		require.Contains(t, e.does("shop", "CNODE_BUILD=1 mix compile"), "Building pricing (go/pricing)\n")
		e.prints("two", here)
		e.does("shop", "CNODE_MIRROR=../served mix compile")
		e.prints("one", here)

		e.front()
	})
}

// front: the front is fetched as programs are.
func (e *elixir) front() {
	t := e.t
	t.Helper()
	run := "CNODE_CACHE=../kept CNODE_MIRROR=../served GOOS=linux GOARCH=arm64 PATH=/usr/bin:/bin mix cnode.front -o bin/cnode-front"
	out, err := e.shell("shop", run)
	require.Error(t, err)
	require.Contains(t, out, "there is no checksum of cnode-front-linux-arm64")
	require.Contains(t, out, "go install github.com/cnode-go/cnode/contrib/front/cmd/cnode-front@v0.1.0")
	e.file("served/cnode-front-linux-arm64", "the front")
	sums, err := filepath.EvalSymlinks(e.dir + "/shop/_build/dev/lib/cnode/priv")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(sums+"/cnode-front.sha256",
		fmt.Appendf(nil, "# a remark\n%x  cnode-front-linux-arm64\n", sha256.Sum256([]byte("the front"))), 0o644))
	require.Contains(t, e.does("shop", run), "cnode-front 0.1.0 is bin/cnode-front\n")
	text, err := os.ReadFile(e.dir + "/shop/bin/cnode-front")
	require.NoError(t, err)
	require.Equal(t, "the front", string(text))
}
