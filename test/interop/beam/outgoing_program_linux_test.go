package beam

import (
	"bufio"
	"crypto/tls"
	_ "embed"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/sockdir"
)

//go:embed testdata/irc.ex
var ircEx string

// The page's program and command, as printed: the system is killed, and the front moves to another
// process when it is told to.
func TestOutgoingProgram(t *testing.T) {
	t.Parallel()
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		dir := t.TempDir()
		program := filepath.Join(dir, "cnode-front")
		out, err := exec.Command("go", "build", "-o", program, "github.com/cnode-go/cnode/contrib/front/cmd/cnode-front").CombinedOutput()
		require.NoError(t, err, "%s", out)
		config, _ := farCertificate(t)
		roots := filepath.Join(dir, "roots.pem")
		require.NoError(t, os.WriteFile(roots,
			pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: config.Certificates[0].Certificate[0]}), 0o600))
		l, err := tls.Listen("tcp", "127.0.0.1:0", config)
		require.NoError(t, err)
		defer l.Close()
		workers := filepath.Join(sockdir.New(t), "w")
		command := exec.Command(program, "--dial", "127.0.0.1:*", "--workers", workers)
		require.Error(t, command.Run(), "a port is no pattern")
		command = exec.Command(program, "--dial", l.Addr().String(), "--workers", workers)
		command.Env, command.Stderr = append(os.Environ(), "SSL_CERT_FILE="+roots), os.Stderr
		said, err := command.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, command.Start())
		lines := bufio.NewScanner(said)
		next := command.Process.Pid
		t.Cleanup(func() {
			_ = syscall.Kill(next, syscall.SIGTERM)
			for lines.Scan() { // until both processes have ended
			}
			_ = command.Wait()
		})
		require.True(t, lines.Scan())
		require.Contains(t, lines.Text(), "ready front")

		lib := buildElixir(t, e)
		start := func() (kill func()) {
			cmd := exec.Command(e.Program, append(lib, "-e", ircEx, "-e", fmt.Sprintf(`{:ok, _} = Application.ensure_all_started(:cnode)
				children = [{Cnode.Sessions, name: MyApp.Sessions, front: %q, adopt: :socket}, {MyApp.Irc, {"alice", %q}}]
				{:ok, _} = Supervisor.start_link(children, strategy: :one_for_one)
				Process.sleep(:infinity)`, workers, l.Addr()))...)
			cmd.Env, cmd.Stderr = append(os.Environ(), "LC_ALL=C.UTF-8"), os.Stderr
			require.NoError(t, cmd.Start())
			kill = sync.OnceFunc(func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			})
			t.Cleanup(kill)
			return kill
		}
		kill := start()
		c, err := l.Accept()
		require.NoError(t, err)
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(2 * expect.Limit))
		r := bufio.NewReader(c)
		for _, want := range []string{"NICK alice\r\n", "USER alice 0 * :alice\r\n"} {
			got, err := r.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		pings := func(from int) {
			for n := from; n < from+10; n++ {
				_, err := fmt.Fprintf(c, ":irc NOTICE alice :%d\r\nPING %d\r\n", n, n)
				require.NoError(t, err)
				got, err := r.ReadString('\n')
				require.NoError(t, err)
				require.Equal(t, fmt.Sprintf("PONG %d\r\n", n), got)
			}
		}
		pings(0)
		kill()
		kill = start()
		pings(10)
		require.NoError(t, command.Process.Signal(syscall.SIGUSR2))
		for pid := 0; pid == 0; {
			require.True(t, lines.Scan())
			if _, err := fmt.Sscanf(lines.Text(), "upgraded front %d %d", new(int), &pid); err == nil {
				next = pid
			}
		}
		pings(20)
		kill()
		kill = start()
		pings(30)
		kill()
	})
}
