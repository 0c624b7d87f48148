//go:build !unix

package service

import (
	"errors"
	"syscall"
)

// readable is for connections from another process, of which there are none.
func readable(syscall.RawConn) error { return errors.ErrUnsupported }
