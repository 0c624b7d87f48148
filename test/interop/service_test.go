//go:build unix

package interop

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/stretchr/testify/require"
)

// The skeleton that the README shows has its cookie from the file, calls out, and on SIGTERM
// answers what it is working on before it ends.
func TestService(t *testing.T) {
	needsTCP(t, "the example says what it has")
	path := program(t, "examples/service")
	home := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(home, ".erlang.cookie"), []byte("secret\n"), 0o400))
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := r.Start(t, otp.Options{EpmdPort: port, Cookie: "secret"})
		cmd := exec.Command(path, "--probe", "127.0.0.1:0", "--grace", "2s")
		cmd.Env = append(os.Environ(), "HOME="+home, fmt.Sprintf("ERL_EPMD_PORT=%d", port))
		p := otp.Serve(t, cmd)
		require.Equal(t, `true`, erl.Eval(t, `rpc:call('service@127.0.0.1', service, release, [node()]) =:= erlang:system_info(otp_release)`))
		require.Equal(t, `done`, erl.Eval(t, `put(working, erpc:send_request('service@127.0.0.1', service, work, [1000])),
			rpc:call('service@127.0.0.1', service, work, [0])`), "so the first one has come, too")
		require.Equal(t, `true`, erl.Eval(t, `monitor_node('service@127.0.0.1', true)`))
		probe := func() string {
			_, at, _ := strings.Cut(p.Log(), "probe ")
			at, _, _ = strings.Cut(at, "\n")
			r, err := http.Get("http://" + at + "/ready")
			require.NoError(t, err)
			defer r.Body.Close()
			text, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			return fmt.Sprint(r.StatusCode, " ", strings.TrimSpace(string(text)))
		}
		require.Equal(t, "200 running", probe())
		begun := time.Now()
		require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGTERM))
		time.Sleep(50 * time.Millisecond)             // between the two signals of timeout(1)
		if time.Since(begun) < 150*time.Millisecond { // one that comes 200 ms later is another one
			require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGTERM))
		}
		require.Eventually(t, func() bool { return probe() == "503 draining" }, limit, time.Millisecond)
		require.Equal(t, `done`, erl.Eval(t, `rpc:call('service@127.0.0.1', service, work, [0])`), "it serves on")
		require.Equal(t, `done`, erl.Eval(t, `erpc:receive_response(get(working), 20000)`))
		require.Equal(t, `down`, erl.Eval(t, `receive {nodedown, _} -> down after 20000 -> up end`))
		select {
		case <-p.Done():
		case <-time.After(30 * time.Second):
			t.Fatal("it does not end")
		}
		require.Zero(t, cmd.ProcessState.ExitCode(), p.Log())
	})
}
