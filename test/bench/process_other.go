//go:build !linux

package main

import (
	"errors"
	"time"
)

func processorTime(int) (time.Duration, error) { return 0, errors.ErrUnsupported }

func holds(int) (footprint, error) { return footprint{}, errors.ErrUnsupported }
