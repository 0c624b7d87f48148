package transport

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// quickAck has the kernel acknowledge now what has come over a TCP connection; false where the descriptor is none of that kind. See tcp(7),
// TCP_QUICKACK, which does not last.
func quickAck(fd int) bool {
	on := uint32(1)
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK,
		uintptr(unsafe.Pointer(&on)), unsafe.Sizeof(on), 0)
	return errno == 0
}
