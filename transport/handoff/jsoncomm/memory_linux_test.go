package jsoncomm

import (
	"fmt"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/transport/handoff"
)

// Descriptors that are no memory files, empty memory files, and memory files that keep changing
// their size are errors of their own documents only; the next document is received.
func TestHostileMemoryFiles(t *testing.T) {
	fdtest.NoLeak(t)
	client, server := connPair(t)
	open := func(path string, flags int) int {
		return expect.NoError(unix.Open(path, flags|unix.O_CLOEXEC, 0o600)).In(t)
	}
	sized := func(size int64) int {
		fd := expect.NoError(unix.MemfdCreate("hostile", unix.MFD_CLOEXEC)).In(t)
		require.NoError(t, unix.Ftruncate(fd, size))
		return fd
	}
	epoll := expect.NoError(unix.EpollCreate1(unix.EPOLL_CLOEXEC)).In(t)
	readable := sized(1)
	writable := open(fmt.Sprintf("/proc/self/fd/%d", readable), unix.O_WRONLY)
	require.NoError(t, unix.Close(readable))
	for _, tt := range []struct {
		name string
		fd   int
		want error
	}{
		{"zeros without an end", open("/dev/zero", unix.O_RDWR), handoff.ErrMalformed},
		{"a directory", open("/", unix.O_RDONLY), handoff.ErrMalformed},
		{"an epoll", epoll, handoff.ErrMalformed},
		{"not to be read", writable, handoff.ErrMalformed},
		{"nothing but a hole", sized(1 << 20), ErrDocument},
		{"one byte too long", sized(defaultMaxPayload + 1), syscall.EMSGSIZE},
		{"as long as files go", sized(1<<63 - 4096), syscall.EMSGSIZE},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.NoError(t, client.conn.Send(fdtest.Soon(t), []byte(argsViaFD), tt.fd, tt.fd))
			require.NoError(t, unix.Close(tt.fd))
			before := leak.Descriptors()
			require.ErrorIs(t, expect.Err(server.Receive(fdtest.Soon(t), nil)), tt.want)
			require.Empty(t, fdtest.LeftOver(before, leak.Descriptors()))
		})
	}

	breathing := sized(0)
	defer unix.Close(breathing)
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = unix.Ftruncate(breathing, 4<<20)
			_ = unix.Ftruncate(breathing, 0)
			_, _ = unix.Pwrite(breathing, []byte("[7]"), 0)
		}
	})
	for range 100 {
		require.NoError(t, client.conn.Send(fdtest.Soon(t), []byte(argsViaFD), breathing))
		if set, err := server.Receive(fdtest.Soon(t), nil); err != nil {
			require.ErrorIs(t, err, ErrDocument)
		} else {
			require.NoError(t, set.Close())
		}
	}
	close(stop)
	all.Wait()
	require.NoError(t, client.Send(fdtest.Soon(t), 7))
	set := expect.NoError(server.Receive(fdtest.Soon(t), nil)).In(t)
	require.NoError(t, set.Close())
}
