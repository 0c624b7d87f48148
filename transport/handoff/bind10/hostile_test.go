//go:build unix

package bind10

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"os"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// A lie is a good session of 4 bytes of data with one change, which its name tells.
type lie struct {
	name   string
	change func(wire []byte) []byte
	want   error
}

func number(at int, n uint32) func([]byte) []byte {
	return func(b []byte) []byte { binary.BigEndian.PutUint32(b[at:], n); return b }
}

var lies = []lie{
	{"header of 0", func(b []byte) []byte { b[1], b[2] = 0, 0; return b }, handoff.ErrMalformed},
	{"header of 55", func(b []byte) []byte { b[2]--; return b }, handoff.ErrMalformed},
	{"header of 57", func(b []byte) []byte { b[2]++; return b }, handoff.ErrMalformed},
	{"header of 281", func(b []byte) []byte { b[1], b[2] = 1, 25; return append(b, make([]byte, 300)...) }, handoff.ErrMalformed},
	{"header of 65535", func(b []byte) []byte { b[1], b[2] = 255, 255; return b }, handoff.ErrMalformed},
	{"family of UNIX", number(3, unix.AF_UNIX), handoff.ErrMalformed},
	{"family of 2^32-1", number(3, 1<<32-1), handoff.ErrMalformed},
	{"another family", number(3, unix.AF_INET6), handoff.ErrMalformed},
	{"another type", number(7, unix.SOCK_STREAM), handoff.ErrMalformed},
	{"local of 15", number(15, 15), handoff.ErrMalformed},
	{"local of 0", number(15, 0), handoff.ErrMalformed},
	{"local of 129", number(15, 129), handoff.ErrMalformed},
	{"local of 2^31", number(15, 1<<31), handoff.ErrMalformed},
	{"local of another family", func(b []byte) []byte { b[19], b[20] = 7, 7; return b }, handoff.ErrMalformed},
	{"remote of 1", number(35, 1), handoff.ErrMalformed},
	{"remote of 2^32-1", number(35, 1<<32-1), handoff.ErrMalformed},
	{"remote of another family", func(b []byte) []byte { b[39], b[40] = 7, 7; return b }, handoff.ErrMalformed},
	{"data of 0", number(55, 0), handoff.ErrMalformed},
	{"data of 65536", number(55, 65536), handoff.ErrMalformed},
	{"data of 2^32-1", number(55, 1<<32-1), handoff.ErrMalformed},
	{"the byte alone", func(b []byte) []byte { return b[:1] }, io.ErrUnexpectedEOF},
	{"half of the length", func(b []byte) []byte { return b[:2] }, io.ErrUnexpectedEOF},
	{"half of the header", func(b []byte) []byte { return b[:30] }, io.ErrUnexpectedEOF},
	{"no data", func(b []byte) []byte { return b[:59] }, io.ErrUnexpectedEOF},
	{"half of the data", func(b []byte) []byte { return b[:61] }, io.ErrUnexpectedEOF},
}

func TestSessionLies(t *testing.T) {
	fd, h := v4(t)
	for _, l := range lies {
		for _, apart := range []bool{false, true} { // the first byte alone, as BIND 10 sends it
			t.Run(l.name, func(t *testing.T) {
				fdtest.NoLeak(t)
				a, r := receiver(t, nil)
				wire := expect.NoError(appendSession(nil, &h, 4)).In(t)
				wire = l.change(append(wire, "data"...))
				if apart {
					fdtest.SendRaw(t, a, wire[:1], unix.UnixRights(fd))
					if len(wire) > 1 {
						fdtest.SendRaw(t, a, wire[1:], nil)
					}
				} else {
					fdtest.SendRaw(t, a, wire, unix.UnixRights(fd))
				}
				require.NoError(t, a.Close())
				before := leak.Descriptors()
				var s Session
				require.ErrorIs(t, r.Receive(fdtest.Soon(t), &s), l.want)
				require.Empty(t, fdtest.LeftOver(before, leak.Descriptors()), "at once, not at Close")
				require.ErrorIs(t, r.Receive(fdtest.Soon(t), &s), l.want, "for good")
			})
		}
	}
}

func TestSessionDescriptors(t *testing.T) {
	fd, h := v4(t)
	good := expect.NoError(appendSession(nil, &h, 4)).In(t)
	good = append(good, "data"...)
	plain := fdtest.File(t, "f")
	local := expect.NoError(unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)).In(t)
	defer unix.Close(local)
	listener := expect.NoError(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)).In(t)
	defer unix.Close(listener)
	listening := expect.NoError(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)).In(t)
	defer unix.Close(listening)
	require.NoError(t, unix.Listen(listening, 1))
	h.Type = unix.SOCK_STREAM
	stream := expect.NoError(appendSession(nil, &h, 4)).In(t)
	stream = append(stream, "data"...)
	type part struct {
		p   []byte
		fds []int
	}
	for _, tt := range []struct {
		name  string
		parts []part
		want  error
	}{
		{"none", []part{{good, nil}}, handoff.ErrMalformed},
		{"two", []part{{good, []int{fd, fd}}}, handoff.ErrDescriptorsLost},
		{"many", []part{{good, fdtest.Repeat(fd, 200)}}, handoff.ErrDescriptorsLost},
		{"one more with the header", []part{{good[:1], []int{fd}}, {good[1:], []int{fd}}}, handoff.ErrMalformed},
		{"one more with the data", []part{{good[:1], []int{fd}}, {good[1:60], nil}, {good[60:], []int{fd}}}, handoff.ErrMalformed},
		{"one with each byte", []part{{good[:1], []int{fd}}, {good[1:2], []int{fd}}, {good[2:3], []int{fd}}}, handoff.ErrMalformed},
		{"no socket", []part{{good, []int{plain}}}, handoff.ErrMalformed},
		{"another type of socket", []part{{good, []int{listener}}}, handoff.ErrMalformed},
		{"another family of socket", []part{{good, []int{local}}}, handoff.ErrMalformed},
		{"a socket that listens", []part{{stream, []int{listening}}}, handoff.ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fdtest.NoLeak(t)
			a, r := receiver(t, nil)
			for _, p := range tt.parts {
				if p.fds == nil {
					fdtest.SendRaw(t, a, p.p, nil)
				} else {
					fdtest.SendRaw(t, a, p.p, unix.UnixRights(p.fds...))
				}
			}
			before := leak.Descriptors()
			var s Session
			require.ErrorIs(t, r.Receive(fdtest.Soon(t), &s), tt.want)
			require.Empty(t, fdtest.LeftOver(before, leak.Descriptors()))
		})
	}
}

// A session is of one of the known families, and so are its endpoints, which may be as long as a
// struct sockaddr_storage.
func TestSessionFamilies(t *testing.T) {
	header := func(family, own uint32, size int) []byte {
		b := binary.BigEndian.AppendUint32([]byte{0, 0, byte(fixedHeader + 2*size)}, family)
		b[1] = byte((fixedHeader + 2*size) >> 8)
		b = append(b, 0, 0, 0, unix.SOCK_STREAM, 0, 0, 0, 0)
		for range 2 {
			b = binary.BigEndian.AppendUint32(b, uint32(size))
			sa := make([]byte, size)
			if sys.SockaddrHasLen {
				sa[0], sa[1] = byte(size), byte(own)
			} else {
				binary.NativeEndian.PutUint16(sa, uint16(own))
			}
			sa[2] = '/'
			b = append(b, sa...)
		}
		return append(binary.BigEndian.AppendUint32(b, 1), 'x')
	}
	for _, tt := range []struct {
		family, own uint32
		size        int
		is          error
	}{
		{unix.AF_INET, unix.AF_INET, 16, nil},
		{unix.AF_INET6, unix.AF_INET6, 28, nil},
		{unix.AF_INET, unix.AF_INET, maxSockaddr, nil},
		{unix.AF_INET6, unix.AF_INET6, maxSockaddr, nil},
		{unix.AF_INET, unix.AF_INET6, 28, handoff.ErrMalformed},
		{unix.AF_INET6, unix.AF_INET, 28, handoff.ErrMalformed},
		{unix.AF_UNIX, unix.AF_UNIX, 16, nil},
		{unix.AF_UNIX, unix.AF_INET6, 28, nil},
		{99, 99, 16, handoff.ErrMalformed},
		{unix.AF_INET, unix.AF_INET, maxSockaddr + 1, handoff.ErrMalformed},
	} {
		a, r := receiver(t, nil)
		socket := expect.NoError(unix.Socket(int(min(tt.family, unix.AF_INET6)), unix.SOCK_STREAM, 0)).In(t)
		fdtest.SendRaw(t, a, header(tt.family, tt.own, tt.size), unix.UnixRights(socket))
		require.NoError(t, unix.Close(socket))
		var s Session
		require.ErrorIs(t, r.Receive(fdtest.Soon(t), &s), tt.is, tt)
		require.NoError(t, s.Close())
	}
}

// Part of a session, followed by silence, is an error after the timeout, even for a caller that
// would wait for ever.
func TestSessionSilence(t *testing.T) {
	fd, h := v4(t)
	for _, n := range []int{1, 2, 20, 59, 62} {
		fdtest.NoLeak(t)
		a, r := receiver(t, &ReceiverOptions{Timeout: 20 * time.Millisecond})
		wire := expect.NoError(appendSession(nil, &h, 4)).In(t)
		wire = append(wire, "data"...)
		fdtest.SendRaw(t, a, wire[:n], unix.UnixRights(fd))
		before := leak.Descriptors()
		var s Session
		err := r.Receive(context.Background(), &s)
		require.ErrorIs(t, err, handoff.ErrLate)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Empty(t, fdtest.LeftOver(before, leak.Descriptors()))

		a, r = receiver(t, &ReceiverOptions{Timeout: 20 * time.Millisecond})
		fdtest.SendRaw(t, a, wire[:n], unix.UnixRights(fd))
		before = leak.Descriptors()
		// the same for a caller that only polls
		for begun := time.Now(); r.broken == nil; time.Sleep(time.Millisecond) {
			require.Less(t, time.Since(begun), 20*time.Second)
			err = r.Receive(transport.NoWait(), &s)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		}
		require.ErrorIs(t, err, handoff.ErrLate)
		require.Empty(t, fdtest.LeftOver(before, leak.Descriptors()))
	}
}

func FuzzParseHeader(f *testing.F) {
	for _, h := range []Header{
		{unix.AF_INET, unix.SOCK_DGRAM, 17, addr("10.1.2.3:53"), addr("192.0.2.1:4369")},
		{unix.AF_INET6, unix.SOCK_STREAM, 6, addr("[2001:db8::1]:53"), addr("[fe80::1%7]:4369")},
		{unix.AF_INET6, unix.SOCK_STREAM, 6, addr("[::]:53"), addr("10.1.2.3:53")},
	} {
		b := expect.NoError(appendSession(nil, &h, 1)).In(f)
		f.Add(b[sessionLead:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, size, err := parseHeader(b)
		if err != nil {
			require.ErrorIs(t, err, handoff.ErrMalformed)
			require.Equal(t, Header{}, h)
			return
		}
		again := expect.NoError(appendSession(nil, &h, size)).In(t)
		h2, size2, err := parseHeader(again[sessionLead:])
		require.NoError(t, err)
		require.Equal(t, h, h2)
		require.Equal(t, size, size2)
	})
}

// Any bytes, with descriptors anywhere, give sessions or an error, and leave nothing behind.
func FuzzReceiver(f *testing.F) {
	h := Header{unix.AF_INET, unix.SOCK_DGRAM, 17, addr("10.1.2.3:53"), addr("192.0.2.1:4369")}
	good := expect.NoError(appendSession(nil, &h, 4)).In(f)
	good = append(good, "data"...)
	f.Add(good, uint8(1), uint64(1))
	f.Add(append(good, good...), uint8(63), uint64(3))
	for i, l := range lies {
		f.Add(l.change(bytes.Clone(good)), uint8(i), uint64(i))
	}
	f.Fuzz(func(t *testing.T, wire []byte, piece uint8, with uint64) {
		fdtest.NoLeak(t)
		fd, _ := v4(t)
		a, r := receiver(t, nil)
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
		var s Session
		for {
			if err := r.Receive(fdtest.Soon(t), &s); err != nil {
				require.Zero(t, s.Socket.Len())
				break
			}
			require.Equal(t, 1, s.Socket.Len())
		}
	})
}
