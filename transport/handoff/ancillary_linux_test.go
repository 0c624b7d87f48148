package handoff

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

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
	two := binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, 5), 6)
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
