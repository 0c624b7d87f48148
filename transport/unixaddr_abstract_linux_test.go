package transport

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// An abstract name is what the kernel says, byte by byte, up to the longest that it takes: names
// that differ by a NUL are different names.
func TestAbstractNames(t *testing.T) {
	unique := fmt.Sprintf("@transport-%d-%d", os.Getpid(), os.Getuid())
	for _, name := range []string{unique, unique + "\x00", unique + "\x00\x00", unique + "\x00behind",
		unique + strings.Repeat("n", sys.MaxUnixPath+1-len(unique))} {
		at := expect.NoError(FromUnixPath(name)).In(t)
		l := expect.Open(Unix().Listen(at, 0)).In(t) // all of them at the same time
		require.Equal(t, at, l.Addr())
		from := UnixAddr(strings.Replace(name, "transport", "from-here", 1))
		c, s := acceptOne(t, l, func() (*Stream, error) { return ConnectUnix(soon(t), from, l.Addr()) })
		require.Equal(t, from, s.RemoteAddr())
		requireSpeak(t, c, s)
	}
}
