//go:build unix

package main

import (
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/cnode-go/cnode/cmd/internal/config"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	vacant "github.com/cnode-go/cnode/internal/test/port"
)

// A program whose standard output and error nobody reads serves on.
func TestServeWithoutReader(t *testing.T) {
	for _, args := range [][]string{{"serve"}, {"serve", "--workers", "1"},
		{"epmd", "--listen", "127.0.0.1:" + strconv.Itoa(vacant.Free(t))}} {
		w := newHome(t, 0)
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
		there := func() bool { return w.run("ping", config.DefaultName).code == exitOK }
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
