package cnodequic

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/test/line"
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
	n, _, err := roaming{udp}.WriteMsgUDP([]byte("x"), nil, nowhere)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}
