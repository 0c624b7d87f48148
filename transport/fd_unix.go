//go:build unix

package transport

import (
	"os"

	"golang.org/x/sys/unix"
)

// The system calls that the TCP and UNIX plug-ins share, in the form of callbacks on a descriptor.

func newSocketFD(addr Addr) (int, error) {
	af, err := family(addr)
	if err != nil {
		return -1, err
	}
	return raised(socketFD(af, unix.SOCK_STREAM))
}

func bindAndListen(fd int, addr Addr, backlog int) (Addr, error) {
	if err := bindFD(fd, addr); err != nil {
		return nil, err
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return nil, err
	}
	return localAddrFD(fd)
}

// mayWait reports whether a descriptor is in blocking mode. All that share the socket, other processes included, share its mode.
func mayWait(fd int) bool {
	flags, err := fcntlFD(fd, unix.F_GETFL, 0)
	return err == nil && flags&unix.O_NONBLOCK == 0
}

// dupFD never gives 0, 1 or 2.
func dupFD(fd int) (int, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	return dup, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
}

// raised gives a new descriptor a number that dupFD may give: what the program prints where a standard stream was, the text of a panic say,
// must not go to a peer.
func raised(fd int, err error) (int, error) {
	if err != nil || fd > 2 {
		return fd, err
	}
	high, err := dupFD(fd)
	_ = unix.Close(fd) // only a number goes
	return high, err
}

// sameFile reports whether two descriptors are open and refer to the same file.
func sameFile(a, b int) bool {
	var one, other unix.Stat_t
	return unix.Fstat(a, &one) == nil && unix.Fstat(b, &other) == nil && one.Dev == other.Dev && one.Ino == other.Ino
}
