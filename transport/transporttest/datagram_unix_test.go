//go:build unix

package transporttest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

func TestGoodUnixgramsPass(t *testing.T) {
	dir, err := os.MkdirTemp("", "tt") // t.TempDir's paths are too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	n := 0
	RunDatagram(t, func() (one, other transport.DatagramSocket, err error) {
		var ds [2]*transport.Datagram
		for i := range ds {
			n++
			if ds[i], err = transport.OpenUnixgram(transport.UnixAddr(filepath.Join(dir, fmt.Sprint(n))), nil); err != nil {
				return nil, nil, err
			}
		}
		return ds[0], ds[1], nil
	})
}
