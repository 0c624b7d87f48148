//go:build !linux && !darwin && !freebsd

package transport

import "errors"

func unarrived(int) (int, error) { return 0, errors.ErrUnsupported }
