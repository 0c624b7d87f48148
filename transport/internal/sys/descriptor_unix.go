//go:build unix

package sys

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func Close(fd int) error                  { return unix.Close(fd) }
func Fcntl(fd, cmd, arg int) (int, error) { return unix.FcntlInt(uintptr(fd), cmd, arg) }
func SetOption(fd, level, option, value int) error {
	return unix.SetsockoptInt(fd, level, option, value)
}

// MayWait reports whether a descriptor is in blocking mode. All that share the socket, other
// processes included, share its mode.
func MayWait(fd int) bool {
	flags, err := Fcntl(fd, unix.F_GETFL, 0)
	return err == nil && flags&unix.O_NONBLOCK == 0
}

// CanDup says that there is a Dup.
const CanDup = true

// Dup never gives 0, 1 or 2.
func Dup(fd int) (int, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	return dup, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
}

// Raised gives a new descriptor a number that Dup may give: what the program prints where a
// standard stream was, the text of a panic say, must not go to a peer.
func Raised(fd int, err error) (int, error) {
	if err != nil || fd > 2 {
		return fd, err
	}
	high, err := Dup(fd)
	_ = unix.Close(fd) // only a number goes
	return high, err
}

// SameFile reports whether two descriptors are open and refer to the same file.
func SameFile(a, b int) bool {
	var one, other unix.Stat_t
	return unix.Fstat(a, &one) == nil && unix.Fstat(b, &other) == nil && one.Dev == other.Dev && one.Ino == other.Ino
}

// ConnectResult asks how a connect has ended, if it has.
func ConnectResult(fd int) (done bool, err error) {
	if HasPeer(fd) {
		return true, nil
	}
	errno, err := GetOption(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return true, os.NewSyscallError("getsockopt SO_ERROR", err)
	}
	switch e := syscall.Errno(errno); e {
	case syscall.EINPROGRESS, syscall.EALREADY, syscall.EINTR:
		return false, nil
	case 0: // it has ended just now, or this is a spurious wake-up
		return HasPeer(fd), nil
	default:
		return true, e
	}
}

// SetNonblock puts fd into non-blocking mode. A fresh socket, of this package's own plug-ins, has
// no other flags to keep.
func SetNonblock(fd int, fresh bool) (err error) {
	flags := unix.O_RDWR
	if !fresh {
		if flags, err = Fcntl(fd, unix.F_GETFL, 0); err == nil && flags&unix.O_NONBLOCK != 0 {
			return nil
		}
	}
	if err == nil {
		_, err = Fcntl(fd, unix.F_SETFL, flags|unix.O_NONBLOCK)
	}
	return os.NewSyscallError("fcntl O_NONBLOCK", err)
}

func IsOpen(fd int) bool {
	if fd < 0 {
		return false
	}
	_, err := Fcntl(fd, unix.F_GETFD, 0)
	return err == nil
}

// SocketError returns the error of a connection that has failed, which the system tells once. It
// first asks whether there is one: SO_ERROR alone also tells of what TCP may get over (an ICMP
// message, say).
func SocketError(fd int) error {
	if !HasEvent(fd, FailedEvents) {
		return nil
	}
	errno, err := GetOption(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || errno == 0 { // no socket, or another call has just been told
		return nil
	}
	return syscall.Errno(errno)
}

// HasEvent reports whether one of these events is there.
func HasEvent(fd int, events int16) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(p, 0)
		if err != unix.EINTR {
			return err == nil && n > 0 && p[0].Revents&events != 0
		}
	}
}

// Shutdown ends a blocked call of a FullImpl plug-in that has no Interrupt.
func Shutdown(fd int) { _ = unix.Shutdown(fd, unix.SHUT_RDWR) }

// MaxUnixPath is the longest path of a UNIX socket that the kernel takes, in bytes.
const MaxUnixPath = len(unix.RawSockaddrUnix{}.Path) - 1

// SizeofInet6 is the size of a struct sockaddr_in6.
const SizeofInet6 = unix.SizeofSockaddrInet6

// Backlog is the longest backlog of a listener that is asked for.
const Backlog = 4096
