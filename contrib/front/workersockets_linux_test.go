package front

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
)

// The files of the workers' sockets are made anew when somebody has removed them, but not while
// they may go to another process.
func TestRemovedSockets(t *testing.T) {
	k, err := New(nil)
	require.NoError(t, err)
	defer k.Close()
	k.lookAgain = time.Millisecond
	path := filepath.Join(sockdir.New(t), "workers")
	require.NoError(t, k.Workers(t.Context(), path))
	isThere := func() bool { _, err := os.Lstat(path); return err == nil }
	for range 2 {
		for _, file := range []string{path, path + controlSuffix} {
			was, err := os.Lstat(file)
			require.NoError(t, err)
			require.NoError(t, os.Remove(file))
			require.Eventually(t, func() bool {
				now, err := os.Lstat(file)
				return err == nil && now.Mode() == was.Mode()
			}, patience, time.Millisecond)
		}
	}
	startWorker(t, path, "peek", "")
	require.Eventually(t, func() bool { return len(k.Stats().Workers) == 1 }, patience, time.Millisecond)
	thaw, err := k.stand(t.Context()) // as for a hand-off
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	require.Never(t, isThere, 20*time.Millisecond, time.Millisecond)
	thaw()
	require.Eventually(t, isThere, patience, time.Millisecond)
	require.NoError(t, k.Close())
	require.NoFileExists(t, path)
	require.NoFileExists(t, path+controlSuffix)
}

// A socket is made anew while a hand-off waits for that to be over.
func TestRenewBesideHandOff(t *testing.T) {
	k, err := New(nil)
	require.NoError(t, err)
	path := filepath.Join(sockdir.New(t), "workers")
	d, err := k.listenWorkers(words{"unix", path}, k.plainWorker)
	require.NoError(t, err)
	require.True(t, k.open(d))
	require.NoError(t, os.Remove(path))
	renewed, stood := make(chan *door, 1), make(chan bool, 1)
	k.mu.Lock()
	go func() { renewed <- k.renew(d) }()
	expect.WaitsIn(t, "sync.Mutex.Lock", "front.(*Keeper).renew")
	go func() { // as stand does
		k.gate.Lock()
		defer k.gate.Unlock()
		stood <- true
	}()
	expect.WaitsIn(t, "sync.RWMutex.Lock", "front.TestRenewBesideHandOff")
	k.mu.Unlock()
	require.NotNil(t, expect.Returns(t, renewed))
	expect.Returns(t, stood)
	require.NoError(t, k.Close())
}

// What is at a socket's path and is none is named.
func TestNoSocket(t *testing.T) {
	k, err := New(nil)
	require.NoError(t, err)
	defer k.Close()
	dir := sockdir.New(t)
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("mine"), 0o600))
	for path, what := range map[string]string{dir: "is a folder, no socket", file: "is a file, no socket"} {
		for _, at := range []string{"", controlSuffix} {
			err := k.Workers(t.Context(), path+at)
			if at == "" {
				require.ErrorIs(t, err, syscall.EADDRINUSE)
				require.ErrorContains(t, err, what)
			}
		}
		_, err = k.Listen(t.Context(), "unix", path)
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		require.ErrorContains(t, err, what)
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "mine", string(text))
}
