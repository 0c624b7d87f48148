package handoff

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// strangersFile makes a file of a descriptor that somebody has sent, which is its own, on failure too. Go's poller is told of sockets and
// pipes only: of a file of FUSE it would ask the file's server, which can keep it, and with it the whole process, for as long as it likes.
// That O_NONBLOCK is off does not say that it is not asked, since the sender can set it at any time. So the os.File is made of another
// descriptor, whose place the stranger's then takes.
func strangersFile(fd int, name string) (*os.File, error) {
	_, err := socketOption(fd, unix.SO_TYPE)
	if err != nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	}
	if err == nil {
		return os.NewFile(uintptr(fd), name), nil
	}
	defer func() { _ = discard(fd) }()
	other, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	high, err := arrived([]int{other})
	if err != nil {
		return nil, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", errors.Join(err, closeFD(other)))
	}
	f := os.NewFile(uintptr(high[0]), name)
	if err := unix.Dup3(fd, high[0], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("dup3", errors.Join(err, f.Close()))
	}
	return f, nil
}
