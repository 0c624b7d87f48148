package system

import (
	"errors"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Close closes a descriptor. It tells the scheduler of the system call, because closing some files
// waits. It is small enough to be inlined: see send of package handoff.
func Close(fd int) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// NotLingering switches off SO_LINGER, with which the sender of a descriptor could make Close
// wait for the socket's peer for up to 18 hours. Data that is not sent yet still goes out.
// SO_LINGER with a time of 0, which closes with a reset, is left as it is.
func NotLingering(fd int) {
	var l unix.Linger
	size := uint32(unsafe.Sizeof(l))
	_, _, errno := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&l)),
		uintptr(unsafe.Pointer(&size)), 0)
	if errno == 0 && l.Onoff != 0 && l.Linger != 0 {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
	}
}

// File makes a file of a received descriptor, which it owns, on failure too. Only sockets
// and pipes are registered with Go's poller: for a file of FUSE, registering asks the file's
// server, which can delay the answer, and with it the whole process, for as long as it likes. A
// check that O_NONBLOCK is off would not prevent that, since the sender can set the flag at any
// time. So the os.File is made of another descriptor, which dup3(2) then replaces by the
// stranger's.
func File(fd int, name string) (*os.File, error) {
	_, err := Option(fd, unix.SO_TYPE)
	if err != nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	}
	if err == nil {
		return os.NewFile(uintptr(fd), name), nil
	}
	defer func() { _ = Discard(fd) }()
	other, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	high, err := Arrived([]int{other})
	if err != nil {
		return nil, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", errors.Join(err, Close(other)))
	}
	f := os.NewFile(uintptr(high[0]), name)
	if err := unix.Dup3(fd, high[0], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("dup3", errors.Join(err, f.Close()))
	}
	return f, nil
}

// Option reads an option of a socket itself (SOL_SOCKET). It does not tell the scheduler of the
// system call, as when messages are sent: telling it would wake the scheduler's monitor thread in
// a process that has just been idle.
func Option(fd, option int) (int, error) {
	var v int32
	size := uint32(unsafe.Sizeof(v))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, uintptr(option), uintptr(unsafe.Pointer(&v)),
		uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(v), nil
}

// Family returns the family of a socket (SO_DOMAIN).
func Family(fd int) (int, error) {
	family, err := Option(fd, unix.SO_DOMAIN)
	return family, os.NewSyscallError("getsockopt SO_DOMAIN", err)
}
