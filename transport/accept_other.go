//go:build !linux

package transport

import "syscall"

const errIsolated = syscall.EHOSTUNREACH // these systems have no error of its own for it
