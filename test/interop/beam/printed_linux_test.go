package beam

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// The Elixir server of the package's page, in a project that mix makes and that fetches the package
// as printed: it is killed again and again, and no session is lost.
func TestPrintedServer(t *testing.T) {
	page, err := os.ReadFile("../../../beam/cnode/README.md")
	require.NoError(t, err)
	part := func(pattern string) string {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(string(page))
		require.NotNil(t, m, pattern)
		return m[1]
	}
	dep := part("(?m)^Add the dependency, in `mix.exs`:\n\n```elixir\n(.*)$")
	server := part("(?s)```elixir\n(defmodule MyApp.Lines do.*?\nend\n)```")
	child := part("Put `({MyApp.Lines, .*?})` among the children")
	const printed = `"/run/app/front.sock"`
	require.Contains(t, child, printed)

	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		h, dir := newFront(t), t.TempDir()
		environ := append(os.Environ(), otp.Published(t, "../../..", dir)...)
		environ = append(environ, "LC_ALL=C.UTF-8", "HOME="+dir)
		does := func(lines string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, e.Program, "-e", fmt.Sprintf(`{_, s} = System.cmd("sh", ["-ec", %s], cd: %q,
				into: IO.stream(:stdio, :line), stderr_to_stdout: true); System.halt(s)`, strconv.Quote(lines), dir))
			cmd.Env, cmd.WaitDelay = environ, time.Second
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s\n%s", lines, out)
		}
		edit := func(name, old, with string) {
			t.Helper()
			text, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			require.Contains(t, string(text), old)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(strings.Replace(string(text), old, with, 1)), 0o644))
		}
		does("mix new my_app --sup")
		edit("my_app/mix.exs", "defp deps do\n    [\n", "defp deps do\n    [\n"+dep+"\n")
		require.NoError(t, os.WriteFile(dir+"/my_app/lib/my_app/lines.ex", []byte(server), 0o644))
		edit("my_app/lib/my_app/application.ex", "children = [\n",
			"children = [\n"+strings.Replace(child, printed, strconv.Quote(h.path), 1)+"\n")
		does("cd my_app && mix deps.get && mix compile --warnings-as-errors")

		start := func() *worker {
			return serve(t, h, e.Program, "-e", fmt.Sprintf("File.cd!(%q)", dir+"/my_app"), "-S", "mix", "run", "--no-halt")
		}
		const many, kills = 40, 3
		w := start()
		c := clients(h.addr, many, 20*time.Millisecond)
		further := func() {
			before := c.answers.Load()
			require.Eventually(t, func() bool { return c.answers.Load()-before > int64(5*many) }, expect.Limit, time.Millisecond)
		}
		for range kills {
			further()
			require.NoError(t, syscall.Kill(w.pid, syscall.SIGKILL))
			w.wait()
			w = start()
		}
		further()
		report := c.ends()
		require.Zero(t, c.wrong.Load(), report)
		require.Zero(t, c.broken.Load(), report)
	})
}
