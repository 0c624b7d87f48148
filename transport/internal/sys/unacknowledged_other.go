//go:build !linux

package sys

import (
	"errors"
	"time"
)

func Unacknowledged(int) (time.Duration, error) { return 0, errors.ErrUnsupported }
