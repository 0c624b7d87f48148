package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
)

// computes is the argument with which this program does nothing but compute, until its standard
// input ends.
const computes = "compute"

func compute() {
	go func() {
		for i := 0; ; i++ {
		}
	}()
	var b [1]byte
	_, _ = os.Stdin.Read(b[:])
}

// beside calls f, beside as many programs that compute as there are processors if the measurement
// is one of a busy machine.
func (a *arena) beside(ctx context.Context, s *stream, f func() error) error {
	if !s.busy {
		return f()
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	for range runtime.NumCPU() {
		end, err := startComputing(ctx, program)
		if err != nil {
			return fmt.Errorf("a program that computes: %w", err)
		}
		defer end()
	}
	return f()
}

func startComputing(ctx context.Context, program string) (end func(), err error) {
	cmd := exec.CommandContext(ctx, program, computes)
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
