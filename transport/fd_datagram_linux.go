package transport

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tellsRoom says that the system tells a connected UNIX socket when there is room in its peer's queue.
const tellsRoom = true

// A sender remembers who sent the last datagram: the next one is most often from the same.
type sender struct {
	name   [128]byte // sockaddr_storage
	length uint32
	known  string // the name whose Addr addr is
	addr   Addr
}

// As in fd_io_linux.go, the calls are made without telling the scheduler. With MSG_TRUNC the system gives the datagram's whole length.

func recvFromFD(fd int, r *receipt) {
	r.length = uint32(len(r.name))
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&r.p[0])), uintptr(len(r.p)),
		unix.MSG_DONTWAIT|unix.MSG_TRUNC, uintptr(unsafe.Pointer(&r.name[0])), uintptr(unsafe.Pointer(&r.length)))
	if errno != 0 {
		r.err = errno
		return
	}
	r.size, r.n = int(n), min(int(n), len(r.p))
	name := r.name[:min(int(r.length), len(r.name))]
	if r.addr != nil && string(name) == r.known {
		return
	}
	if len(name) == 0 { // an unnamed UNIX socket
		r.addr, r.known = UnixAddr(""), ""
		return
	}
	r.addr, _ = ParseSockaddr(name)
	r.known = string(name)
}

// peekFD finds out the size of the next datagram.
func peekFD(fd int, r *receipt) {
	const flags = unix.MSG_DONTWAIT | unix.MSG_PEEK | unix.MSG_TRUNC
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, 0, flags, 0, 0)
	if errno != 0 {
		r.err = errno
		return
	}
	r.size = int(n)
}

func sendToFD(fd int, w *dispatch) error {
	var name unsafe.Pointer
	if len(w.name) > 0 {
		name = unsafe.Pointer(&w.name[0])
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&w.p[0])), uintptr(len(w.p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(name), uintptr(len(w.name)))
	if errno != 0 {
		return syscall.Errno(errno)
	}
	return nil
}
