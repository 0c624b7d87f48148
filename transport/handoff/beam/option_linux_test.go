package beam

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func passCredentials(t testing.TB, raw syscall.RawConn) int { return option(t, raw, unix.SO_PASSCRED) }
