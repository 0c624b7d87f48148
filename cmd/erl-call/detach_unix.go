//go:build unix

package main

import "syscall"

// detached keeps the terminal's signals, which are for this program, from the node.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
