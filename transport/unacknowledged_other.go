//go:build !linux

package transport

import (
	"errors"
	"time"
)

func unacknowledged(int) (time.Duration, error) { return 0, errors.ErrUnsupported }
