//go:build !unix

package bind10

import (
	"errors"
	"syscall"
)

func sessionBuffer(syscall.RawConn, bool) error { return errors.ErrUnsupported }
