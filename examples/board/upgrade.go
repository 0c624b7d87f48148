package main

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport/handoff"
)

// successor is the environment variable that tells a process to take over from the one that has
// started it.
const successor = "BOARD_SUCCESSOR"

func isSuccessor() bool { return os.Getenv(successor) != "" }

// handOver starts this program anew, from the path by which it was started, and gives it the node.
// If moved, the other process is the node now, even if err reports trouble at the end. Otherwise
// this process goes on as if nothing had happened. If ctx ends meanwhile the node does not move; or
// it has moved already, and the other process is told to end, and waited for.
func handOver(ctx context.Context, n *nodes.Node) (moved bool, err error) {
	path, err := exec.LookPath(os.Args[0]) // os.Executable would follow a link to what runs now
	if err != nil {
		return false, err
	}
	channel, other, err := handoff.ChannelPair()
	if err != nil {
		return false, err
	}
	defer channel.Close()
	next := exec.Command(path, os.Args[1:]...)
	next.Env = append(os.Environ(), successor+"=1")
	next.Stdout, next.Stderr = os.Stdout, os.Stderr
	next.ExtraFiles = []*os.File{other} // descriptor 3 there
	err = next.Start()
	other.Close()
	if err != nil {
		return false, err
	}
	h, err := n.Offer().Give(ctx, channel)
	if !h.Moved {
		_ = next.Process.Kill() // the new process has nothing, and may hang
		_ = next.Wait()
		return false, err
	}
	select {
	case <-ctx.Done():
		_ = next.Process.Signal(syscall.SIGTERM)
		_ = next.Wait()
	case <-time.After(200 * time.Millisecond): // a signal for this process may be on its way
	}
	return true, err
}

// takeOver is the other side of handOver: it makes this process the node.
func takeOver(ctx context.Context, cfg nodes.Config) (*nodes.Node, error) {
	channel, err := handoff.FileChannel(os.NewFile(3, "channel"))
	if err != nil {
		return nil, err
	}
	defer channel.Close()
	os.Unsetenv(successor) // not for the processes that this one starts
	var staged *nodes.Staged
	taken, err := (&handoff.Acceptance{
		Terms: cfg.Terms(),
		Stage: func(_ context.Context, state []byte, fds []int) (_ handoff.Staged, err error) {
			staged, err = nodes.Restore(cfg, state, fds)
			return staged, err
		},
	}).Take(ctx, channel)
	if !taken.Owns {
		return nil, err
	}
	return staged.Node(), nil
}
