//go:build unix

package config

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cnode-go/cnode/transport/virtual"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func newPipe(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, unix.Mkfifo(path, 0o600))
	return path
}

// If nothing reads the pipe, the program says so and waits for a reader; a signal ends the wait,
// too.
func TestRecordingWaitsForReader(t *testing.T) {
	path := newPipe(t)
	ctx, cancel := context.WithCancel(t.Context())
	var said onSay = func(line string) {
		require.Contains(t, line, "waiting until somebody reads the pipe "+path)
		cancel()
	}
	_, err := openRecording(ctx, path, said)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "--trace: nobody reads the pipe "+path)

	head := make(chan []byte, 1)
	said = func(string) {
		go func() {
			b, _ := os.ReadFile(path)
			head <- b
		}()
	}
	r, err := openRecording(t.Context(), path, said)
	require.NoError(t, err)
	require.NoError(t, r.Begin())
	require.NoError(t, r.Finish())
	require.Equal(t, 24, len(<-head), "the head of a pcap file")
}

// A reader that has stopped does not keep the program from ending.
func TestRecordingEndsWithoutReader(t *testing.T) {
	path := newPipe(t)
	reader, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	defer reader.Close()
	r, err := openRecording(t.Context(), path, io.Discard)
	require.NoError(t, err)
	require.NoError(t, r.Begin())
	require.NoError(t, r.capture.Flush())
	raw, err := r.file.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		for err == nil {
			_, err = unix.Write(int(fd), make([]byte, 4096))
		}
	}))
	require.ErrorIs(t, err, unix.EAGAIN, "the pipe is full")
	r.capture = virtual.NewCapture(r) // the file's header is to be written
	require.ErrorIs(t, r.Finish(), os.ErrDeadlineExceeded)
}

// An onSay is a writer that is called with what is written.
type onSay func(string)

func (f onSay) Write(p []byte) (int, error) {
	f(string(p))
	return len(p), nil
}
