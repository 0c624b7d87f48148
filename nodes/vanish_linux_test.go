package nodes

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/test/need"
	"github.com/cnode-go/cnode/transport"
)

// A peer whose machine or network has gone without a word is noticed even if the node does not read from it. The test runs in a process of
// its own, with a network of its own.
func TestPeerVanishesUnread(t *testing.T) {
	const inside = "CNODE_TEST_VANISH"
	if os.Getenv(inside) == "" {
		need.Root(t, "a network of one's own is root's to make")
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPeerVanishesUnread$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: TestPeerVanishesUnread")
		return
	}
	loopback(t, true)
	const interval = 100 * time.Millisecond
	at := transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))
	node := func(name string) *Node {
		n, err := New(Config{Name: name + "@127.0.0.1", Cookie: "secret", TickInterval: interval, Listen: at, Resolver: Static{}})
		require.NoError(t, err)
		t.Cleanup(func() { n.Close() })
		require.NoError(t, n.Start(t.Context()))
		return n
	}
	alice, bob := node("alice"), node("bob")
	c, err := alice.ConnectAddr(t.Context(), bob.Listeners()[0].Addr(), "bob@127.0.0.1")
	require.NoError(t, err)
	full, err := alice.NewMailbox(&MailboxOptions{Limit: 1})
	require.NoError(t, err)
	from := box(t, bob)
	for range 3 {
		require.NoError(t, from.Send(t.Context(), full.Pid(), make([]byte, 1000)))
	}
	require.Eventually(t, func() bool { n, err := c.s.PendingBytes(); return err == nil && n > 0 }, tooLong, tick, "nobody reads")
	ctx, cancel := context.WithTimeout(t.Context(), 10*missedTicks*interval)
	defer cancel()
	select {
	case <-c.Done():
		t.Fatal("a live peer is given up: ", c.Err())
	case <-ctx.Done():
	}
	loopback(t, false)
	arrives(t, c.Done(), "the end of the connection")
	require.ErrorIs(t, c.Err(), ErrTickTimeout)
}

// loopback switches the loopback interface of this process's network.
func loopback(t *testing.T, up bool) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	require.NoError(t, err)
	require.NoError(t, unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, r))
	flags := r.Uint16() &^ unix.IFF_UP
	if up {
		flags |= unix.IFF_UP
	}
	r.SetUint16(flags)
	require.NoError(t, unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r))
}
