//go:build unix

package beam

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/internal/sock"
	"github.com/cnode-go/cnode/transport/handoff/internal/stream"
)

var messageKinds = map[string]int{"packets": unix.SOCK_SEQPACKET, "framed": unix.SOCK_STREAM}

func messages(t testing.TB, kind int, config *Options) (one, other *Conn) {
	t.Helper()
	a, b := fdtest.Pair(t, kind)
	one = expect.Open(NewConn(a, config)).In(t)
	other = expect.Open(NewConn(b, config)).In(t)
	return one, other
}

// hostile makes a Conn, and a socket at its other end from which a test sends anything.
func hostile(t testing.TB, kind int, config *Options) (*net.UnixConn, *Conn) {
	t.Helper()
	a, b := fdtest.Pair(t, kind)
	m := expect.Open(NewConn(b, config)).In(t)
	return a, m
}

// option reads an option of a socket.
func option(t testing.TB, raw syscall.RawConn, which int) (v int) {
	t.Helper()
	var err error
	require.NoError(t, raw.Control(func(fd uintptr) { v, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, which) }))
	require.NoError(t, err)
	return v
}

func text(t testing.TB, f *os.File) string {
	t.Helper()
	b := make([]byte, 100)
	n, err := f.ReadAt(b, 0)
	require.True(t, err == nil || err == io.EOF, "%v", err)
	return string(b[:n])
}

// Messages keep their boundaries, their order and their attachments, with a payload or without,
// with an attachment or without.
func TestMessages(t *testing.T) {
	for name, kind := range messageKinds {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			ctx := fdtest.Soon(t)
			a, b := messages(t, kind, nil)
			f := fdtest.Open(t, "f")
			all := []struct {
				data string
				file bool
			}{{"one", true}, {"two", false}, {"", true}, {"", false}, {"three", true}, {string(bytes.Repeat([]byte("x"), 100_000)), true},
				{"", false}}
			sent := make(chan error, 1)
			go func() {
				var err error
				for _, m := range all {
					if m.file {
						err = errors.Join(err, a.Send(ctx, []byte(m.data), f))
					} else {
						var none *os.File
						err = errors.Join(err, a.Send(ctx, []byte(m.data), none))
					}
				}
				sent <- errors.Join(err, a.CloseWrite())
			}()
			for i, want := range all {
				data, got, err := b.Receive(ctx)
				require.NoError(t, err, i)
				require.Equal(t, want.data, string(data), i)
				require.Equal(t, want.file, got != nil, i)
				if got != nil {
					require.Equal(t, "f", text(t, got))
					require.NoError(t, got.Close())
				}
			}
			require.Equal(t, io.EOF, expect.Err2(b.Receive(ctx)))
			require.NoError(t, <-sent)
			require.NoError(t, b.Send(ctx, []byte("the other way"), nil))
			data, _, err := a.Receive(ctx)
			require.NoError(t, err)
			require.Equal(t, "the other way", string(data))
		})
	}
}

// The functions on sockets read no more than their message, on a stream too.
func TestSendAndReceiveOnSockets(t *testing.T) {
	for name, kind := range messageKinds {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			ctx := fdtest.Soon(t)
			a, b := fdtest.Pair(t, kind)
			f := fdtest.Open(t, "f")
			require.NoError(t, Send(ctx, a, []byte("one"), f))
			require.NoError(t, Send(ctx, a, nil, nil))
			require.NoError(t, Send(ctx, a, []byte("two"), f))
			raw := expect.NoError(a.SyscallConn()).In(t)
			require.Zero(t, passCredentials(t, raw), "sending changes no option of what is received")
			require.NoError(t, a.Close())
			for _, want := range []string{"one", "", "two"} {
				data, got, err := Receive(ctx, b)
				require.NoError(t, err)
				require.Equal(t, want, string(data))
				require.Equal(t, want != "", got != nil)
				if got != nil {
					require.NoError(t, got.Close())
				}
			}
			require.Equal(t, io.EOF, expect.Err2(Receive(ctx, b)))
		})
	}
}

// A service hands out a new connection on each request.
func TestSendPipe(t *testing.T) {
	for name, kind := range messageKinds {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			ctx := fdtest.Soon(t)
			a, b := fdtest.Pair(t, kind)
			endpoint := expect.NoError(SendPipe(ctx, a, []byte("sql"))).In(t)
			data, f, err := Receive(ctx, b)
			require.NoError(t, err)
			require.Equal(t, "sql", string(data))
			served := expect.NoError(handoff.FileConn(f)).In(t)
			raw := expect.NoError(served.SyscallConn()).In(t)
			require.Equal(t, unix.SOCK_STREAM, option(t, raw, unix.SO_TYPE), "whatever the carrier is")
			require.NoError(t, Send(ctx, served, []byte("hello"), nil))
			data, _, err = Receive(ctx, endpoint)
			require.NoError(t, err)
			require.Equal(t, "hello", string(data))
			require.NoError(t, served.Close())
			require.Equal(t, io.EOF, expect.Err2(Receive(ctx, endpoint)))
			require.NoError(t, endpoint.Close())

			require.NoError(t, b.Close())
			require.ErrorIs(t, expect.Err(SendPipe(ctx, a, []byte("sql"))), syscall.EPIPE)
		})
	}
}

// Both ends of SocketPair, and what SendPipe sends, are streams in blocking mode: what a Read has
// no room for comes with the next, and a process that knows nothing of O_NONBLOCK can read there.
// The end that stays waits in Go's poller all the same, and so does a connection that is made of
// the other one.
func TestPairsAreStreams(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := fdtest.Pair(t, unix.SOCK_SEQPACKET)
	for name, make := range map[string]func() (here io.ReadWriteCloser, there *os.File, err error){
		"SocketPair": func() (io.ReadWriteCloser, *os.File, error) {
			one, other, err := SocketPair()
			require.NoError(t, err)
			requireBlocking(t, one, true)
			here, err := handoff.FileConn(one)
			return here, other, err
		},
		"SendPipe": func() (io.ReadWriteCloser, *os.File, error) {
			here := expect.NoError(SendPipe(fdtest.Soon(t), a, []byte("sql"))).In(t)
			_, there, err := Receive(fdtest.Soon(t), b)
			return here, there, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			here, there, err := make()
			require.NoError(t, err)
			requireBlocking(t, here.(syscall.Conn), false)
			requireBlocking(t, there, true)
			long := bytes.Repeat([]byte("0123456789"), 1000)
			require.NoError(t, expect.Err(here.Write(long)))
			require.NoError(t, here.Close())
			require.Equal(t, long, expect.NoError(io.ReadAll(there)).In(t))
			require.NoError(t, there.Close())
		})
	}
}

// requireBlocking requires the mode of a descriptor.
func requireBlocking(t *testing.T, c syscall.Conn, want bool) {
	t.Helper()
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	var flags int
	e := raw.Control(func(fd uintptr) { flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0) })
	require.NoError(t, errors.Join(err, e))
	require.Equal(t, want, flags&unix.O_NONBLOCK == 0)
}

// A packet holds what the socket's buffer does, and the error says what holds more: a stream.
func TestLongMessage(t *testing.T) {
	fdtest.NoLeak(t)
	long := make([]byte, 4<<20)
	for name, pair := range map[string]func() (*os.File, *os.File, error){"packets": handoff.PacketPair, "stream": SocketPair} {
		t.Run(name, func(t *testing.T) {
			a, b, err := pair()
			if name == "packets" && !(sock.Sequenced(syscall.SOCK_SEQPACKET) == nil) {
				require.ErrorIs(t, err, errors.ErrUnsupported)
				return
			}
			require.NoError(t, err)
			one, other := connOf(t, a), connOf(t, b)
			f := fdtest.Open(t, "attached")
			defer f.Close()
			sent := expect.Aside(func() error { return one.Send(fdtest.Soon(t), long, f) })
			if name == "packets" {
				err := <-sent
				require.ErrorIs(t, err, syscall.EMSGSIZE)
				require.ErrorContains(t, err, "4194304 bytes")
				require.ErrorContains(t, err, "SocketPair")
				return
			}
			data, got, err := other.Receive(fdtest.Soon(t))
			require.NoError(t, err)
			require.Equal(t, long, data)
			require.NoError(t, got.Close())
			require.NoError(t, <-sent)
		})
	}
}

// Send refuses what the Receive of its own end would refuse: over a stream that would end the
// connection. The functions on sockets, which have no config, have the default.
func TestMessageLimit(t *testing.T) {
	for name, kind := range messageKinds {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			a, b := messages(t, kind, &Options{MaxMessage: 1000})
			err := a.Send(fdtest.Soon(t), make([]byte, 1001), nil)
			require.ErrorIs(t, err, syscall.EMSGSIZE)
			require.ErrorContains(t, err, "MaxMessage")
			require.ErrorIs(t, expect.Err(a.SendPipe(fdtest.Soon(t), make([]byte, 1001))), syscall.EMSGSIZE)
			require.NoError(t, a.Send(fdtest.Soon(t), make([]byte, 1000), nil))
			data, _, err := b.Receive(fdtest.Soon(t))
			require.NoError(t, err)
			require.Len(t, data, 1000)
			c, _ := fdtest.Pair(t, kind)
			require.ErrorIs(t, Send(fdtest.Soon(t), c, make([]byte, defaultMaxMessage+1), nil), syscall.EMSGSIZE)
		})
	}
}

// connOf makes a Conn of one end of a pair.
func connOf(t *testing.T, end *os.File) *Conn {
	t.Helper()
	c := expect.NoError(handoff.FileConn(end)).In(t)
	m := expect.NoError(NewConn(c, nil)).In(t)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// Of several attachments all but the first are closed.
func TestSurplusAttachments(t *testing.T) {
	need.Descriptors(t, 600)
	for name, kind := range messageKinds {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			a, m := hostile(t, kind, nil)
			wire := []byte("\x80\x00\x00\x04data")
			if kind == unix.SOCK_SEQPACKET {
				wire = wire[4:]
			}
			for _, n := range []int{2, 3, 253} {
				fds := append([]int{fdtest.File(t, "first")}, fdtest.Repeat(fdtest.File(t, "other"), n-1)...)
				fdtest.SendRaw(t, a, wire, unix.UnixRights(fds...))
				before := leak.Descriptors()
				data, fd, err := m.ReceiveFD(fdtest.Soon(t))
				require.NoError(t, err)
				require.Equal(t, "data", string(data))
				require.Equal(t, "first", fdtest.Content(t, fd))
				require.NoError(t, unix.Close(fd))
				require.Empty(t, fdtest.LeftOver(before, leak.Descriptors()))
			}
		})
	}
}

// A frame whose header comes byte by byte, with descriptors beside each byte, holds no more
// descriptors than bytes.
func TestFrameHoardsNothing(t *testing.T) {
	need.Descriptors(t, 600)
	fdtest.NoLeak(t)
	a, m := hostile(t, unix.SOCK_STREAM, nil)
	f := fdtest.File(t, "f")
	before := leak.Descriptors()
	for i := range 3 {
		fdtest.SendRaw(t, a, []byte{0}, unix.UnixRights(fdtest.Repeat(f, handoff.MaxDescriptors)...))
		require.ErrorIs(t, expect.Err2(m.ReceiveFD(transport.NoWait())), os.ErrDeadlineExceeded)
		require.Len(t, fdtest.LeftOver(before, leak.Descriptors()), i+1)
	}
	require.NoError(t, m.Close())
}

// Descriptors that come in the middle of a payload are closed with it, and do not become the
// attachment of a later message.
func TestAttachmentsInThePayload(t *testing.T) {
	fdtest.NoLeak(t)
	a, m := hostile(t, unix.SOCK_STREAM, nil)
	f := fdtest.File(t, "f")
	before := leak.Descriptors()
	const part = 2 * stream.FirstBuffer
	fdtest.SendRaw(t, a, binary.BigEndian.AppendUint32(nil, 3*part), nil)
	for range 3 {
		require.ErrorIs(t, expect.Err2(m.ReceiveFD(transport.NoWait())), os.ErrDeadlineExceeded)
		fdtest.SendRaw(t, a, make([]byte, part), unix.UnixRights(f, f))
	}
	data, fd, err := m.ReceiveFD(fdtest.Soon(t))
	require.NoError(t, err)
	require.Len(t, data, 3*part)
	require.Negative(t, fd)
	require.Empty(t, fdtest.LeftOver(before, leak.Descriptors()))
	fdtest.SendRaw(t, a, []byte("\x80\x00\x00\x01x"), nil)
	require.ErrorIs(t, expect.Err2(m.ReceiveFD(fdtest.Soon(t))), handoff.ErrMalformed)
}

// The frames of libchan as libchan sends them: the first byte in a write of its own.
func TestFrames(t *testing.T) {
	fdtest.NoLeak(t)
	ctx := fdtest.Soon(t)
	a, m := hostile(t, unix.SOCK_STREAM, nil)
	f := fdtest.File(t, "f")
	rights := unix.UnixRights(f)
	type part struct {
		p       string
		control []byte
	}
	for _, p := range []part{
		{"\x00", nil}, {"\x00\x00\x03", nil}, {"one", nil},
		{"\x80", rights}, {"\x00\x00\x03", nil}, {"two", nil},
		{"\x80", rights}, {"\x00\x00\x00", nil},
		{"\x00\x00\x00\x00", nil},
		{"\x00\x00\x00\x01x", rights}, // a descriptor that was not announced
		{"\x80\x00\x00\x04fo", rights}, {"ur", nil},
	} {
		fdtest.SendRaw(t, a, []byte(p.p), p.control)
	}
	require.NoError(t, a.CloseWrite())
	for _, want := range []struct {
		data string
		file bool
	}{{"one", false}, {"two", true}, {"", true}, {"", false}, {"x", false}, {"four", true}} {
		data, fd, err := m.ReceiveFD(ctx)
		require.NoError(t, err)
		require.Equal(t, want.data, string(data))
		require.Equal(t, want.file, fd >= 0, want.data)
		if fd >= 0 {
			require.NoError(t, unix.Close(fd))
		}
	}
	require.Equal(t, io.EOF, expect.Err2(m.Receive(ctx)))

	c, there := fdtest.Pair(t, unix.SOCK_STREAM)
	d := expect.Open(handoff.NewConn(there)).In(t)
	sender := expect.Open(NewConn(c, nil)).In(t)
	require.NoError(t, sender.SendFD(ctx, []byte("data"), f))
	require.NoError(t, sender.SendFD(ctx, nil, -1))
	var set handoff.FDSet
	p := make([]byte, 100)
	n := expect.NoError(d.Receive(ctx, p, &set, 1)).In(t)
	require.Equal(t, "\x80\x00\x00\x04data", string(p[:n]))
	require.NoError(t, set.Close())
	n = expect.NoError(d.Receive(ctx, p, nil, 0)).In(t)
	require.Equal(t, "\x00\x00\x00\x00", string(p[:n]))
}

func TestFrameLies(t *testing.T) {
	for _, tt := range []struct {
		name, wire string
		fds        int
		want       error
	}{
		{"an attachment that does not come", "\x80\x00\x00\x01x", 0, handoff.ErrMalformed},
		{"too long", "\x00\x00\x00\x11", 0, syscall.EMSGSIZE},
		{"too long with an attachment", "\xff\xff\xff\xff", 1, syscall.EMSGSIZE},
		{"half a header", "\x80\x00", 1, io.ErrUnexpectedEOF},
		{"no payload", "\x80\x00\x00\x02", 1, io.ErrUnexpectedEOF},
		{"half a payload", "\x80\x00\x00\x02x", 3, io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fdtest.NoLeak(t)
			a, m := hostile(t, unix.SOCK_STREAM, &Options{MaxMessage: 16})
			var control []byte
			if tt.fds > 0 {
				control = unix.UnixRights(fdtest.Repeat(fdtest.File(t, "f"), tt.fds)...)
			}
			fdtest.SendRaw(t, a, []byte(tt.wire), control)
			require.NoError(t, a.Close())
			before := leak.Descriptors()
			require.ErrorIs(t, expect.Err2(m.Receive(fdtest.Soon(t))), tt.want)
			require.Empty(t, fdtest.LeftOver(before, leak.Descriptors()), "at once, not at Close")
			require.ErrorIs(t, expect.Err2(m.Receive(fdtest.Soon(t))), tt.want, "for good")
		})
	}
}

// Part of a message, followed by silence, is an error after the timeout, even for a caller that
// would wait for ever.
func TestFrameSilence(t *testing.T) {
	for _, wire := range []string{"\x80", "\x80\x00\x00", "\x80\x00\x00\x05", "\x80\x00\x00\x05data"} {
		fdtest.NoLeak(t)
		a, m := hostile(t, unix.SOCK_STREAM, &Options{Timeout: 10 * time.Millisecond})
		fdtest.SendRaw(t, a, []byte(wire), unix.UnixRights(fdtest.File(t, "f")))
		before := leak.Descriptors()
		_, _, err := m.Receive(context.Background())
		require.ErrorIs(t, err, handoff.ErrLate)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Empty(t, fdtest.LeftOver(before, leak.Descriptors()))

		a, m = hostile(t, unix.SOCK_STREAM, &Options{Timeout: 10 * time.Millisecond})
		fdtest.SendRaw(t, a, []byte(wire), unix.UnixRights(fdtest.File(t, "f")))
		before = leak.Descriptors()
		// the same for a caller that only polls
		for begun := time.Now(); m.broken == nil; time.Sleep(time.Millisecond) {
			require.Less(t, time.Since(begun), 20*time.Second)
			_, _, err = m.Receive(transport.NoWait())
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		}
		require.ErrorIs(t, err, handoff.ErrLate)
		require.Empty(t, fdtest.LeftOver(before, leak.Descriptors()))
	}
}

// unseen makes p look as if its limit had passed without any call.
func unseen(p *stream.Patience) { p.Began, p.Left = p.Began.Add(-p.Limit), p.Left.Add(-p.Limit) }

// Bytes that come when the time is over, although calls have received all the time, do not extend
// the time.
func TestTrickleGetsNoMoreTime(t *testing.T) {
	fdtest.NoLeak(t)
	a, m := hostile(t, unix.SOCK_STREAM, &Options{Timeout: time.Hour})
	fdtest.SendRaw(t, a, []byte("\x00\x00\x00\x09some"), nil)
	_, _, err := m.Receive(transport.NoWait())
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NotErrorIs(t, err, handoff.ErrLate)
	m.rest.Began = m.rest.Began.Add(-m.rest.Limit)
	fdtest.SendRaw(t, a, []byte("more"), nil)
	require.ErrorIs(t, expect.Err2(m.Receive(fdtest.Soon(t))), handoff.ErrLate)
}

// Bytes that have come while no call received are not late, however much later they are received.
func TestMessageNobodyLooks(t *testing.T) {
	long := strings.Repeat("x", 3*stream.FirstBuffer/2) // takes more than one read
	wire := binary.BigEndian.AppendUint32(nil, uint32(len(long))|frameAttached)
	wire = append(wire, long...)
	for _, n := range []int{1, 3, 4, 5, 100} {
		fdtest.NoLeak(t)
		a, m := hostile(t, unix.SOCK_STREAM, &Options{Timeout: time.Hour})
		fdtest.SendRaw(t, a, wire[:n], unix.UnixRights(fdtest.File(t, "f")))
		_, _, err := m.Receive(transport.NoWait())
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NotErrorIs(t, err, handoff.ErrLate)
		fdtest.SendRaw(t, a, wire[n:], nil)
		require.NotZero(t, m.rest.Began)
		unseen(&m.rest)
		data, f, err := m.Receive(fdtest.Soon(t))
		require.NoError(t, err)
		require.Equal(t, long, string(data))
		require.Equal(t, "f", text(t, f))
		require.NoError(t, f.Close())

		// and the next message has its full time
		fdtest.SendRaw(t, a, wire[:1], unix.UnixRights(fdtest.File(t, "f")))
		_, _, err = m.Receive(transport.NoWait())
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NotErrorIs(t, err, handoff.ErrLate)
	}
}

// Bytes for which the socket had no room while no call received come once a call receives, and have
// the full time from then on.
func TestLongMessageNobodyLooks(t *testing.T) {
	fdtest.NoLeak(t)
	const part = 3 * stream.FirstBuffer / 2
	a, m := hostile(t, unix.SOCK_STREAM, &Options{Timeout: time.Hour})
	later := func() error {
		_, _, err := m.Receive(transport.NoWait())
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		unseen(&m.rest)
		return err
	}
	head := binary.BigEndian.AppendUint32(nil, 3*part)
	for _, p := range [][]byte{head[:1], head[1:3], head[3:], make([]byte, part), make([]byte, part)} {
		fdtest.SendRaw(t, a, p, nil)
		require.NotErrorIs(t, later(), handoff.ErrLate)
	}
	fdtest.SendRaw(t, a, make([]byte, part), nil)
	data, _, err := m.Receive(fdtest.Soon(t))
	require.NoError(t, err)
	require.Len(t, data, 3*part)

	fdtest.SendRaw(t, a, []byte("\x00\x00\x00\x09some"), nil)
	require.NotErrorIs(t, later(), handoff.ErrLate)
	require.ErrorIs(t, later(), handoff.ErrLate, "it had its time")
}

// If a context ends within a message, nothing of the message is lost.
func TestMessageGoesOn(t *testing.T) {
	for name, patience := range fdtest.Impatient(t) {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			a, m := hostile(t, unix.SOCK_STREAM, nil)
			control := unix.UnixRights(fdtest.File(t, "f"))
			for _, b := range []byte("\x80\x00\x00\x04data") {
				ctx, want := patience()
				require.ErrorIs(t, expect.Err2(m.Receive(ctx)), want)
				fdtest.SendRaw(t, a, []byte{b}, control)
				control = nil
			}
			data, f, err := m.Receive(fdtest.Soon(t))
			require.NoError(t, err)
			require.Equal(t, "data", string(data))
			require.Equal(t, "f", text(t, f))
			require.NoError(t, f.Close())
			require.Zero(t, m.rest.Began, "the next message has its own time")
		})
	}
}

func TestPacketBeyondLimit(t *testing.T) {
	fdtest.NoLeak(t)
	a, m := hostile(t, unix.SOCK_SEQPACKET, &Options{MaxMessage: 16})
	fdtest.SendRaw(t, a, make([]byte, 17), unix.UnixRights(fdtest.File(t, "f")))
	fdtest.SendRaw(t, a, make([]byte, 16), nil)
	require.Error(t, expect.Err2(m.Receive(fdtest.Soon(t))))
	data, _, err := m.Receive(fdtest.Soon(t))
	require.NoError(t, err)
	require.Len(t, data, 16)
	require.ErrorIs(t, m.Send(fdtest.Soon(t), make([]byte, 64<<20), nil), syscall.EMSGSIZE)
	for _, c := range []Options{{MaxMessage: -1}, {Timeout: -1}} {
		require.ErrorIs(t, expect.Err(NewConn(a, &c)), syscall.EINVAL)
		require.ErrorIs(t, expect.Err2(Pair(&c)), syscall.EINVAL)
	}
}

func TestMessageClose(t *testing.T) {
	for name, kind := range messageKinds {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			a, m := hostile(t, kind, nil)
			if kind == unix.SOCK_STREAM {
				fdtest.SendRaw(t, a, []byte("\x80\x00\x00\x05da"), unix.UnixRights(fdtest.File(t, "f")))
			}
			done, ctx := make(chan error, 1), fdtest.NewWaited(fdtest.Soon(t))
			go func() { _, _, err := m.Receive(ctx); done <- err }()
			<-ctx.Begun()
			require.NoError(t, m.Close())
			require.ErrorIs(t, <-done, net.ErrClosed)
			require.ErrorIs(t, expect.Err2(m.Receive(context.Background())), net.ErrClosed)
			require.ErrorIs(t, m.Send(context.Background(), nil, nil), net.ErrClosed)
		})
	}
}

// Messages arrive whole, however the stream is cut.
func TestFramesInPieces(t *testing.T) {
	fdtest.NoLeak(t)
	f := fdtest.File(t, "f")
	rapid.Check(t, func(rt *rapid.T) {
		a, b := fdtest.Pair(t, unix.SOCK_STREAM)
		defer a.Close()
		m := expect.NoError(NewConn(b, nil)).In(t)
		defer m.Close()
		type message struct {
			data []byte
			file bool
		}
		var all []message
		for range rapid.IntRange(1, 6).Draw(rt, "messages") {
			s := message{make([]byte, rapid.SampledFrom([]int{0, 1, 3, 4, 5000}).Draw(rt, "size")), rapid.Bool().Draw(rt, "attached")}
			all = append(all, s)
			wire := append([]byte{0, 0, byte(len(s.data) >> 8), byte(len(s.data))}, s.data...)
			var control []byte
			if s.file {
				wire[0], control = 0x80, unix.UnixRights(f)
			}
			for len(wire) > 0 {
				n := min(rapid.SampledFrom([]int{1, 2, 4, 5, 1000, 1 << 20}).Draw(rt, "piece"), len(wire))
				fdtest.SendRaw(t, a, wire[:n], control)
				wire, control = wire[n:], nil
			}
		}
		for _, want := range all {
			data, fd, err := m.ReceiveFD(fdtest.Soon(t))
			require.NoError(t, err)
			require.True(t, bytes.Equal(want.data, data))
			require.Equal(t, want.file, fd >= 0)
			if fd >= 0 {
				require.NoError(t, unix.Close(fd))
			}
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x80\x00\x00\x04data\x00\x00\x00\x01x"), uint8(255), uint64(1))
	f.Add([]byte("\x80\x00\x00\x04data\x80\x00\x00\x01x"), uint8(7), uint64(3))
	f.Add([]byte("\xff\xff\xff\xff"), uint8(0), uint64(1))
	f.Fuzz(func(t *testing.T, wire []byte, piece uint8, with uint64) {
		fdtest.NoLeak(t)
		fd := fdtest.File(t, "f")
		a, m := hostile(t, unix.SOCK_STREAM, &Options{MaxMessage: 1 << 20})
		wire = wire[:min(len(wire), 10_000)]
		for k := uint(0); len(wire) > 0 && k < 200; k++ {
			n := min(int(piece)+1, len(wire))
			var control []byte
			if with>>(k%64)&1 == 1 {
				control = unix.UnixRights(fdtest.Repeat(fd, int(k%2)+1)...)
			}
			fdtest.SendRaw(t, a, wire[:n], control)
			wire = wire[n:]
		}
		require.NoError(t, a.Close())
		for {
			_, fd, err := m.ReceiveFD(fdtest.Soon(t))
			if err != nil {
				break
			}
			if fd >= 0 {
				require.NoError(t, unix.Close(fd))
			}
		}
	})
}
