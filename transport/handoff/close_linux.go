package handoff

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// closeFD tells the scheduler, for some files have it wait. It is small enough to be part of its callers: see Conn.send.
func closeFD(fd int) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// notLingering has closeFD not wait for a socket's peer (SO_LINGER), for up to 18 hours, as who has sent the descriptor may have it. What
// is not sent yet goes out even so. An end with a reset, SO_LINGER of no time, stays one.
func notLingering(fd int) {
	var l unix.Linger
	size := uint32(unsafe.Sizeof(l))
	_, _, errno := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&l)),
		uintptr(unsafe.Pointer(&size)), 0)
	if errno == 0 && l.Onoff != 0 && l.Linger != 0 {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
	}
}
