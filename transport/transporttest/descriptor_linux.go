package transporttest

import "syscall"

// nonblocking tells whether a descriptor is in non-blocking mode, which duplicates share.
func nonblocking(fd int) (on, ok bool) {
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFL, 0)
	return flags&syscall.O_NONBLOCK != 0, errno == 0
}

// closesOnExec tells whether a descriptor is close-on-exec.
func closesOnExec(fd int) (on, ok bool) {
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
	return flags&syscall.FD_CLOEXEC != 0, errno == 0
}
