package otp

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// command is a libei program that finds the port mapper at port.
func command(t *testing.T, port int, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(Libei(t), name), args...)
	cmd.Env = environment(t.TempDir(), "ERL_EPMD_PORT="+strconv.Itoa(port))
	return cmd
}

// Answers that are not what was sent, and a wrong cookie, are seen.
func TestLibeiClient(t *testing.T) {
	r := Releases(t)[0]
	port := r.Epmd(t)
	n := r.Start(t, Options{EpmdPort: port})
	n.Do(t, "register(peer, spawn(fun() -> receive {echo, From, _} -> From ! <<1>> end end))")
	var exit *exec.ExitError
	_, err := command(t, port, "ei_client", n.Name(), DefaultCookie, "1", "1").Output()
	require.ErrorAs(t, err, &exit)
	require.Contains(t, string(exit.Stderr), "other bytes came back")
	_, err = command(t, port, "ei_client", n.Name(), "wrong", "1", "1").Output()
	require.ErrorAs(t, err, &exit)
	require.Contains(t, string(exit.Stderr), "cannot connect")
}

func TestServeFails(t *testing.T) {
	port := Epmd(t)
	_, err := LaunchProgram(context.Background(), command(t, port, "ei_echo", "nohost", "c"))
	require.ErrorContains(t, err, "not a node name: nohost")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = LaunchProgram(ctx, exec.Command("cat"))
	require.ErrorIs(t, err, context.Canceled)
}

// envAbandon makes the test binary start one of each and then stop existing.
const envAbandon = "CNODE_TEST_ABANDON"

func abandon() {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	releases, err := Find()
	fail(err)
	for _, r := range releases {
		port, _, err := r.LaunchEpmd()
		fail(err)
		n, err := r.Launch(context.Background(), Options{EpmdPort: port})
		fail(err)
		fmt.Println(n.Pid(), port)
	}
	self, _ := os.FindProcess(os.Getpid())
	_ = self.Kill()
	select {}
}
