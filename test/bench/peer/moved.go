package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport/handoff"
)

const (
	// creation is the creation of the node, the same in both processes.
	creation = 4711
	// stateLimit bounds the state of a connection that has just been made, in bytes.
	stateLimit = 128 << 10
	// giverEnd is the descriptor by which connections leave the process that accepts them.
	giverEnd = 3
)

// serveMoved serves connections that a process of its own accepts.
func serveMoved(ctx context.Context, cfg nodes.Config) error {
	cfg.Creation, cfg.Worker = creation, 1
	n, err := nodes.New(cfg)
	if err != nil {
		return err
	}
	one, other, err := handoff.PacketPair()
	if err != nil {
		return err
	}
	from, err := connection(other)
	if err != nil {
		return errors.Join(err, one.Close())
	}
	cmd := exec.CommandContext(ctx, os.Args[0], append([]string{"-giver"}, os.Args[1:]...)...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{one}
	input, err := cmd.StdinPipe() // so that the giver ends with this process
	if err == nil {
		err = cmd.Start()
	}
	_ = one.Close()
	if err != nil {
		return err
	}
	defer input.Close()
	endWithInput()
	p := make([]byte, stateLimit)
	for {
		var set handoff.FDSet
		state, _, _, err := from.ReceivePacket(ctx, p, stateLimit, &set, 1)
		if err != nil {
			return fmt.Errorf("the process that accepts: %w", errors.Join(err, cmd.Wait()))
		}
		fd, err := set.Steal(0)
		if err != nil {
			return err
		}
		c, err := n.Adopt(ctx, &nodes.Moved{State: bytes.Clone(state), FD: fd})
		if err != nil {
			slog.Error("adopting", "error", err) // the peer may be gone already
			continue
		}
		go converse(ctx, c, nil)
	}
}

// give accepts connections and hands them over.
func give(ctx context.Context, cfg nodes.Config) error {
	cfg.Creation = creation
	to, err := connection(os.NewFile(giverEnd, "pair"))
	if err != nil {
		return err
	}
	return accept(ctx, cfg, func(c *nodes.Conn) error {
		m, err := c.Detach(ctx)
		if err != nil {
			slog.Error("detaching", "error", err) // the peer may be gone already
			_ = c.Close()
			return nil
		}
		return errors.Join(to.Send(ctx, m.State, m.FD), m.Close())
	})
}

// connection makes a handoff.Conn of f, which it owns from then on.
func connection(f *os.File) (*handoff.Conn, error) {
	if f == nil {
		return nil, syscall.EBADF
	}
	unix, err := handoff.FileConn(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return handoff.NewConn(unix)
}
