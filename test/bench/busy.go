package main

import (
	"context"
	"fmt"
	"os/exec"
)

// beside calls f, beside programs that compute if the measurement is one of a busy machine.
func (a *arena) beside(ctx context.Context, s *stream, f func() error) error {
	if !s.busy {
		return f()
	}
	program, err := a.buildGo(ctx, "test/bench/compute")
	if err != nil {
		return err
	}
	for range a.o.computing {
		end, err := startComputing(ctx, program)
		if err != nil {
			return fmt.Errorf("a program that computes: %w", err)
		}
		defer end()
	}
	return f()
}

func startComputing(ctx context.Context, program string) (end func(), err error) {
	cmd := exec.CommandContext(ctx, program)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	}, nil
}
