//go:build unix

package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/stretchr/testify/require"
)

// An Erlang node uses the service and looks at it, a probe, Prometheus and a browser ask for what
// they want, and the program is replaced: the node does not notice.
func TestOperated(t *testing.T) {
	program := filepath.Join(t.TempDir(), "operated")
	out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	otp.Each(t, func(t *testing.T, r otp.Release) {
		e := r.Start(t, otp.Options{})
		home, name, addr := t.TempDir(), "operated@127.0.0.1", fmt.Sprintf("127.0.0.1:%d", port.Free(t))
		require.NoError(t, os.WriteFile(filepath.Join(home, ".erlang.cookie"), []byte(e.Cookie()), 0o400))
		log, err := os.Create(filepath.Join(home, "log")) // a pipe would have Wait wait for the second process
		require.NoError(t, err)
		defer log.Close()
		cmd := exec.Command(program, "--name", name, "--http", addr)
		cmd.Env = append(os.Environ(), "HOME="+home, "ERL_EPMD_PORT="+strconv.Itoa(e.EpmdPort()))
		cmd.Stderr = log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		require.NoError(t, cmd.Start())
		defer func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() }()
		get := func(path string) string {
			r, err := http.Get("http://" + addr + path)
			if err != nil {
				return err.Error()
			}
			defer r.Body.Close()
			b, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			return string(b)
		}
		becomes := func(path, want string) {
			t.Helper()
			require.Eventually(t, func() bool { return strings.Contains(get(path), want) }, expect.Limit, 20*time.Millisecond)
		}
		becomes("/health/ready", "running")
		at := "'" + name + "'"
		require.Equal(t, "pong", e.Eval(t, "net_adm:ping("+at+")"))
		require.Equal(t, "750", e.Eval(t, "rpc:call("+at+", shop, quote, [<<\"A\">>, 3])"))
		require.Equal(t, "true", e.Eval(t, "is_list(rpc:call("+at+", observer_backend, sys_info, []))"))
		becomes("/", "shop:quote")
		becomes("/metrics", "cnode_")
		first := cmd.Process.Pid
		becomes("/?view=json", fmt.Sprintf(`"Pid": %d,`, first))

		require.NoError(t, syscall.Kill(first, syscall.SIGHUP))
		require.NoError(t, cmd.Wait(), "the first process ends well")
		require.Eventually(t, func() bool {
			page := get("/?view=json")
			return strings.Contains(page, name) && !strings.Contains(page, fmt.Sprintf(`"Pid": %d,`, first))
		}, expect.Limit, 20*time.Millisecond)
		require.Equal(t, "true", e.Eval(t, "lists:member("+at+", nodes(connected))"))
		require.Equal(t, "1000", e.Eval(t, "rpc:call("+at+", shop, quote, [<<\"A\">>, 4])"))
	})
}
