//go:build unix

package tsockettest

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/tsocket"
)

func TestGoodUnixgramsPass(t *testing.T) {
	dir := sockdir.New(t)
	n := 0
	Run(t, func() (one, other tsocket.Socket, err error) {
		var ds [2]*tsocket.Datagram
		for i := range ds {
			n++
			if ds[i], err = tsocket.OpenUnixgram(transport.UnixAddr(filepath.Join(dir, fmt.Sprint(n))), nil); err != nil {
				return nil, nil, err
			}
		}
		return ds[0], ds[1], nil
	})
}
