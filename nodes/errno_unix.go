//go:build unix

package nodes

import "syscall"

const addressInUse = syscall.EADDRINUSE
