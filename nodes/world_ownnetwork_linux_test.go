package nodes

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/need"
)

// ownNetwork runs the test in a process of its own, with a network of its own: there it is true,
// and the loopback interface is up. Where it is false the test has run.
func ownNetwork(t *testing.T) bool {
	t.Helper()
	const inside = "CNODE_TEST_OWN_NETWORK"
	if os.Getenv(inside) == t.Name() {
		loopback(t, true)
		return true
	}
	need.Root(t, "a network of one's own is root's to make")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	return false
}

// loopback switches the loopback interface of this process's network.
func loopback(t *testing.T, up bool) {
	t.Helper()
	configure(t, "lo", unix.SIOCSIFFLAGS, func(fd int, r *unix.Ifreq) error {
		err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, r)
		flags := r.Uint16() &^ unix.IFF_UP
		if up {
			flags |= unix.IFF_UP
		}
		r.SetUint16(flags)
		return err
	})
}

// configure makes a request of netdevice(7) about an interface, which fill completes.
func configure(t *testing.T, name string, request uint, fill func(fd int, r *unix.Ifreq) error) {
	t.Helper()
	fd := of(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)).must(t)
	defer unix.Close(fd)
	r := of(unix.NewIfreq(name)).must(t)
	require.NoError(t, fill(fd, r))
	require.NoError(t, unix.IoctlIfreq(fd, request, r))
}
