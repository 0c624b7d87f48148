package tsocket

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// An abstract name is what the kernel says, byte by byte, up to the longest that it takes: names
// that differ by a NUL are different names.
func TestAbstractNames(t *testing.T) {
	unique := fmt.Sprintf("@tsocket-%d-%d", os.Getpid(), os.Getuid())
	for _, name := range []string{unique, unique + "\x00", unique + "\x00\x00", unique + "\x00behind",
		unique + strings.Repeat("n", sys.MaxUnixPath+1-len(unique))} {
		d := expect.Open(OpenUnixgram(transport.UnixAddr(name), nil)).In(t) // all of them at the same time
		require.Equal(t, transport.UnixAddr(name), d.LocalAddr())
		other := expect.Open(OpenUnixgram(transport.UnixAddr(""), transport.UnixAddr(name))).In(t)
		requireSends(t, other, "x", nil)
		requireReceives(t, d, "x", transport.UnixAddr(""))
	}
}
