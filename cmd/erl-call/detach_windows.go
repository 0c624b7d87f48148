package main

import "syscall"

// detached keeps the console's signals, which are for this program, from the node.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
