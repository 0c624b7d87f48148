//go:build !unix

package nodes

import "syscall"

const addressInUse = syscall.Errno(10048) // WSAEADDRINUSE
