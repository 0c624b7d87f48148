//go:build !linux

package transport

import "syscall"

const errIsolated = syscall.EHOSTUNREACH // there is none of its own
