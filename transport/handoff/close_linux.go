package handoff

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// closeFD tells the scheduler of the system call, because closing some files waits. It is small
// enough to be inlined: see Conn.send.
func closeFD(fd int) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// notLingering switches off SO_LINGER, with which the sender of a descriptor could make closeFD
// wait for the socket's peer for up to 18 hours. Data that is not sent yet still goes out.
// SO_LINGER with a time of 0, which closes with a reset, is left as it is.
func notLingering(fd int) {
	var l unix.Linger
	size := uint32(unsafe.Sizeof(l))
	_, _, errno := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&l)),
		uintptr(unsafe.Pointer(&size)), 0)
	if errno == 0 && l.Onoff != 0 && l.Linger != 0 {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
	}
}
