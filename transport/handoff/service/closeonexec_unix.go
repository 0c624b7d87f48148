//go:build unix

package service

import "syscall"

// closeOnExec keeps a descriptor from the programs that this one starts.
func closeOnExec(fd int) { syscall.CloseOnExec(fd) }
