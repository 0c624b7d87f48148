package cnodequic

import (
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/line"
)

// A packet for which there is no way is lost, and no error, which would end the connection.
func TestNoWay(t *testing.T) {
	l := line.New(t, line.Options{Rate: 100e6})
	var udp *net.UDPConn
	require.NoError(t, l.End(0).Do(func() (err error) {
		udp, err = net.ListenUDP("udp4", nil)
		return err
	}))
	defer udp.Close()
	nowhere := &net.UDPAddr{IP: net.IPv4(203, 0, 113, 1), Port: 9}
	_, _, err := udp.WriteMsgUDP([]byte("x"), nil, nowhere)
	require.ErrorIs(t, err, syscall.ENETUNREACH)
	n, _, err := lossy{udp}.WriteMsgUDP([]byte("x"), nil, nowhere)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// So is a packet that the system does not send for another reason which may pass. Other errors
// stay.
func TestLosses(t *testing.T) {
	for _, lost := range []syscall.Errno{
		syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN, syscall.EADDRNOTAVAIL,
		syscall.EPERM, syscall.EACCES, syscall.EINVAL, syscall.ENOBUFS, syscall.ENOMEM,
	} {
		require.True(t, isLost(&net.OpError{Op: "write", Net: "udp", Err: os.NewSyscallError("sendmsg", lost)}), lost)
	}
	for _, final := range []error{nil, syscall.EMSGSIZE, syscall.EIO, syscall.EBADF, net.ErrClosed} { // the first two are quic-go's to judge
		require.False(t, isLost(final), final)
	}
}
