package handoff

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func domain(fd int, _ unix.Sockaddr) (domain, protocol int, err error) {
	if domain, err = socketFamily(fd); err != nil {
		return 0, 0, err
	}
	protocol, err = socketOption(fd, unix.SO_PROTOCOL)
	return domain, protocol, os.NewSyscallError("getsockopt SO_PROTOCOL", err)
}

// socketOption does not tell the scheduler of the system call, as when messages are sent: telling
// it would wake the scheduler's monitor thread in a process that has just been idle.
func socketOption(fd, option int) (int, error) {
	var v int32
	size := uint32(unsafe.Sizeof(v))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, uintptr(option), uintptr(unsafe.Pointer(&v)),
		uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(v), nil
}

func socketFamily(fd int) (int, error) {
	family, err := socketOption(fd, unix.SO_DOMAIN)
	return family, os.NewSyscallError("getsockopt SO_DOMAIN", err)
}
