package handoff

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"

	"github.com/cnode-go/cnode/transport"
	"golang.org/x/sys/unix"
)

const (
	abstractNames = true
	openDirectory = unix.O_PATH // permission to search it is enough
)

// autobindName returns an empty name, for which bind(2) chooses an abstract one: unix(7), "Autobind
// feature".
func autobindName() (name, dir string, err error) { return "", "", nil }

// closeFD tells the scheduler of the system call, because closing some files waits. It is small
// enough to be inlined: see Conn.send.
func closeFD(fd int) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// notLingering switches off SO_LINGER, with which the sender of a descriptor could make closeFD
// wait for the socket's peer for up to 18 hours. Data that is not sent yet still goes out.
// SO_LINGER with a time of 0, which closes with a reset, is left as it is.
func notLingering(fd int) {
	var l unix.Linger
	size := uint32(unsafe.Sizeof(l))
	_, _, errno := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&l)),
		uintptr(unsafe.Pointer(&size)), 0)
	if errno == 0 && l.Onoff != 0 && l.Linger != 0 {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
	}
}

// strangersFile makes a file of a received descriptor, which it owns, on failure too. Only sockets
// and pipes are registered with Go's poller: for a file of FUSE, registering asks the file's
// server, which can delay the answer, and with it the whole process, for as long as it likes. A
// check that O_NONBLOCK is off would not prevent that, since the sender can set the flag at any
// time. So the os.File is made of another descriptor, which dup3(2) then replaces by the
// stranger's.
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

func domain(fd int, _ unix.Sockaddr) (domain, protocol int, err error) {
	if domain, err = socketFamily(fd); err != nil {
		return 0, 0, err
	}
	protocol, err = socketOption(fd, unix.SO_PROTOCOL)
	return domain, protocol, os.NewSyscallError("getsockopt SO_PROTOCOL", err)
}

// socketOption does not tell the scheduler of the system call, as when messages are sent: telling
// it would wake the scheduler's monitor thread in a process that has just been idle.
func socketOption(fd, option int) (int, error) {
	var v int32
	size := uint32(unsafe.Sizeof(v))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, uintptr(option), uintptr(unsafe.Pointer(&v)),
		uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(v), nil
}

func socketFamily(fd int) (int, error) {
	family, err := socketOption(fd, unix.SO_DOMAIN)
	return family, os.NewSyscallError("getsockopt SO_DOMAIN", err)
}

// longPath checks a path that is longer than the address of a UNIX socket can be: it is reached by
// its directory, so that only its last part must fit.
func longPath(path string) (transport.Addr, error) {
	_, err := transport.FromUnixPath(inDirectory(math.MaxInt32, path))
	return transport.UnixAddr(path), err
}

// inDirectory is a path for the file of that name in an open directory.
func inDirectory(dir int, path string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(path))
}

// shortened calls do with a path that the system takes as the address of a UNIX socket: path, or
// another one that leads to the same file until do returns.
func shortened(path string, do func(short string) error) error {
	if _, err := transport.FromUnixPath(path); !errors.Is(err, syscall.ENAMETOOLONG) {
		return do(path)
	}
	dir := filepath.Dir(path)
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	return do(inDirectory(fd, path))
}
