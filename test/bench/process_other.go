//go:build !linux

package main

import (
	"errors"
	"os/exec"
	"time"
)

func processorTime(int) (time.Duration, error) { return 0, errors.ErrUnsupported }

func endWithBench(*exec.Cmd) {}

func holds(int) (footprint, error) { return footprint{}, errors.ErrUnsupported }
