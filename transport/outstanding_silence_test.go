package transport

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A peer whose program reads nothing owes nothing: its system answers. (That of one that has gone
// is tested in package nodes.)
func TestUnacknowledged(t *testing.T) {
	streamPairs(t, func(t *testing.T, c, s *Stream) {
		require.NoError(t, expect.Err(c.Writev(t.Context(), []byte("unread"))))
		if _, no := c.SyscallConn(); no != nil || c.RemoteAddr().Network() != "tcp" || runtime.GOOS != "linux" {
			require.ErrorIs(t, expect.Err(c.Unacknowledged()), errors.ErrUnsupported)
			return
		}
		require.Eventually(t, func() bool {
			d, err := c.Unacknowledged()
			return err == nil && d == 0
		}, tooLong, time.Millisecond)
		require.NoError(t, c.Close())
		_, err := c.Unacknowledged()
		require.Error(t, err)
		require.NotErrorIs(t, err, errors.ErrUnsupported)
	})
}
