package handoff

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var self = Cred{os.Getpid(), os.Geteuid(), os.Getegid()}

func TestPeerCred(t *testing.T) {
	noLeak(t)
	a, _ := pair(t, unix.SOCK_STREAM)
	cred, err := PeerCred(a)
	require.NoError(t, err)
	require.Equal(t, self, cred)
	cred, err = PeerCred(conn(t, a))
	require.NoError(t, err)
	require.Equal(t, self, cred)

	bound, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unixgram"})
	require.NoError(t, err)
	_, err = PeerCred(bound)
	require.ErrorIs(t, err, syscall.ENOTCONN)
	require.NoError(t, bound.Close())
	_, err = PeerCred(bound)
	require.Error(t, err)
}

func TestSameUser(t *testing.T) {
	require.NoError(t, SameUser(self))
	require.NoError(t, SameUser(Cred{1, 0, 0}))
	for _, c := range []Cred{noCred, {1, os.Geteuid() + 1, 0}} {
		require.ErrorIs(t, SameUser(c), ErrForbidden)
	}
}

// With credentials an empty packet and the end are two things, and each packet says who sent it.
func TestReceiveCredentials(t *testing.T) {
	noLeak(t)
	a, b := connPair(t, unix.SOCK_SEQPACKET)
	ctx := soon(t)
	require.NoError(t, a.Send(ctx, nil), "sent before")
	require.NoError(t, b.ReceiveCredentials(true))
	require.NoError(t, a.Send(ctx, []byte("x"), file(t, "f")))
	require.NoError(t, a.Send(ctx, nil))
	require.NoError(t, a.Close())
	var set FDSet
	defer set.Close()
	p, _, _, err := b.ReceivePacket(ctx, nil, 10, &set, 1)
	require.NoError(t, err)
	require.Empty(t, p)
	p, _, cred, err := b.ReceivePacket(ctx, nil, 10, &set, 1)
	require.NoError(t, err)
	require.Equal(t, "x", string(p))
	require.Equal(t, self, cred)
	require.Equal(t, 1, set.Len())
	p, _, cred, err = b.ReceivePacket(ctx, nil, 10, &set, 1)
	require.NoError(t, err)
	require.Empty(t, p)
	require.Equal(t, self, cred)
	_, _, _, err = b.ReceivePacket(ctx, nil, 10, &set, 1)
	require.Equal(t, io.EOF, err)

	s, _ := connPair(t, unix.SOCK_STREAM)
	require.ErrorIs(t, s.ReceiveCredentials(true), syscall.EINVAL)
}

// Ancillary data that nobody asked for is refused, with all that came beside it.
func TestForeignAncillary(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			u, v := pair(t, kind)
			raw, err := v.SyscallConn()
			require.NoError(t, err)
			require.NoError(t, raw.Control(func(fd uintptr) { err = passCredentials(int(fd), true) }))
			require.NoError(t, err)
			b := conn(t, v)
			for _, room := range []int{8, 20} {
				f := file(t, "f")
				sendRaw(t, u, []byte("x"), unix.UnixRights(f, f))
				var set FDSet
				_, err = b.Receive(soon(t), make([]byte, 10), &set, room)
				if room == 8 { // credentials come first, and leave no room
					require.Error(t, err)
				} else {
					require.ErrorIs(t, err, ErrAncillary)
				}
				require.Zero(t, set.Len())
			}
			sendRaw(t, u, []byte("x"), nil)
			_, err = b.Receive(soon(t), make([]byte, 10), nil, 0)
			require.Error(t, err)
		})
	}
}

// Two control messages with descriptors are as good as one.
func TestTwoControlMessages(t *testing.T) {
	noLeak(t)
	u, v := pair(t, unix.SOCK_STREAM)
	one, two := file(t, "one"), file(t, "two")
	sendRaw(t, u, []byte("x"), append(unix.UnixRights(one), unix.UnixRights(two)...))
	var set FDSet
	_, err := conn(t, v).Receive(soon(t), make([]byte, 10), &set, 2)
	require.NoError(t, err)
	require.Equal(t, 2, set.Len())
	require.NoError(t, set.Close())
}

func header(length uint64, level, kind int32, data ...byte) []byte {
	b := binary.NativeEndian.AppendUint64(nil, length)
	b = binary.NativeEndian.AppendUint32(b, uint32(level))
	b = binary.NativeEndian.AppendUint32(b, uint32(kind))
	return append(b, data...)
}

func TestParseAncillary(t *testing.T) {
	if unix.SizeofCmsghdr != 16 {
		t.Skip("written for 64 bits")
	}
	two := []byte{5, 0, 0, 0, 6, 0, 0, 0}
	for _, tt := range []struct {
		name    string
		control []byte
		fds     []int
		foreign bool
	}{
		{"none", nil, nil, false},
		{"one", unix.UnixRights(7), []int{7}, false},
		{"two", unix.UnixRights(7, 8), []int{7, 8}, false},
		{"two messages", append(unix.UnixRights(7), unix.UnixRights(8, 9, 10)...), []int{7, 8, 9, 10}, false},
		{"length beyond the data", header(1<<40, unix.SOL_SOCKET, unix.SCM_RIGHTS, two...), []int{5, 6}, false},
		{"largest length", header(1<<64-1, unix.SOL_SOCKET, unix.SCM_RIGHTS, two...), []int{5, 6}, false},
		{"length 0", header(0, unix.SOL_SOCKET, unix.SCM_RIGHTS, two...), nil, true},
		{"length within the header", header(15, unix.SOL_SOCKET, unix.SCM_RIGHTS, two...), nil, true},
		{"part of a number", header(22, unix.SOL_SOCKET, unix.SCM_RIGHTS, two...), []int{5}, false},
		{"cut header", make([]byte, 15), nil, true},
		{"another level", header(24, unix.IPPROTO_IP, unix.SCM_RIGHTS, two...), nil, true},
		{"another type, then descriptors", append(header(24, unix.SOL_SOCKET, 0x77, two...), unix.UnixRights(7)...), []int{7}, true},
		{"trailing bytes", append(unix.UnixRights(7), 1, 2, 3), []int{7}, true},
	} {
		fds, p := parseAncillary(nil, tt.control)
		require.Equal(t, tt.fds, fds, tt.name)
		require.Equal(t, tt.foreign, p.foreign, tt.name)
	}
	fds, p := parseAncillary([]int{1}, append(unix.UnixCredentials(&unix.Ucred{Pid: 3, Uid: 4, Gid: 1<<32 - 1}), unix.UnixRights(7)...))
	require.Equal(t, []int{1, 7}, fds)
	require.Equal(t, parsed{cred: Cred{3, 4, -1}, hasCred: true}, p)
}

func FuzzParseAncillary(f *testing.F) {
	f.Add(unix.UnixRights(3, 4, 5))
	f.Add(append(unix.UnixRights(3), unix.UnixCredentials(&unix.Ucred{Pid: 1})...))
	f.Add(header(1<<63, unix.SOL_SOCKET, unix.SCM_RIGHTS, 1, 2, 3, 4))
	f.Fuzz(func(t *testing.T, control []byte) {
		fds, _ := parseAncillary(nil, control)
		require.LessOrEqual(t, 4*len(fds), len(control))
	})
}

// What put makes is what parseAncillary reads.
func FuzzAncillary(f *testing.F) {
	f.Add(uint8(0), 3)
	f.Add(uint8(253), 1000)
	f.Fuzz(func(t *testing.T, n uint8, first int) {
		n = min(n, MaxDescriptors)
		fds := []int{}
		for i := range int(n) {
			fds = append(fds, (first+i)&0x7fffffff)
		}
		var a ancillary
		a.put(fds)
		got, p := parseAncillary([]int{}, a.control())
		require.Equal(t, fds, got)
		require.Equal(t, parsed{cred: noCred}, p)
	})
}
