//go:build unix

package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	vacant "github.com/cnode-go/cnode/test/port"
	"github.com/cnode-go/cnode/transport/virtual"
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
	require.NoError(t, r.begin())
	require.NoError(t, r.finish())
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
	require.NoError(t, r.begin())
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
	require.ErrorIs(t, r.finish(), os.ErrDeadlineExceeded)
}

// A program whose standard output and error nobody reads serves on.
func TestServeWithoutReader(t *testing.T) {
	for _, args := range [][]string{{"serve"}, {"serve", "--workers", "1"},
		{"epmd", "--listen", "127.0.0.1:" + strconv.Itoa(vacant.Free(t))}} {
		w := newWorld(t, 0)
		read, write, err := os.Pipe()
		require.NoError(t, err)
		require.NoError(t, read.Close())
		cmd := exec.Command(program, append(args, "--log-level", "debug")...)
		cmd.Env, cmd.Stdout, cmd.Stderr = append([]string{noPause}, w.env...), write, write
		require.NoError(t, cmd.Start())
		require.NoError(t, write.Close())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = cmd.Wait() // ProcessState has it
		}()
		t.Cleanup(func() {
			_ = cmd.Process.Kill() // it may have ended
			<-ended
		})
		there := func() bool { return w.run("ping", defaultName).code == exitOK }
		code := exitOK
		if args[0] == "epmd" {
			there = func() bool { return w.run("names", "--epmd", args[2]).code == exitOK }
			code = exitFailed // it could not say that it is ready
		}
		for range 2 { // which is logged
			require.Eventually(t, there, waitLimit, waitLimit/1000)
		}
		require.NoError(t, cmd.Process.Signal(unix.SIGTERM))
		<-ended
		require.Equal(t, code, cmd.ProcessState.ExitCode(), "%v: %v", args, cmd.ProcessState)
	}
}

// An onSay is a writer that is called with what is written.
type onSay func(string)

func (f onSay) Write(p []byte) (int, error) {
	f(string(p))
	return len(p), nil
}
