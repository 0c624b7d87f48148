//go:build unix

package bind

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// A File is the file of a bound UNIX socket. As long as the socket is open, no other file is the
// same as info (os.SameFile).
type File struct {
	path string
	info os.FileInfo
}

// FileAt returns the file at a path that has just been bound, or comes from another process; nil if
// there is none.
func FileAt(path string) *File {
	if path == "" || sys.IsAbstract(path) {
		return nil
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	return &File{path, info}
}

// Remove removes the file. Another file that is there by now stays. A File of nil is none.
func (f *File) Remove() {
	if f == nil {
		return
	}
	if now, err := os.Lstat(f.path); err == nil && os.SameFile(f.info, now) {
		_ = os.Remove(f.path)
	}
}

// RemoveStale removes the file of a socket that a dead process left: one that refuses connections.
// It tries that with a socket for datagrams. A listener, whose kind is another one, refuses that
// with EPROTOTYPE, and its Accept does not get a connection.
func RemoveStale(path string) bool {
	info, err := os.Lstat(path)
	if sys.IsAbstract(path) || err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	fd, err := sys.Socket(unix.AF_UNIX, unix.SOCK_DGRAM)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); !errors.Is(err, unix.ECONNREFUSED) {
		return false
	}
	return os.Remove(path) == nil
}
