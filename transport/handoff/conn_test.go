//go:build unix

package handoff

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
)

func fcntl(fd, cmd int) (int, error) { return unix.FcntlInt(uintptr(fd), cmd, 0) }

func conn(t testing.TB, c *net.UnixConn) *Conn {
	t.Helper()
	return expect.Open(NewConn(c)).In(t)
}

// connPair makes two connected Conns.
func connPair(t testing.TB, kind int) (one, other *Conn) {
	t.Helper()
	a, b := fdtest.Pair(t, kind)
	return conn(t, a), conn(t, b)
}

// eachPair runs a test with pairs of these types, which leaves no descriptor open.
func eachPair(t *testing.T, kinds map[string]int, test func(t *testing.T, kind int, a, b *Conn)) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			a, b := connPair(t, kind)
			test(t, kind, a, b)
		})
	}
}

var packetKinds = map[string]int{"dgram": unix.SOCK_DGRAM, "seqpacket": unix.SOCK_SEQPACKET}

// kinds are the types of UNIX sockets.
var kinds = map[string]int{"stream": unix.SOCK_STREAM, "dgram": unix.SOCK_DGRAM, "seqpacket": unix.SOCK_SEQPACKET}

func TestSendAndReceive(t *testing.T) {
	eachPair(t, kinds, func(t *testing.T, kind int, a, b *Conn) {
		ctx := fdtest.Soon(t)
		one, two := fdtest.File(t, "one"), fdtest.File(t, "two")
		require.NoError(t, a.Send(ctx, []byte("hello"), one, two))
		require.NoError(t, a.Send(ctx, []byte("world")))

		var set FDSet
		defer set.Close()
		p := make([]byte, 5)
		n := expect.NoError(b.Receive(ctx, p, &set, 2)).In(t)
		require.Equal(t, "hello", string(p[:n]))
		require.Equal(t, 2, set.Len())
		for i, want := range []string{"one", "two"} {
			fd := expect.NoError(set.FD(i)).In(t)
			require.Equal(t, want, fdtest.Content(t, fd))
			flags := expect.NoError(fcntl(fd, unix.F_GETFD)).In(t)
			require.Equal(t, unix.FD_CLOEXEC, flags, "close-on-exec")
		}
		n = expect.NoError(b.Receive(ctx, p, nil, 0)).In(t)
		require.Equal(t, "world", string(p[:n]))

		if kind != unix.SOCK_DGRAM {
			require.NoError(t, a.Close())
			require.Equal(t, io.EOF, expect.Err(b.Receive(ctx, p, nil, 0)))
		}
	})
}

func TestMostDescriptors(t *testing.T) {
	need.Descriptors(t, 800)
	eachPair(t, kinds, func(t *testing.T, _ int, a, b *Conn) {
		ctx := fdtest.Soon(t)
		many := make([]int, MaxDescriptors+1)
		for i := range many {
			many[i] = fdtest.File(t, fmt.Sprint(i))
		}
		require.ErrorIs(t, a.Send(ctx, []byte{1}, many...), syscall.EINVAL)
		require.NoError(t, a.Send(ctx, []byte{1}, many[:MaxDescriptors]...))
		var set FDSet
		defer set.Close()
		require.NoError(t, expect.Err(b.Receive(ctx, make([]byte, 10), &set, MaxDescriptors)))
		require.Equal(t, MaxDescriptors, set.Len())
		for i, fd := range set.FDs() {
			require.Equal(t, fmt.Sprint(i), fdtest.Content(t, fd))
		}
	})
}

// More descriptors than asked for are an error, whether or not padding would have room for them,
// and leave none behind.
func TestMoreDescriptorsThanRoom(t *testing.T) {
	eachPair(t, kinds, func(t *testing.T, _ int, a, b *Conn) {
		ctx := fdtest.Soon(t)
		f := fdtest.File(t, "f")
		for _, tt := range []struct{ sent, room int }{{1, 0}, {2, 1}, {3, 1}, {3, 2}, {4, 3}, {253, 1}, {253, 252}} {
			before := leak.Descriptors()
			fds := make([]int, tt.sent)
			for i := range fds {
				fds[i] = f
			}
			require.NoError(t, a.Send(ctx, []byte("x"), fds...))
			set := expect.NoError(NewFDSet()).In(t)
			_, err := b.Receive(ctx, make([]byte, 10), set, tt.room)
			require.ErrorIs(t, err, ErrDescriptorsLost, "%v", tt)
			require.Zero(t, set.Len())
			require.Empty(t, fdtest.LeftOver(before, leak.Descriptors()), "%v", tt)
		}
		require.NoError(t, a.Send(ctx, []byte("x"), f))
		var set FDSet
		require.NoError(t, expect.Err(b.Receive(ctx, make([]byte, 10), &set, 1)), "later messages come through")
		require.NoError(t, set.Close())
	})
}

// A datagram tells where it came from, a connection nothing new.
func TestReceivePacketTellsSender(t *testing.T) {
	path := filepath.Join(sockdir.New(t), "one")
	named := expect.NoError(net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})).In(t)
	one := conn(t, named)
	at := filepath.Join(sockdir.New(t), "other")
	named = expect.NoError(net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})).In(t)
	other := conn(t, named)
	require.NoError(t, one.SendTo(fdtest.Soon(t), transport.UnixAddr(at), []byte("x")))
	p, from, _, err := other.ReceivePacket(fdtest.Soon(t), nil, 10, nil, 0)
	require.NoError(t, err)
	require.Equal(t, "x", string(p))
	require.Equal(t, transport.UnixAddr(path), from)
	one, other = connPair(t, unix.SOCK_SEQPACKET)
	require.NoError(t, one.Send(fdtest.Soon(t), []byte("y")))
	p, from, _, err = other.ReceivePacket(fdtest.Soon(t), nil, 10, nil, 0)
	require.NoError(t, err)
	require.Equal(t, "y", string(p))
	require.Equal(t, transport.UnixAddr(""), from)
}

// On a connection there is only one receiver: an address is not ignored.
func TestSendToOnConnection(t *testing.T) {
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET} {
		a, b := connPair(t, kind)
		require.ErrorIs(t, a.SendTo(fdtest.Soon(t), transport.UnixAddr("/nobody"), []byte("x")), syscall.EISCONN)
		require.NoError(t, a.SendTo(fdtest.Soon(t), nil, []byte("y")))
		p := make([]byte, 2)
		n := expect.NoError(b.Receive(fdtest.Soon(t), p, nil, 0)).In(t)
		require.Equal(t, "y", string(p[:n]))
	}
}

func TestReceivePacket(t *testing.T) {
	eachPair(t, packetKinds, func(t *testing.T, _ int, a, b *Conn) {
		ctx := fdtest.Soon(t)
		var set FDSet
		buffer := make([]byte, 16)
		for _, size := range []int{1, 16, 17, 5000, 100_000} {
			sent := bytes.Repeat([]byte{byte(size)}, size)
			require.NoError(t, a.Send(ctx, sent, fdtest.File(t, "f")))
			got, _, _, err := b.ReceivePacket(ctx, buffer, 1<<20, &set, 1)
			require.NoError(t, err)
			require.Equal(t, sent, got)
			require.Equal(t, size <= 16, &got[0] == &buffer[0], "in the buffer that was given")
			require.Equal(t, 1, set.Len())
			require.NoError(t, set.Close())
		}
		require.NoError(t, a.Send(ctx, make([]byte, 1001), fdtest.File(t, "f")))
		require.NoError(t, a.Send(ctx, []byte("next")))
		_, _, _, err := b.ReceivePacket(ctx, buffer, 1000, &set, 1)
		require.ErrorIs(t, err, ErrTruncated)
		require.Zero(t, set.Len())
		got, _, _, err := b.ReceivePacket(ctx, buffer, 1000, &set, 1)
		require.NoError(t, err)
		require.Equal(t, "next", string(got))
	})
}

// A stream's message goes out whole in parts, and its descriptors once.
func TestShortWrites(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := connPair(t, unix.SOCK_STREAM)
	ctx := fdtest.Soon(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	f := fdtest.File(t, "f")
	done := expect.Aside(func() error { return a.Send(ctx, sent, f) })
	var set FDSet
	defer set.Close()
	var got []byte
	for p := make([]byte, 1<<16); len(got) < len(sent); {
		n := expect.NoError(b.Receive(ctx, p, &set, 2)).In(t)
		got = append(got, p[:n]...)
	}
	require.NoError(t, <-done)
	require.True(t, bytes.Equal(sent, got))
	require.Equal(t, 1, set.Len())
}

// A message that is cancelled half-way leaves the stream unusable, and says so.
func TestHalfSentMessageEndsStream(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := connPair(t, unix.SOCK_STREAM)
	ctx, cancel := context.WithCancel(context.Background())
	done := expect.Aside(func() error { return a.Send(ctx, make([]byte, 16<<20)) })
	_, err := b.Receive(fdtest.Soon(t), make([]byte, 1), nil, 0) // part has been sent
	require.NoError(t, err)
	cancel()
	err = <-done
	require.ErrorIs(t, err, transport.ErrPoisoned)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, a.Send(fdtest.Soon(t), []byte("more")), transport.ErrPoisoned)
	require.ErrorIs(t, expect.Err(a.TrySend([]byte("more"))), transport.ErrPoisoned)
}

func TestTrySend(t *testing.T) {
	eachPair(t, kinds, func(t *testing.T, _ int, a, b *Conn) {
		f := fdtest.File(t, "f")
		sent := 0
		for p := make([]byte, 1000); ; {
			n, err := a.TrySend(p, f)
			if sent += n; err != nil {
				require.ErrorIs(t, err, syscall.EAGAIN)
				require.Zero(t, n)
				break
			}
		}
		require.NotZero(t, sent)
		var set FDSet
		defer set.Close()
		for p := make([]byte, 1000); sent > 0; {
			n := expect.NoError(b.Receive(fdtest.Soon(t), p, &set, MaxDescriptors)).In(t)
			sent -= n
		}
		require.Equal(t, 5, expect.NoError(a.TrySend([]byte("again"))).In(t))
	})
}

func TestConnWaitsEndWithContextAndClose(t *testing.T) {
	eachPair(t, kinds, func(t *testing.T, _ int, a, b *Conn) {
		p := make([]byte, 1000)
		_, err := b.Receive(fdtest.Briefly(t), p, nil, 0)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		timeout := expect.As[net.Error](t, err)
		require.True(t, timeout.Timeout())
		require.ErrorIs(t, expect.Err(b.Receive(fdtest.Briefly(t), p, nil, 0)), context.DeadlineExceeded)
		done, cancel := context.WithCancel(context.Background())
		cancel()
		_, err = b.Receive(done, p, nil, 0)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, a.Send(done, p), context.Canceled)

		for err = nil; err == nil; {
			_, err = a.TrySend(p)
		}
		require.ErrorIs(t, a.Send(fdtest.Briefly(t), p), context.DeadlineExceeded)
		received := make(chan error, 1)
		go func() { _, err := a.Receive(context.Background(), make([]byte, 10), nil, 0); received <- err }()
		waiting := make(chan error, 1)
		go func() { waiting <- a.Send(context.Background(), p) }()
		require.NoError(t, a.Close())
		require.ErrorIs(t, <-received, net.ErrClosed)
		require.ErrorIs(t, <-waiting, net.ErrClosed)
		require.NoError(t, expect.Err(b.Receive(fdtest.Soon(t), p, nil, 0)), "what was sent before is there")
	})
}

func TestNothingToSend(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := connPair(t, unix.SOCK_STREAM)
	ctx := fdtest.Soon(t)
	require.ErrorIs(t, a.Send(ctx, nil, fdtest.File(t, "f")), syscall.EINVAL)
	require.ErrorIs(t, a.Send(ctx, nil), syscall.EINVAL)
	require.ErrorIs(t, expect.Err(b.Receive(ctx, nil, nil, 0)), syscall.EINVAL)
	_, _, _, err := b.ReceivePacket(ctx, nil, 10, nil, 0)
	require.ErrorIs(t, err, syscall.EINVAL)
	for _, fd := range []int{-1, 1 << 20} {
		require.ErrorIs(t, a.Send(ctx, []byte("x"), fd), syscall.EBADF)
	}
	if strconv.IntSize > 32 {
		require.ErrorIs(t, a.Send(ctx, []byte("x"), int(int64(fdtest.File(t, "g"))+1<<32)), syscall.EBADF, "its lower half is open")
	}
	require.ErrorIs(t, expect.Err(b.Receive(ctx, make([]byte, 1), nil, 1)), syscall.EINVAL)
	for _, room := range []int{-1, MaxDescriptors + 1} {
		require.ErrorIs(t, expect.Err(b.Receive(ctx, make([]byte, 1), &FDSet{}, room)), syscall.EINVAL)
	}
}

// TrySend sends an empty packet, too.
func TestTrySendOfNothing(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := connPair(t, unix.SOCK_DGRAM)
	n := expect.NoError(a.TrySend(nil)).In(t)
	require.Zero(t, n)
	n = expect.NoError(b.Receive(fdtest.Soon(t), make([]byte, 8), nil, 0)).In(t)
	require.Zero(t, n)
}

// An empty packet with a descriptor is not the end of the connection, whose packets without either
// look the same.
func TestEmptyPacketWithDescriptor(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := connPair(t, unix.SOCK_SEQPACKET)
	f := expect.Open(os.Open(os.DevNull)).In(t)
	require.NoError(t, a.Send(fdtest.Soon(t), nil, int(f.Fd())))
	require.NoError(t, a.Close())
	var set FDSet
	require.Zero(t, expect.NoError(b.Receive(fdtest.Soon(t), make([]byte, 8), &set, 1)).In(t))
	require.Equal(t, 1, set.Len())
	require.NoError(t, set.Close())
	require.Equal(t, io.EOF, expect.Err(b.Receive(fdtest.Soon(t), make([]byte, 8), &set, 1)))
}

// A call that waits for its turn ends with its own context, even while another call holds the turn.
func TestWaitForTurnEndsWithContext(t *testing.T) {
	fdtest.NoLeak(t)
	_, b := connPair(t, unix.SOCK_SEQPACKET)
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan error, 1)
	go func() { _, err := b.Receive(ctx, make([]byte, 1), nil, 0); first <- err }()
	require.Eventually(t, func() bool { return b.receiving.Callers() > 0 }, expect.Limit, time.Millisecond)
	short, stop := context.WithTimeout(context.Background(), time.Millisecond)
	defer stop()
	require.ErrorIs(t, expect.Err(b.Receive(short, make([]byte, 1), nil, 0)), context.DeadlineExceeded)
	cancel()
	require.ErrorIs(t, <-first, context.Canceled)
}

// Numbers 0, 1 and 2 are never given out.
func TestLowNumbers(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := connPair(t, unix.SOCK_SEQPACKET)
	f := fdtest.File(t, "f")
	keep := expect.NoError(unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)).In(t)
	require.NoError(t, unix.Close(0))
	var set FDSet
	require.NoError(t, a.Send(fdtest.Soon(t), []byte("x"), f, f))
	_, err := b.Receive(fdtest.Soon(t), make([]byte, 1), &set, 2)
	free := fdtest.IsClosed(0)
	require.NoError(t, unix.Dup2(keep, 0))
	require.NoError(t, unix.Close(keep))
	require.NoError(t, err)
	require.True(t, free)
	for _, fd := range set.FDs() {
		require.Greater(t, fd, 2)
		require.Equal(t, "f", fdtest.Content(t, fd))
		flags := expect.NoError(fcntl(fd, unix.F_GETFD)).In(t)
		require.Equal(t, unix.FD_CLOEXEC, flags)
	}
	require.NoError(t, set.Close())
}

func TestNotASocket(t *testing.T) {
	fdtest.NoLeak(t)
	l := expect.Open(net.Listen("tcp", "127.0.0.1:0")).In(t)
	raw := expect.NoError(l.(*net.TCPListener).SyscallConn()).In(t)
	require.NoError(t, raw.Control(func(fd uintptr) {
		s := expect.NoError(Inspect(int(fd))).In(t)
		require.Equal(t, unix.AF_INET, s.Domain)
		require.Equal(t, unix.SOCK_STREAM, s.Type)
		require.True(t, s.Listening)
		require.Nil(t, s.Remote)
		require.Equal(t, l.Addr().String(), s.Local.String())
		require.NoError(t, s.Listener())
		require.ErrorIs(t, s.Stream(), syscall.EINVAL)
	}))
	a, b := fdtest.RawPair(t, unix.SOCK_DGRAM)
	defer unix.Close(a)
	defer unix.Close(b)
	s := expect.NoError(Inspect(a)).In(t)
	require.Equal(t, unix.AF_UNIX, s.Domain)
	require.NotNil(t, s.Remote)
	require.ErrorIs(t, s.Stream(), syscall.EINVAL)
	require.ErrorIs(t, s.Listener(), syscall.EINVAL)
	require.ErrorIs(t, expect.Err(Inspect(fdtest.File(t, "f"))), syscall.ENOTSOCK)
	require.ErrorIs(t, expect.Err(Inspect(1<<20)), syscall.EBADF)
	unconnected := expect.NoError(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)).In(t)
	defer unix.Close(unconnected)
	s = expect.NoError(Inspect(unconnected)).In(t)
	require.ErrorIs(t, s.Stream(), syscall.ENOTCONN)
}

func TestLendGivesDescriptorsOfFiles(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := connPair(t, unix.SOCK_SEQPACKET)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, Lend(func(fds []int) error { return a.Send(fdtest.Soon(t), []byte("pipe"), fds...) }, r, w))
	var set FDSet
	require.NoError(t, expect.Err(b.Receive(fdtest.Soon(t), make([]byte, 10), &set, 2)))
	far := expect.NoError(set.File(1, "far")).In(t)
	require.NoError(t, w.Close())
	require.NoError(t, expect.Err(far.WriteString("through")))
	require.NoError(t, far.Close())
	require.NoError(t, set.Close())
	all := expect.NoError(io.ReadAll(r)).In(t)
	require.Equal(t, "through", string(all))
	require.NoError(t, r.Close())
	require.Error(t, Lend(func([]int) error { panic("called") }, r), "it is closed")
	wrong := fmt.Errorf("wrong")
	require.Equal(t, wrong, Lend(func([]int) error { return wrong }, a))
}

// With transport.NoWait nothing waits: not for a message, not for room, and not for another call's
// turn.
func TestSingleTry(t *testing.T) {
	fdtest.NoLeak(t)
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET, unix.SOCK_DGRAM} {
		a, b := connPair(t, kind)
		p := make([]byte, 10)
		_, err := b.Receive(transport.NoWait(), p, nil, 0)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		for err = nil; err == nil; {
			err = a.Send(transport.NoWait(), p)
		}
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, len(p), expect.NoError(b.Receive(transport.NoWait(), p, nil, 0)).In(t))

		require.NoError(t, b.receiving.Take(fdtest.Soon(t)))
		require.ErrorIs(t, expect.Err(b.Receive(transport.NoWait(), p, nil, 0)), os.ErrDeadlineExceeded)
		b.receiving.Pass()
	}
}

// A call with a nil context panics, and does not disturb other calls.
func TestNilContext(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := connPair(t, unix.SOCK_SEQPACKET)
	var none context.Context
	p := make([]byte, 10)
	require.Panics(t, func() { _ = a.Send(none, p) })
	require.Panics(t, func() { _, _ = b.Receive(none, p, nil, 0) })
	require.NoError(t, a.Send(fdtest.Soon(t), p))
	require.NoError(t, expect.Err(b.Receive(fdtest.Soon(t), p, nil, 0)))
}
