//go:build !linux

package handoff

import (
	"errors"
	"syscall"
)

func passCredentials(int, bool) error    { return errors.ErrUnsupported }
func credentialsOn(syscall.RawConn) bool { return false }
