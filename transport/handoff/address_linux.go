package handoff

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"syscall"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/sys"
	"golang.org/x/sys/unix"
)

// protocol tells the protocol of a socket.
func protocol(fd int) (int, error) { return sys.GetOption(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL) }

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
