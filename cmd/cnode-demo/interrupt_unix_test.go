//go:build unix

package main

import (
	"bytes"
	"context"
	"net"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// A command that is interrupted says so, and dies of the signal, so that a shell's loop ends, too.
func TestCommandDiesOfSignal(t *testing.T) {
	w := newHome(t, 0)
	begun := make(chan bool, 1)
	w.node("x").Expose("m", "waits", func(ctx context.Context, _ []ei.Term) (any, error) {
		begun <- true
		<-ctx.Done()
		return nil, ctx.Err()
	})
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer mute.Close()
	go func() {
		for {
			c, err := mute.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			begun <- true
		}
	}()
	for _, tt := range []struct {
		args   string
		signal syscall.Signal
	}{
		{"call x@127.0.0.1 m waits", syscall.SIGINT},
		{"call x@127.0.0.1 m waits", syscall.SIGTERM},
		{"call x@127.0.0.1 m waits", syscall.SIGHUP},
		{"call x@127.0.0.1 m waits --epmd " + mute.Addr().String(), syscall.SIGINT},
		{"ping x@127.0.0.1 --timeout 1h --epmd " + mute.Addr().String(), syscall.SIGINT},
		{"names --timeout 1h --epmd " + mute.Addr().String(), syscall.SIGINT},
		{"serve --name y@127.0.0.1 --epmd " + mute.Addr().String(), syscall.SIGINT},
	} {
		cmd := exec.Command(program, words(tt.args)...)
		cmd.Env = append([]string{noPause}, w.env...)
		var said bytes.Buffer
		cmd.Stderr = &said
		require.NoError(t, cmd.Start())
		<-begun
		require.NoError(t, cmd.Process.Signal(tt.signal))
		require.Error(t, cmd.Wait())
		ended, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
		require.True(t, ok)
		require.True(t, ended.Signaled(), "%s: %v\n%s", tt.args, cmd.ProcessState, said.String())
		require.Equal(t, tt.signal, ended.Signal())
		require.Contains(t, said.String(), "Interrupted.", tt.args)
	}
	r := execute(t, w.env, "call", "x@127.0.0.1", "cnode", "none")
	require.Equal(t, exitFailed, r.code, "no signal has come")
}
