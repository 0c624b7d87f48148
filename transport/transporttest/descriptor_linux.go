package transporttest

import (
	"os"
	"strconv"
	"syscall"
)

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

// openDescriptors maps the descriptors of this process to the names of their files.
func openDescriptors() map[int]string {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	open := make(map[int]string, len(entries))
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// fails for ReadDir's own descriptor, which is closed
		if target, err := os.Readlink(dir + "/" + e.Name()); err == nil {
			open[fd] = target
		}
	}
	return open
}
