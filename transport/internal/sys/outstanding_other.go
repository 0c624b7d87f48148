//go:build !linux && !darwin && !freebsd

package sys

import "errors"

func Unarrived(int) (int, error) { return 0, errors.ErrUnsupported }
