//go:build unix

package transport

import (
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/internal/test/sockdir"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

func TestConnectTCPElsewhere(t *testing.T) {
	l := expect.Open(ListenTCP(loopback(), 0)).In(t)
	_, err := ConnectTCP(soon(t), FromAddrPort(netip.MustParseAddrPort("192.0.2.1:0")), l.Addr())
	require.ErrorIs(t, err, syscall.EADDRNOTAVAIL, "an address of somebody else")
	_, err = ConnectTCP(soon(t), l.Addr(), FromAddrPort(netip.MustParseAddrPort("127.0.0.1:1")))
	require.Error(t, err, "a port at which somebody listens")
}

// A port is free for the next connection though the last one from there lingers (TIME-WAIT), for it
// was closed here first.
func TestConnectTCPFromPortAgain(t *testing.T) {
	local := FromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port.Free(t))))
	for range 2 {
		l := expect.NoError(ListenTCP(loopback(), 0)).In(t)
		c, s := acceptOne(t, l, func() (*Stream, error) { return ConnectTCP(soon(t), local, l.Addr()) })
		require.NoError(t, c.CloseWrite())
		require.ErrorIs(t, expect.Err(s.Readv(soon(t), make([]byte, 1))), io.EOF)
		require.NoError(t, s.Close())
		require.ErrorIs(t, expect.Err(c.Readv(soon(t), make([]byte, 1))), io.EOF)
		require.NoError(t, c.Close())
		require.NoError(t, l.Close())
	}
}

func TestConnectUnix(t *testing.T) {
	dir := sockdir.New(t)
	l := expect.Open(ListenUnix(UnixAddr(filepath.Join(dir, "listener")), 0)).In(t)
	path := UnixAddr(filepath.Join(dir, "client"))
	for _, local := range []Addr{nil, UnixAddr(""), path, path} {
		c, s := acceptOne(t, l, func() (*Stream, error) { return ConnectUnix(soon(t), local, l.Addr()) })
		requireSpeak(t, c, s)
		require.Equal(t, l.Addr(), c.RemoteAddr())
		require.Equal(t, orUnnamed(local), s.RemoteAddr())
		require.Equal(t, orUnnamed(local), c.LocalAddr())
		if local == path {
			require.FileExists(t, path.Path())
			require.ErrorIs(t, expect.Err(ConnectUnix(soon(t), local, l.Addr())), syscall.EADDRINUSE)
		}
		require.NoError(t, c.Close())
		require.NoFileExists(t, path.Path())
	}
	require.ErrorIs(t, expect.Err(ConnectUnix(soon(t), path, UnixAddr(filepath.Join(dir, "nobody")))), syscall.ENOENT)
	require.NoFileExists(t, path.Path())
	for _, tt := range []struct{ local, remote Addr }{{loopback(), l.Addr()}, {nil, loopback()}, {nil, nil}, {MemoryAddr("x"), l.Addr()}} {
		_, err := ConnectUnix(soon(t), tt.local, tt.remote)
		require.ErrorIs(t, err, syscall.EINVAL, "%v %v", tt.local, tt.remote)
	}
	require.ErrorIs(t, expect.Err(ListenUnix(loopback(), 0)), syscall.EINVAL)
}

// Where a socket is to be found the empty path is refused, and the error says so.
func TestUnixUnnamed(t *testing.T) {
	none := UnixAddr("")
	for what, f := range map[string]func() error{
		"listen":  func() error { _, err := ListenUnix(none, 0); return err },
		"plug-in": func() error { _, err := Unix().Listen(none, 0); return err },
		"connect": func() error { _, err := ConnectUnix(soon(t), nil, none); return err },
		"dial":    func() error { _, err := Unix().Connect(soon(t), none); return err },
	} {
		err := f()
		require.ErrorIs(t, err, syscall.EINVAL, what)
		require.ErrorContains(t, err, "an unnamed socket has no address", what)
	}
}

// Package net's kinds of address can be used in place of this package's own.
func TestConstructorsTakeNetAddrs(t *testing.T) {
	path := filepath.Join(sockdir.New(t), "s")
	l := expect.Open(ListenUnix(&net.UnixAddr{Name: path, Net: "unix"}, 0)).In(t)
	c, s := acceptOne(t, l, func() (*Stream, error) { return ConnectUnix(soon(t), nil, &net.UnixAddr{Name: path, Net: "unix"}) })
	requireSpeak(t, c, s)
	pair(t, Unix(), &net.UnixAddr{Name: filepath.Join(sockdir.New(t), "s"), Net: "unix"}) // as with the plug-in
	mine := filepath.Join(sockdir.New(t), "mine")
	for _, local := range []Addr{&net.UnixAddr{Name: mine, Net: "unix"}, WithPeerName(UnixAddr(mine), "somebody@host")} {
		c, s := acceptOne(t, l, func() (*Stream, error) { return ConnectUnix(soon(t), local, l.Addr()) })
		requireSpeak(t, c, s)
		require.FileExists(t, mine)
		require.NoError(t, c.Close())
		require.NoFileExists(t, mine)
	}
}

func TestUnixPair(t *testing.T) {
	a, b, err := UnixPair()
	require.NoError(t, err)
	defer a.Close()
	defer b.Close()
	requireSpeak(t, a, b)
	for _, s := range []*Stream{a, b} {
		require.Equal(t, UnixAddr(""), s.LocalAddr())
		require.Equal(t, UnixAddr(""), s.RemoteAddr())
		fd := expect.NoError(s.Descriptor()).In(t)
		flags := expect.NoError(unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)).In(t)
		require.NotZero(t, flags&unix.FD_CLOEXEC)
	}
	require.NoError(t, a.Close())
	require.Equal(t, io.EOF, expect.Err(b.Read(soon(t), make([]byte, 1))))
}

// rawSocket makes a descriptor, which the test has to close.
func rawSocket(t testing.TB, family, kind int, at Addr) int {
	t.Helper()
	fd := expect.NoError(unix.Socket(family, kind, 0)).In(t)
	if at != nil {
		sa := expect.NoError(ToSockaddr(at)).In(t)
		require.NoError(t, unix.Bind(fd, sa))
	}
	return fd
}

// An error names the address that it is about, beside or in place of the other one.
func TestConstructorsNameTheAddress(t *testing.T) {
	ctx := soon(t)
	dir := sockdir.New(t)
	at := func(name string) Addr { return UnixAddr(filepath.Join(dir, name)) }
	l := expect.Open(ListenTCP(loopback(), 0)).In(t)
	s := expect.Open(ListenUnix(at("s"), 0)).In(t)
	other := expect.Open(ListenUnix(at("other"), 0)).In(t)

	for _, tt := range []struct {
		about Addr
		open  func() (any, error)
	}{
		{l.Addr(), func() (any, error) {
			return ConnectTCP(ctx, l.Addr(), FromAddrPort(netip.MustParseAddrPort("127.0.0.1:1")))
		}},
		{other.Addr(), func() (any, error) { return ConnectUnix(ctx, other.Addr(), s.Addr()) }},
	} {
		_, err := tt.open()
		require.Error(t, err)
		require.Equal(t, 1, strings.Count(err.Error(), tt.about.String()), "%v is about %v", err, tt.about)
	}
}

// lowVar makes this test's binary a process whose standard input is closed.
const lowVar = "CNODE_TEST_LOW"

// No socket takes the place of a standard stream that the program has closed. A process of its own
// closes one.
func TestSocketsLeaveStandardStreams(t *testing.T) {
	if os.Getenv(lowVar) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
		cmd.Env = append(os.Environ(), lowVar+"=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return
	}
	const low = 0
	saved := expect.NoError(sys.Dup(low)).In(t)
	// The descriptor is another one, and nothing else has taken the place either, so that the next
	// socket might.
	requireFree := func(of interface{ Descriptor() (int, error) }) {
		t.Helper()
		require.Greater(t, expect.NoError(of.Descriptor()).In(t), 2)
		require.ErrorIs(t, expect.Err(sys.Fcntl(low, unix.F_GETFD, 0)), unix.EBADF)
	}
	require.NoError(t, unix.Close(low))
	defer func() {
		require.NoError(t, unix.Dup2(saved, low))
		require.NoError(t, unix.Close(saved))
	}()
	for _, listen := range []func() (*Listener, error){
		func() (*Listener, error) { return ListenTCP(loopback(), 0) },
		func() (*Listener, error) { return ListenUnix(UnixAddr(filepath.Join(sockdir.New(t), "s")), 0) },
	} {
		l := expect.Open(listen()).In(t)
		requireFree(l)
		connect := ConnectTCP
		if l.Addr().Network() == "unix" {
			connect = ConnectUnix
		}
		s := expect.Open(connect(soon(t), nil, l.Addr())).In(t)
		requireFree(s)
		s = expect.Open(l.Accept(soon(t))).In(t)
		requireFree(s)
	}
	one, other, err := UnixPair() // last: what a pair waits with may take the place
	require.NoError(t, err)
	defer one.Close()
	defer other.Close()
	for _, s := range []*Stream{one, other} {
		require.Greater(t, expect.NoError(s.Descriptor()).In(t), 2)
	}
}
