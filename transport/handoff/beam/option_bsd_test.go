//go:build unix && !linux

package beam

import (
	"syscall"
	"testing"
)

func passCredentials(testing.TB, syscall.RawConn) int { return 0 }
