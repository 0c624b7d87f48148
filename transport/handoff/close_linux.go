package handoff

import "syscall"

// closeFD tells the scheduler, for some files have it wait. It is small enough to be part of its callers: see Conn.send.
func closeFD(fd int) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0); errno != 0 {
		return errno
	}
	return nil
}
