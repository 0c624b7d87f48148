//go:build unix

package tsocket

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// datagramAllocs is how many allocations a datagram may cost, sent and received.
var datagramAllocs = map[bool]float64{true: 0, false: 6}[runtime.GOOS == "linux"]

// unixgrams opens two UNIX datagram sockets; the second is connected to the first.
func unixgrams(t testing.TB) (open, connected *Datagram) {
	t.Helper()
	dir := sockdir.New(t)
	open = expect.Open(OpenUnixgram(transport.UnixAddr(filepath.Join(dir, "a")), nil)).In(t)
	connected = expect.Open(OpenUnixgram(transport.UnixAddr(filepath.Join(dir, "b")), open.LocalAddr())).In(t)
	return open, connected
}

func option(t testing.TB, d *Datagram, name, value int) {
	t.Helper()
	raw, err := d.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, name, value) }))
	require.NoError(t, err)
}

func sendBuffer(t testing.TB, d *Datagram) (n int) {
	t.Helper()
	raw, err := d.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF) }))
	require.NoError(t, err)
	return n
}

// Datagrams of length zero are skipped; they can come from other programs only.
func TestDatagramEmptyOnes(t *testing.T) {
	datagramPairs(t, func(t *testing.T, open, connected *Datagram) {
		raw, err := connected.SyscallConn()
		require.NoError(t, err)
		for range 3 {
			require.NoError(t, raw.Control(func(fd uintptr) { err = unix.Send(int(fd), nil, 0) }))
			require.NoError(t, err)
		}
		_, _, err = open.RecvFrom(transport.NoWait(), make([]byte, 10))
		requireTimeout(t, err)
		require.NoError(t, raw.Control(func(fd uintptr) { err = unix.Send(int(fd), nil, 0) }))
		require.NoError(t, err)
		requireSends(t, connected, "not empty", nil)
		requireReceives(t, open, "not empty", connected.LocalAddr())
		require.NoError(t, raw.Control(func(fd uintptr) { err = unix.Send(int(fd), nil, 0) }))
		require.NoError(t, err)
		requireSends(t, connected, "not empty", nil)
		p, _, err := open.Receive(soon(t))
		require.NoError(t, err)
		require.Equal(t, "not empty", string(p))
	})
}

// A datagram for which the send buffer is too small makes it larger.
func TestDatagramGrowsSendBuffer(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("how far a send buffer reaches is the system's affair")
	}
	for _, to := range []string{"connected", "with an address"} {
		t.Run(to, func(t *testing.T) {
			open, connected := unixgrams(t)
			sender, at := connected, transport.Addr(nil)
			if to != "connected" {
				sender = expect.Open(OpenUnixgram(nil, nil)).In(t)
				at = open.LocalAddr()
			}
			option(t, sender, unix.SO_SNDBUF, 4096)
			before := sendBuffer(t, sender)
			big := bytes.Repeat([]byte("0123456789"), 10_000)
			require.Equal(t, len(big), expect.NoError(sender.SendTo(soon(t), big, at)).In(t))
			require.Greater(t, sendBuffer(t, sender), before)
			got := make([]byte, len(big))
			require.NoError(t, expect.Err2(open.RecvFrom(soon(t), got)))
			require.Equal(t, big, got)
		})
	}
	// A datagram too long for any buffer is EMSGSIZE, and leaves the buffer alone from then on.
	_, udp := udpPair(t, "ipv4")
	option(t, udp, unix.SO_SNDBUF, 4096)
	require.ErrorIs(t, expect.Err(udp.SendTo(soon(t), make([]byte, 70_000), nil)), syscall.EMSGSIZE)
	grown := sendBuffer(t, udp)
	require.Greater(t, grown, 70_000)
	require.ErrorIs(t, expect.Err(udp.SendTo(soon(t), make([]byte, 70_000), nil)), syscall.EMSGSIZE)
	require.Equal(t, grown, sendBuffer(t, udp))
	requireSends(t, udp, "it goes on", nil)
	// Nor is a buffer made smaller.
	option(t, udp, unix.SO_SNDBUF, 100_000)
	before := sendBuffer(t, udp)
	require.ErrorIs(t, expect.Err(udp.SendTo(soon(t), make([]byte, 70_000), nil)), syscall.EMSGSIZE)
	require.Equal(t, before, sendBuffer(t, udp))
	// The buffer is raised as far as needed, to the next KiB; the kernel doubles the number. See
	// socket(7), SO_SNDBUF.
	_, local := unixgrams(t)
	option(t, local, unix.SO_SNDBUF, 4096)
	require.NoError(t, expect.Err(local.SendTo(soon(t), make([]byte, 20_000), nil)))
	require.Equal(t, 2*(20<<10), sendBuffer(t, local))
	// It is raised once, even if it could not be made large enough.
	sent := expect.Aside(func() error { return expect.Err(local.SendTo(context.Background(), make([]byte, 64<<20), nil)) })
	require.ErrorIs(t, expect.Returns(t, sent), syscall.EMSGSIZE)
	requireSends(t, local, "it goes on", nil)
}

// A sender waits for room in the receiver's queue, connected or not, and can be ended.
func TestDatagramWaitsForRoom(t *testing.T) {
	for _, how := range []string{"connected", "with an address"} {
		t.Run(how, func(t *testing.T) {
			open, sender := unixgrams(t)
			at := transport.Addr(nil)
			if how != "connected" {
				sender = expect.Open(OpenUnixgram(nil, nil)).In(t)
				at = open.LocalAddr()
			}
			fill := func() (sent int) {
				for ; ; sent++ {
					if _, err := sender.SendTo(transport.NoWait(), []byte{byte(sent)}, at); err != nil {
						requireTimeout(t, err)
						return sent
					}
				}
			}
			sent := fill()
			require.Positive(t, sent)
			_, err := sender.SendTo(within(t, 5*time.Millisecond), []byte("x"), at)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			ctx, cancel := context.WithCancel(context.Background())
			cancelled := expect.Aside(func() error { _, err := sender.SendTo(ctx, []byte("x"), at); return err })
			require.Eventually(t, sender.sending.Load, tooLong, time.Millisecond)
			require.ErrorIs(t, expect.Err(sender.SendTo(soon(t), []byte("x"), at)), transport.ErrBusy)
			require.ErrorIs(t, sender.Disconnect(), transport.ErrBusy)
			cancel()
			require.ErrorIs(t, expect.Returns(t, cancelled), context.Canceled)

			last := expect.Aside(func() error { _, err := sender.SendTo(context.Background(), []byte("last"), at); return err })
			p := make([]byte, 10)
			for range sent {
				n, _, err := open.RecvFrom(soon(t), p)
				require.NoError(t, err)
				require.Equal(t, 1, n)
			}
			require.NoError(t, expect.Returns(t, last))
			n, _, err := open.RecvFrom(soon(t), p)
			require.NoError(t, err)
			require.Equal(t, "last", string(p[:n]))

			fill()
			stuck := expect.Aside(func() error { _, err := sender.SendTo(context.Background(), []byte("x"), at); return err })
			require.Eventually(t, sender.sending.Load, tooLong, time.Millisecond)
			require.NoError(t, sender.Close())
			require.ErrorContains(t, expect.Returns(t, stuck), "closed")
		})
	}
}

// A sender that waits for room in a receiver's queue does not spin, and notices when there is room.
func TestDatagramWaitsForRoomQuietly(t *testing.T) {
	for _, how := range []string{"connected", "with an address"} {
		t.Run(how, func(t *testing.T) {
			open, other := unixgrams(t)
			at, to := transport.Addr(nil), open.LocalAddr()
			if how != "connected" {
				at, to = to, nil
			}
			sender := expect.Open(OpenUnixgram(nil, to)).In(t)
			var tries atomic.Int32
			sock := sender.sock.(*datagramSocket)
			ready := sock.sendReady
			sock.sendReady = func(fd uintptr) bool { tries.Add(1); return ready(fd) }
			sent := 0
			for ; ; sent++ {
				if _, err := other.SendTo(transport.NoWait(), []byte("other"), nil); err != nil {
					requireTimeout(t, err)
					break
				}
			}
			begin := time.Now()
			waits := expect.Aside(func() error { return expect.Err(sender.SendTo(context.Background(), []byte("mine"), at)) })
			require.Eventually(t, func() bool { return tries.Load() > 0 }, tooLong, time.Millisecond)
			time.Sleep(50 * time.Millisecond)
			require.LessOrEqual(t, int64(tries.Load()), 20+int64(time.Since(begin)/(10*time.Millisecond)))
			for range sent {
				requireReceives(t, open, "other", other.LocalAddr())
			}
			require.NoError(t, expect.Returns(t, waits))
			requireReceives(t, open, "mine", transport.UnixAddr(""))
		})
	}
}

// A UDP port is not shared, and an IPv6 socket leaves that of IPv4 alone.
func TestUDPPorts(t *testing.T) {
	open, _ := udpPair(t, "ipv4")
	require.NoError(t, open.Close())
	again, err := OpenUDP(open.LocalAddr(), nil) // to share a port both have to ask for it
	require.NoError(t, err)
	defer again.Close()
	require.ErrorIs(t, expect.Err(OpenUDP(again.LocalAddr(), nil)), syscall.EADDRINUSE)

	udpPair(t, "ipv6") // where there is no IPv6 the test ends here
	six := expect.Open(OpenUDP(transport.FromAddrPort(netip.MustParseAddrPort("[::]:0")), nil)).In(t)
	raw, err := six.SyscallConn()
	require.NoError(t, err)
	only := 0
	require.NoError(t, raw.Control(func(fd uintptr) { only, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY) }))
	require.NoError(t, err)
	require.NotZero(t, only)
}

func TestUnixgramPaths(t *testing.T) {
	dir := sockdir.New(t)
	at := transport.UnixAddr(filepath.Join(dir, "s"))

	// A path that a dead process has left is taken over; Close removes it.
	fd := expect.NoError(unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)).In(t)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: at.Path()}))
	require.NoError(t, unix.Close(fd))
	require.FileExists(t, at.Path())
	d := expect.NoError(OpenUnixgram(at, nil)).In(t)
	require.ErrorIs(t, expect.Err(OpenUnixgram(at, nil)), syscall.EADDRINUSE, "one that lives is not")
	require.NoError(t, d.Close())
	require.NoFileExists(t, at.Path())

	// Disconnect removes it too; Release does not.
	d = expect.NoError(OpenUnixgram(at, nil)).In(t)
	require.NoError(t, d.Disconnect())
	require.NoFileExists(t, at.Path())
	d = expect.NoError(OpenUnixgram(at, nil)).In(t)
	require.NoError(t, d.Release())
	require.FileExists(t, at.Path())

	// A path that belongs to somebody else by now stays.
	d = expect.NoError(OpenUnixgram(at, nil)).In(t)
	require.NoError(t, os.Remove(at.Path()))
	other := expect.NoError(OpenUnixgram(at, nil)).In(t)
	require.NoError(t, d.Close())
	require.FileExists(t, at.Path())
	require.NoError(t, other.Close())

	// An attempt that fails leaves no path.
	require.ErrorIs(t, expect.Err(OpenUnixgram(at, transport.UnixAddr(filepath.Join(dir, "nobody")))), syscall.ENOENT)
	require.NoFileExists(t, at.Path())

	d = expect.NoError(OpenUnixgram(at, nil)).In(t)
	_, err := d.SendTo(soon(t), []byte("x"), transport.UnixAddr(strings.Repeat("p", sys.MaxUnixPath+1)))
	require.ErrorIs(t, err, syscall.ENAMETOOLONG)
	require.NoError(t, d.Close())

	for _, tt := range []struct{ local, remote transport.Addr }{{loopback(), nil}, {nil, loopback()}, {transport.MemoryAddr("x"), nil}} {
		require.ErrorIs(t, expect.Err(OpenUnixgram(tt.local, tt.remote)), syscall.EINVAL)
	}
}
