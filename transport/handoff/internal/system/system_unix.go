//go:build unix

package system

import (
	"os"

	"github.com/cnode-go/cnode/transport/internal/sys"
	"golang.org/x/sys/unix"
)

// Arrived moves descriptors that have just been received and are 0, 1 or 2 to higher numbers. It
// returns the descriptors that are open, also with an error.
func Arrived(fds []int) ([]int, error) {
	for i, fd := range fds {
		if fd > 2 {
			continue
		}
		high, err := sys.Dup(fd)
		if err != nil {
			return fds, err
		}
		fds[i] = high
		_ = unix.Close(fd) // the file stays open as high
	}
	return fds, nil
}

// NotLingering switches off SO_LINGER, with which the sender of a descriptor could make Close
// wait for the socket's peer for up to 18 hours. Data that is not sent yet still goes out.
// SO_LINGER with a time of 0, which closes with a reset, is left as it is.
func NotLingering(fd int) {
	if l, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER); err == nil && l.Onoff != 0 && l.Linger != 0 {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
	}
}

// SocketType tells what a socket is, for less than handoff.Inspect, without addresses.
func SocketType(fd int) (family, kind int, listening bool, err error) {
	if kind, err = sys.GetOption(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return 0, 0, false, os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	on, err := sys.GetOption(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	listening = err == nil && on != 0
	family, err = sys.LocalFamily(fd)
	return family, kind, listening, os.NewSyscallError("getsockname", err)
}
