package tsocket

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// tellsRoom says that the system tells a connected UNIX socket when there is room in its peer's
// queue.
const tellsRoom = true

// A sender remembers who sent the last datagram: the next one is most often from the same.
type sender struct {
	name  [128]byte // sockaddr_storage
	known string    // the name whose Addr addr is
	addr  transport.Addr
}

func recvFromFD(fd int, r *receipt) {
	size, length, err := recvFrom(fd, r.p, r.name[:])
	if err != nil {
		r.err = err
		return
	}
	r.size, r.n = size, min(size, len(r.p))
	name := r.name[:length]
	if r.addr != nil && string(name) == r.known {
		return
	}
	if len(name) == 0 { // an unnamed UNIX socket
		r.addr, r.known = transport.UnixAddr(""), ""
		return
	}
	r.addr, _ = transport.ParseSockaddr(name)
	r.known = string(name)
}

// peekFD finds out the size of the next datagram.
func peekFD(fd int, r *receipt) { r.size, r.err = nextSize(fd) }

func sendToFD(fd int, w *dispatch) error { return sendTo(fd, w.p, w.name) }

// recvFrom receives a datagram into p, without waiting; size is that of the whole datagram.
func recvFrom(fd int, p, name []byte) (size, nameSize int, err error) {
	length := uint32(len(name))
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_TRUNC, uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&length)))
	if errno != 0 {
		return 0, 0, errno
	}
	return int(n), min(int(length), len(name)), nil
}

// nextSize is the size of the next datagram.
func nextSize(fd int) (int, error) {
	const flags = unix.MSG_DONTWAIT | unix.MSG_PEEK | unix.MSG_TRUNC
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, 0, flags, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// sendTo sends a datagram without waiting; an empty name: to the peer that fd is connected to.
func sendTo(fd int, p, name []byte) error {
	var to unsafe.Pointer
	if len(name) > 0 {
		to = unsafe.Pointer(&name[0])
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(to), uintptr(len(name)))
	if errno != 0 {
		return errno
	}
	return nil
}
