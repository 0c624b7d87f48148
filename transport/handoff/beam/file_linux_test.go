package beam

import (
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
)

// An attachment is a file that works, in whatever mode its sender has left it. Go's poller is not
// told of files that are neither sockets nor pipes, even non-blocking ones: it could be made to
// wait for the sender.
func TestOddAttachments(t *testing.T) {
	fdtest.NoLeak(t)
	one, other := messages(t, unix.SOCK_SEQPACKET, nil)
	for _, tt := range []struct {
		name  string
		polls bool
		open  func() (r, w int, err error)
	}{
		{"pipe", true, func() (int, int, error) {
			var p [2]int
			err := unix.Pipe2(p[:], unix.O_CLOEXEC)
			return p[0], p[1], err
		}},
		{"socket", true, func() (int, int, error) {
			p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			return p[0], p[1], err
		}},
		{"event counter", false, func() (int, int, error) {
			fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
			if err != nil {
				return -1, -1, err
			}
			w, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
			return fd, w, err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, nonblock := range []bool{false, true} {
				fd, w, err := tt.open()
				require.NoError(t, err)
				require.NoError(t, unix.SetNonblock(fd, nonblock))
				require.NoError(t, one.SendFD(fdtest.Soon(t), []byte("x"), fd))
				require.NoError(t, unix.Close(fd))
				_, f, err := other.Receive(fdtest.Soon(t))
				require.NoError(t, err)
				if tt.polls && nonblock {
					require.NoError(t, f.SetReadDeadline(time.Now().Add(time.Minute)))
				} else {
					require.ErrorIs(t, f.SetReadDeadline(time.Time{}), os.ErrNoDeadline)
				}
				text := "\x07\x00\x00\x00\x00\x00\x00\x01"
				require.NoError(t, expect.Err(unix.Write(w, []byte(text))))
				got := make([]byte, len(text))
				require.NoError(t, expect.Err(io.ReadFull(f, got)))
				require.Equal(t, text, string(got))
				require.NoError(t, unix.Close(w))
				raw := expect.NoError(f.SyscallConn()).In(t)
				require.NoError(t, raw.Control(func(fd uintptr) {
					require.Greater(t, fd, uintptr(2))
					require.Equal(t, unix.FD_CLOEXEC, expect.NoError(unix.FcntlInt(fd, unix.F_GETFD, 0)).In(t))
				}))
				require.NoError(t, f.Close())
			}
		})
	}
}
