//go:build !linux

package sys

import "syscall"

const ErrIsolated = syscall.EHOSTUNREACH // these systems have no error of its own for it
