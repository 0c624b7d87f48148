package otp

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/party"
)

func TestMain(m *testing.M) {
	if os.Getenv(envAbandon) != "" {
		abandon()
	}
	os.Exit(leak.Run(m))
}

// Nothing outlives a test process that ends without its clean-up.
func TestAbandoned(t *testing.T) {
	releases := Releases(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envAbandon+"=1", "TMPDIR="+t.TempDir())
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal())
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	count := 0
	for ; lines.Scan(); count++ {
		var pid, port int
		_, err := fmt.Sscan(lines.Text(), &pid, &port)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return party.Ended(pid) }, 20*time.Second, 5*time.Millisecond, "erl %d lives", pid)
		require.Eventually(t, func() bool { return namesRequest(context.Background(), port) != nil },
			20*time.Second, 5*time.Millisecond, "epmd on port %d lives", port)
	}
	require.Equal(t, len(releases), count)
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
