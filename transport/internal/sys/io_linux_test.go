package sys

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
)

func TestBytesOfOneSystemCall(t *testing.T) {
	for n, want := range map[int64]int{
		0: 0, 1: 1, rawMax: rawMax,
		rawMax + 54:          rawMax + 54, // a message of 1 MB with its head
		rawMax + rawRest:     rawMax + rawRest,
		rawMax + rawRest + 1: rawMax,
		64 * rawMax:          rawMax,
		// more than an int of 32 bits holds: a vector may name one buffer many times
		3 << 30: rawMax,
	} {
		require.Equal(t, want, oneCall(n), "%d bytes", n)
	}
}

// Where the system does not count what can be read, it is told apart from nothing.
func TestReadableWithoutCount(t *testing.T) {
	fd := expect.NoError(unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)).In(t)
	defer unix.Close(fd)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	require.Error(t, expect.Err(unix.IoctlGetUint32(fd, unix.TIOCINQ)))
	n := expect.NoError(Readable(fd)).In(t)
	require.Zero(t, n)
	ask := make([]byte, unix.NLMSG_HDRLEN) // for nothing, to be acknowledged
	binary.NativeEndian.PutUint32(ask, uint32(len(ask)))
	binary.NativeEndian.PutUint16(ask[4:], unix.NLMSG_NOOP)
	binary.NativeEndian.PutUint16(ask[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	require.NoError(t, unix.Sendto(fd, ask, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	n = expect.NoError(Readable(fd)).In(t)
	require.Equal(t, 1, n)
}
