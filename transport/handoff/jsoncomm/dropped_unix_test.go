//go:build unix

package jsoncomm

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
)

// What is dropped without Close removes its file, once the garbage collector has run, even if its
// directory has been moved meanwhile.
func TestDroppedRemovesItsFile(t *testing.T) {
	for name, listen := range map[string]func(path string) error{
		"server":   func(path string) error { _, err := NewServer(path, nil); return err },
		"listener": func(path string) error { _, err := Listen(path, nil); return err },
	} {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			dir := sockdir.New(t)
			old, moved := filepath.Join(dir, "old"), filepath.Join(dir, "moved")
			require.NoError(t, os.Mkdir(old, 0o700))
			err := listen(filepath.Join(old, "s"))
			if name == "listener" && runtime.GOOS == "darwin" {
				t.Skip("no sequenced packets")
			}
			require.NoError(t, err)
			require.NoError(t, os.Rename(old, moved))
			gone(t, filepath.Join(moved, "s"))
		})
	}
}

// A server is not dropped as long as a call waits.
func TestWaitingIsNotDropped(t *testing.T) {
	fdtest.NoLeak(t)
	path := filepath.Join(sockdir.New(t), "s")
	server := expect.NoError(NewServer(path, nil)).In(t)
	ctx := fdtest.NewWaited(fdtest.Soon(t))
	received := make(chan error, 1)
	go func(s *Socket) { _, _, err := s.Receive(ctx, nil); received <- err }(server)
	server = nil
	<-ctx.Begun()
	for range 5 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	require.FileExists(t, path)
	client := expect.NoError(NewClient(transport.UnixAddr(path))).In(t)
	require.NoError(t, client.Send(fdtest.Soon(t), 1))
	require.NoError(t, client.Close())
	require.NoError(t, expect.Returns(t, received))
	gone(t, path)
}

// gone waits until garbage has been collected and there is no file at a path any more.
func gone(t *testing.T, path string) {
	t.Helper()
	require.Eventually(t, func() bool {
		runtime.GC()
		_, err := os.Lstat(path)
		return os.IsNotExist(err)
	}, expect.Limit, 10*time.Millisecond)
}
