package system

import (
	"errors"
	"os"

	"github.com/cnode-go/cnode/transport/internal/sys"
	"golang.org/x/sys/unix"
)

// File makes a file of a received descriptor, which it owns, on failure too. Only sockets
// and pipes are registered with Go's poller: for a file of FUSE, registering asks the file's
// server, which can delay the answer, and with it the whole process, for as long as it likes. A
// check that O_NONBLOCK is off would not prevent that, since the sender can set the flag at any
// time. So the os.File is made of another descriptor, which dup3(2) then replaces by the
// stranger's.
func File(fd int, name string) (*os.File, error) {
	_, err := sys.GetOption(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	}
	if err == nil {
		return os.NewFile(uintptr(fd), name), nil
	}
	defer func() { _ = Discard(fd) }()
	other, err := sys.Raised(unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0))
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	f := os.NewFile(uintptr(other), name)
	if err := unix.Dup3(fd, other, unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("dup3", errors.Join(err, f.Close()))
	}
	return f, nil
}
