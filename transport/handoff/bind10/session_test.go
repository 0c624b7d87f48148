//go:build unix

package bind10

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

func addr(s string) transport.Addr { return transport.FromAddrPort(netip.MustParseAddrPort(s)) }

// udp is a datagram socket, closed at the end of the test.
func udp(t testing.TB, network string) (fd int, local transport.Addr) {
	t.Helper()
	family, sa := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	if network == "udp6" {
		need.IPv6(t)
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}
	}
	fd = expect.NoError(unix.Socket(family, unix.SOCK_DGRAM, 0)).In(t)
	t.Cleanup(func() { unix.Close(fd) })
	require.NoError(t, unix.Bind(fd, sa))
	sa = expect.NoError(unix.Getsockname(fd)).In(t)
	return fd, transport.FromSockaddr(sa)
}

func v4(t testing.TB) (int, Header) {
	fd, local := udp(t, "udp4")
	return fd, Header{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDP, local, addr("192.0.2.1:53")}
}

// sessions makes a Forwarder and a Receiver that are connected.
func sessions(t testing.TB, config *ReceiverOptions) (*Forwarder, *Receiver) {
	t.Helper()
	a, b := fdtest.Pair(t, unix.SOCK_STREAM)
	f := expect.Open(NewForwarderConn(a)).In(t)
	r := expect.Open(NewReceiver(b, config)).In(t)
	return f, r
}

// receiver makes a Receiver, and a socket at its other end from which a test sends anything.
func receiver(t testing.TB, config *ReceiverOptions) (*net.UnixConn, *Receiver) {
	t.Helper()
	a, b := fdtest.Pair(t, unix.SOCK_STREAM)
	r := expect.Open(NewReceiver(b, config)).In(t)
	return a, r
}

// The bytes of a session are those of BIND 10.
func TestSessionWire(t *testing.T) {
	if sys.SockaddrHasLen {
		t.Skip("written for a struct sockaddr without a length")
	}
	family := func(n uint16) string { return string(binary.NativeEndian.AppendUint16(nil, n)) }
	zone := func(n uint32) string { return string(binary.NativeEndian.AppendUint32(nil, n)) }
	six := string(binary.BigEndian.AppendUint32(nil, unix.AF_INET6))
	for _, tt := range []struct {
		name   string
		h      Header
		header string
	}{
		{"IPv4 UDP", Header{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDP, addr("10.1.2.3:53"), addr("192.0.2.1:4369")},
			"\x00\x00\x00\x02" + "\x00\x00\x00\x02" + "\x00\x00\x00\x11" +
				"\x00\x00\x00\x10" + family(2) + "\x00\x35" + "\x0a\x01\x02\x03" + strings.Repeat("\x00", 8) +
				"\x00\x00\x00\x10" + family(2) + "\x11\x11" + "\xc0\x00\x02\x01" + strings.Repeat("\x00", 8)},
		{"IPv6 TCP", Header{unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_TCP, addr("[2001:db8::1]:53"), addr("[fe80::1%7]:4369")},
			six + "\x00\x00\x00\x01" + "\x00\x00\x00\x06" +
				"\x00\x00\x00\x1c" + family(unix.AF_INET6) + "\x00\x35" + "\x00\x00\x00\x00" + "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) +
				"\x01" + zone(0) +
				"\x00\x00\x00\x1c" + family(unix.AF_INET6) + "\x11\x11" + "\x00\x00\x00\x00" + "\xfe\x80" + strings.Repeat("\x00", 13) +
				"\x01" + zone(7)},
		{"IPv4 on an IPv6 socket", Header{unix.AF_INET6, unix.SOCK_STREAM, 0, addr("[::]:53"), addr("10.1.2.3:4369")},
			six + "\x00\x00\x00\x01" + "\x00\x00\x00\x00" +
				"\x00\x00\x00\x1c" + family(unix.AF_INET6) + "\x00\x35" + "\x00\x00\x00\x00" + strings.Repeat("\x00", 16) + zone(0) +
				"\x00\x00\x00\x1c" + family(unix.AF_INET6) + "\x11\x11" + "\x00\x00\x00\x00" + strings.Repeat("\x00", 10) + "\xff\xff" +
				"\x0a\x01\x02\x03" + zone(0)},
	} {
		want := tt.header + "\x00\x00\x01\x00" // 256 bytes of data
		b, err := appendSession(nil, &tt.h, 256)
		require.NoError(t, err, tt.name)
		require.Equal(t, "\x00"+string([]byte{0, byte(len(want))})+want, string(b), tt.name)
		h, size, err := parseHeader([]byte(want))
		require.NoError(t, err, tt.name)
		require.Equal(t, tt.h, h, tt.name)
		require.Equal(t, 256, size, tt.name)
	}
}

// Endpoints that no socket can have together are refused by both ends, and the Forwarder stays
// connected.
func TestMixedEndpoints(t *testing.T) {
	fdtest.NoLeak(t)
	f, _ := sessions(t, nil)
	fd, local := udp(t, "udp6")
	for _, tt := range []struct {
		local, remote transport.Addr
		fits          bool
	}{
		{local, addr("[2001:db8::1]:53"), true},
		{addr("[::]:53"), addr("10.1.2.3:53"), true},
		{addr("10.1.2.4:53"), addr("10.1.2.3:53"), true},
		{local, addr("10.1.2.3:53"), false},
		{addr("10.1.2.3:53"), addr("[2001:db8::1]:53"), false},
		{addr("0.0.0.0:53"), addr("[2001:db8::1]:53"), false},
	} {
		h := Header{unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_UDP, tt.local, tt.remote}
		err := f.Push(fd, h, []byte("x"))
		if tt.fits {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, syscall.EINVAL)
		require.ErrorContains(t, err, tt.remote.String())

		fits := Header{h.Family, h.Type, h.Protocol, tt.local, tt.local}
		wire := expect.NoError(appendSession(nil, &fits, 1)).In(t)
		image := expect.NoError(appendImage(nil, h.Family, tt.remote)).In(t)
		copy(wire[len(wire)-4-len(image):], image)
		_, _, err = parseHeader(wire[sessionLead:])
		require.ErrorIs(t, err, handoff.ErrMalformed)
		require.ErrorContains(t, err, tt.remote.String())
	}
	require.NoError(t, f.Push(fd, Header{unix.AF_INET6, unix.SOCK_DGRAM, 0, local, local}, []byte("x")))
}

func TestSessions(t *testing.T) {
	fdtest.NoLeak(t)
	ctx := fdtest.Soon(t)
	f, r := sessions(t, nil)
	var s Session
	each := func(t *testing.T, network string) {
		fd, local := udp(t, network)
		remote := addr("192.0.2.1:53")
		h := expect.NoError(Describe(fd, remote)).In(t)
		if network == "udp6" {
			h.Remote = addr("[2001:db8::1]:53")
		}
		for _, size := range []int{1, 2, 1000, MaxData} {
			data := bytes.Repeat([]byte{byte(size)}, size)
			require.NoError(t, f.Push(fd, h, data))
			require.NoError(t, r.Receive(ctx, &s))
			require.Equal(t, h, s.Header)
			require.Equal(t, local, s.Local)
			require.Equal(t, data, s.Data)
			own := expect.NoError(s.Socket.FD(0)).In(t)
			sa := expect.NoError(unix.Getsockname(own)).In(t)
			require.Equal(t, local, transport.FromSockaddr(sa))
		}
	}
	for _, network := range []string{"udp4", "udp6"} {
		t.Run(network, func(t *testing.T) { each(t, network) })
	}
	require.NoError(t, f.Close())
	require.Equal(t, io.EOF, r.Receive(ctx, &s))
	require.Equal(t, io.EOF, r.Receive(ctx, &s))
}

// An accepted connection goes to the receiver with the bytes that were read from it, and goes on
// there.
func TestPushConn(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			if host == "::1" {
				need.IPv6(t)
			}
			fdtest.NoLeak(t)
			l := expect.Open(net.Listen("tcp", net.JoinHostPort(host, "0"))).In(t)
			client := expect.Open(net.Dial("tcp", l.Addr().String())).In(t)
			front := expect.NoError(l.Accept()).In(t)
			require.NoError(t, expect.Err(client.Write([]byte("read and unread"))))
			p := make([]byte, 4)
			require.NoError(t, expect.Err(io.ReadFull(front, p)))

			f, r := sessions(t, nil)
			require.NoError(t, f.PushConn(front.(*net.TCPConn), p))
			require.NoError(t, front.Close())
			var s Session
			require.NoError(t, r.Receive(fdtest.Soon(t), &s))
			require.Equal(t, client.LocalAddr().String(), s.Remote.String())
			require.Equal(t, l.Addr().String(), s.Local.String())
			require.Equal(t, unix.SOCK_STREAM, s.Type)
			fd := expect.NoError(s.Socket.Steal(0)).In(t)
			require.NoError(t, s.Close())
			stream := expect.NoError(transport.AdoptStream(fd)).In(t)
			rest := make([]byte, 11)
			require.NoError(t, expect.Err(stream.Readv(fdtest.Soon(t), rest)))
			require.Equal(t, "read and unread", string(s.Data)+string(rest))
			require.NoError(t, stream.Close())
		})
	}
}

func TestPushRefused(t *testing.T) {
	fdtest.NoLeak(t)
	f, r := sessions(t, nil)
	fd, good := v4(t)
	six := good
	six.Family = unix.AF_INET
	six.Remote = addr("[::1]:1")
	of := func(change func(h *Header)) Header {
		h := good
		change(&h)
		return h
	}
	for name, tt := range map[string]struct {
		fd   int
		h    Header
		data int
	}{
		"no data":              {fd, good, 0},
		"too much data":        {fd, good, MaxData + 1},
		"family of the remote": {fd, six, 1},
		"no family":            {fd, of(func(h *Header) { h.Family = 0 }), 1},
		"another family":       {fd, of(func(h *Header) { h.Family = 99 }), 1},
		"UNIX address":         {fd, of(func(h *Header) { h.Local = transport.UnixAddr("/x") }), 1},
		"no local":             {fd, of(func(h *Header) { h.Local = nil }), 1},
		"no remote":            {fd, of(func(h *Header) { h.Remote = nil }), 1},
		"negative type":        {fd, of(func(h *Header) { h.Type = -1 }), 1},
		"negative protocol":    {fd, of(func(h *Header) { h.Protocol = -1 }), 1},
	} {
		require.ErrorIs(t, f.Push(tt.fd, tt.h, make([]byte, tt.data)), syscall.EINVAL, name)
	}
	if strconv.IntSize > 32 { // the wire has 32 bits for a number
		more := int64(1) << 32
		for _, h := range []Header{of(func(h *Header) { h.Family += int(more) }), of(func(h *Header) { h.Type += int(more) }),
			of(func(h *Header) { h.Protocol += int(more) })} {
			require.ErrorIs(t, f.Push(fd, h, []byte("x")), syscall.EINVAL, "%+v", h)
		}
	}
	require.NoError(t, f.Push(fd, good, []byte("x")), "nothing was sent before")
	var s Session
	require.NoError(t, r.Receive(fdtest.Soon(t), &s))
	require.NoError(t, s.Close())

	for _, none := range []int{-1, 1 << 20} {
		require.ErrorIs(t, f.Push(none, good, []byte("x")), syscall.EBADF)
	}
	require.NoError(t, f.Push(fd, good, []byte("x")), "nothing was sent before")
	require.NoError(t, r.Receive(fdtest.Soon(t), &s))
	require.NoError(t, s.Close())
	require.NoError(t, f.Close())
	require.ErrorIs(t, f.Push(fd, good, []byte("x")), syscall.ENOTCONN)
	require.ErrorIs(t, f.Close(), syscall.ENOTCONN)
	require.ErrorIs(t, expect.Err(f.SyscallConn()), syscall.ENOTCONN)
	require.ErrorIs(t, f.Connect(fdtest.Soon(t)), syscall.EINVAL, "it has no path")

	require.ErrorIs(t, expect.Err(Describe(fdtest.File(t, "f"), nil)), syscall.ENOTSOCK)
	require.ErrorIs(t, expect.Err(Describe(fd, nil)), syscall.ENOTCONN)
	a, b := fdtest.RawPair(t, unix.SOCK_STREAM)
	defer unix.Close(a)
	defer unix.Close(b)
	of1 := expect.NoError(Describe(a, nil)).In(t)
	require.Equal(t, unix.AF_UNIX, of1.Family)
}

// A forwarder gives up at once when the receiver does not keep up, and forwards again after a new
// connection.
func TestForwarderNeverWaits(t *testing.T) {
	fdtest.NoLeak(t)
	path := filepath.Join(sockdir.New(t), "s")
	f := expect.NoError(NewForwarder(path)).In(t)
	fd, h := v4(t)
	require.ErrorIs(t, f.Push(fd, h, []byte("x")), syscall.ENOTCONN)
	require.ErrorIs(t, f.Close(), syscall.ENOTCONN)
	require.ErrorIs(t, f.Connect(fdtest.Soon(t)), syscall.ENOENT)

	l := expect.Open(net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})).In(t)
	require.NoError(t, f.Connect(fdtest.Soon(t)))
	require.ErrorIs(t, f.Connect(fdtest.Soon(t)), syscall.EISCONN)
	slow := expect.NoError(l.AcceptUnix()).In(t)
	r, err := NewReceiver(slow, nil)
	require.NoError(t, err)
	var s Session
	pushed := 0
	for ; err == nil; pushed++ {
		err = f.Push(fd, h, make([]byte, MaxData))
	}
	pushed--
	require.ErrorIs(t, err, syscall.EAGAIN)
	require.ErrorIs(t, err, transport.ErrPoisoned)
	require.Positive(t, pushed, "it has room for some")
	err = f.Push(fd, h, []byte("x"))
	require.ErrorIs(t, err, syscall.ENOTCONN)
	require.ErrorIs(t, err, syscall.EAGAIN, "and says since when")

	for range pushed {
		require.NoError(t, r.Receive(fdtest.Soon(t), &s))
	}
	require.ErrorIs(t, r.Receive(fdtest.Soon(t), &s), io.ErrUnexpectedEOF)
	require.NoError(t, r.Close())

	require.NoError(t, f.Connect(fdtest.Soon(t)))
	c := expect.NoError(l.AcceptUnix()).In(t)
	r = expect.NoError(NewReceiver(c, nil)).In(t)
	require.NoError(t, f.Push(fd, h, []byte("x")))
	require.NoError(t, r.Receive(fdtest.Soon(t), &s))
	require.NoError(t, s.Close())
	require.NoError(t, r.Close())
	require.ErrorIs(t, f.Push(fd, h, []byte("x")), syscall.EPIPE)
	err = f.Push(fd, h, []byte("x"))
	require.ErrorIs(t, err, syscall.ENOTCONN)
	require.ErrorIs(t, err, syscall.EPIPE, "and says since when")
}

func TestForwarderPaths(t *testing.T) {
	require.ErrorIs(t, expect.Err(NewForwarder(strings.Repeat("x", 200))), syscall.ENAMETOOLONG)
	require.ErrorIs(t, expect.Err(NewForwarder("")), syscall.EINVAL)
	a, b := fdtest.Pair(t, unix.SOCK_DGRAM)
	require.ErrorIs(t, expect.Err(NewForwarderConn(a)), syscall.EINVAL)
	require.ErrorIs(t, expect.Err(NewReceiver(b, nil)), syscall.EINVAL)
}

// Sessions arrive unchanged, however their bytes are cut.
func TestSessionsInPieces(t *testing.T) {
	fdtest.NoLeak(t)
	fd, h := v4(t)
	six, local := udp(t, "udp6")
	h6 := Header{unix.AF_INET6, unix.SOCK_DGRAM, 17, local, addr("[2001:db8::1]:1")}
	rapid.Check(t, func(rt *rapid.T) {
		a, b := fdtest.Pair(t, unix.SOCK_STREAM)
		defer a.Close()
		r := expect.NoError(NewReceiver(b, nil)).In(t)
		defer r.Close()
		type sent struct {
			h    Header
			data []byte
		}
		var all []sent
		for range rapid.IntRange(1, 5).Draw(rt, "sessions") {
			s, own := sent{h, bytes.Repeat([]byte("x"), rapid.SampledFrom([]int{1, 2, 100, 5000}).Draw(rt, "size"))}, fd
			if rapid.Bool().Draw(rt, "six") {
				s.h, own = h6, six
			}
			all = append(all, s)
			wire := expect.NoError(appendSession(nil, &s.h, len(s.data))).In(t)
			wire = append(wire, s.data...)
			control := unix.UnixRights(own)
			for len(wire) > 0 { // BIND 10 sends the first byte alone
				n := min(rapid.SampledFrom([]int{1, 2, 3, 30, 5, 61, 1 << 20}).Draw(rt, "piece"), len(wire))
				fdtest.SendRaw(t, a, wire[:n], control)
				wire, control = wire[n:], nil
			}
		}
		var s Session
		for _, want := range all {
			require.NoError(t, r.Receive(fdtest.Soon(t), &s))
			require.Equal(t, want.h, s.Header)
			require.Equal(t, want.data, s.Data)
			require.Equal(t, 1, s.Socket.Len())
		}
		require.NoError(t, s.Close())
		require.NoError(t, a.Close())
		require.Equal(t, io.EOF, r.Receive(fdtest.Soon(t), &s))
	})
}

// Bytes that have come while no call received are not late, however much later they are received.
func TestSessionNobodyLooks(t *testing.T) {
	fd, h := v4(t)
	wire := expect.NoError(appendSession(nil, &h, 4)).In(t)
	wire = append(wire, "data"...)
	for _, n := range []int{1, 2, 20, 59, 62} {
		fdtest.NoLeak(t)
		a, r := receiver(t, &ReceiverOptions{Timeout: time.Hour})
		fdtest.SendRaw(t, a, wire[:n], unix.UnixRights(fd))
		var s Session
		err := r.Receive(transport.NoWait(), &s)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NotErrorIs(t, err, handoff.ErrLate)
		fdtest.SendRaw(t, a, wire[n:], nil)
		require.NotZero(t, r.rest.Began)
		r.rest.Began = r.rest.Began.Add(-r.rest.Limit)
		require.NoError(t, r.Receive(fdtest.Soon(t), &s))
		require.Equal(t, "data", string(s.Data))
		require.NoError(t, s.Close())
	}
}

// If a context ends within a session, nothing of the session is lost.
func TestReceiveGoesOn(t *testing.T) {
	fd, h := v4(t)
	wire := expect.NoError(appendSession(nil, &h, 4)).In(t)
	wire = append(wire, "data"...)
	for name, patience := range fdtest.Impatient(t) {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			a, r := receiver(t, nil)
			control := unix.UnixRights(fd)
			var s Session
			for i := range wire {
				ctx, want := patience()
				require.ErrorIs(t, r.Receive(ctx, &s), want)
				fdtest.SendRaw(t, a, wire[i:i+1], control)
				control = nil
			}
			require.NoError(t, r.Receive(fdtest.Soon(t), &s))
			require.Equal(t, "data", string(s.Data))
			require.NoError(t, s.Close())
			require.Zero(t, r.rest.Began, "the next session has its own time")
		})
	}
}

func TestReceiverClose(t *testing.T) {
	fdtest.NoLeak(t)
	a, r := receiver(t, nil)
	fd, _ := v4(t)
	fdtest.SendRaw(t, a, []byte{0, 0}, unix.UnixRights(fd))
	done, ctx := make(chan error, 1), fdtest.NewWaited(fdtest.Soon(t))
	go func() { done <- r.Receive(ctx, &Session{}) }()
	<-ctx.Begun()
	require.NoError(t, r.Close())
	require.ErrorIs(t, <-done, net.ErrClosed)
	require.Error(t, r.Receive(context.Background(), &Session{}))
}

// Sessions are accepted only from forwarders that Peer allows.
func TestReceiverPeer(t *testing.T) {
	fdtest.NoLeak(t)
	no := errors.New("not this one")
	for _, tt := range []struct {
		peer func(handoff.Cred) error
		want error
	}{
		{func(c handoff.Cred) error {
			return handoff.SameUser(handoff.Cred{PID: c.PID, UID: c.UID + 1, GID: c.GID})
		}, handoff.ErrForbidden},
		{func(c handoff.Cred) error { return no }, handoff.ErrForbidden},
		{func(c handoff.Cred) error { return no }, no},
	} {
		_, b := fdtest.Pair(t, unix.SOCK_STREAM)
		require.ErrorIs(t, expect.Err(NewReceiver(b, &ReceiverOptions{Peer: tt.peer})), tt.want)
	}
	_, b := fdtest.Pair(t, unix.SOCK_STREAM)
	require.ErrorIs(t, expect.Err(NewReceiver(b, &ReceiverOptions{Timeout: -1})), syscall.EINVAL)
}
