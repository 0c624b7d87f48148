//go:build unix

package sock

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/sys"
	"golang.org/x/sys/unix"
)

// A Pin keeps the directory of a socket's file open, so that the file can be removed even if the
// directory has since been moved or mounted over.
type Pin struct {
	dir      *os.File
	name     string
	dev, ino uint64
}

// newPin opens the directory of a path, before the socket's file is made.
func newPin(path string) (*Pin, error) {
	dir, name := split(path)
	fd, err := unix.Open(dir, sys.OpenDirectory, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return &Pin{dir: os.NewFile(uintptr(fd), dir), name: name}, nil
}

// note remembers which file is at the path now.
func (p *Pin) note() (err error) {
	p.dev, p.ino, err = p.look()
	return err
}

// IsAt tells whether the file is at a path still.
func (p *Pin) IsAt(path string) bool {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	return err == nil && uint64(st.Dev) == p.dev && uint64(st.Ino) == p.ino
}

func (p *Pin) look() (dev, ino uint64, err error) {
	e := p.with(func(dir int) {
		var st unix.Stat_t
		err = unix.Fstatat(dir, p.name, &st, unix.AT_SYMLINK_NOFOLLOW)
		dev, ino = uint64(st.Dev), uint64(st.Ino)
	})
	if e != nil {
		return 0, 0, e
	}
	return dev, ino, os.NewSyscallError("fstatat", err)
}

// RemoveThen removes the file, unless it has gone or has been replaced, closes the directory, and
// calls closing to close the socket. The socket comes last: while it is open, no other file gets
// the inode number of the socket's file.
func (p *Pin) RemoveThen(closing func() error) error {
	if p == nil {
		return closing()
	}
	dev, ino, err := p.look()
	if err == nil && dev == p.dev && ino == p.ino {
		if e := p.with(func(dir int) { err = unix.Unlinkat(dir, p.name, 0) }); e != nil {
			err = e
		}
	}
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	return errors.Join(err, p.dir.Close(), closing())
}

func (p *Pin) with(do func(dir int)) error {
	raw, err := p.dir.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { do(int(fd)) })
}

// pinned calls bind, which makes the socket file of an address, and returns a pin of that file, nil
// for an address without a file.
func pinned(a transport.Addr, bind func() error) (*Pin, error) {
	path, err := transport.UnixPath(a)
	if err != nil {
		return nil, err
	}
	if path == "" || sys.IsAbstract(path) {
		return nil, bind()
	}
	p, err := newPin(path)
	if err != nil {
		return nil, err
	}
	if err := bind(); err != nil {
		return nil, errors.Join(err, p.dir.Close())
	}
	if err := p.note(); err != nil {
		return nil, errors.Join(err, p.dir.Close())
	}
	return p, nil
}

// BindDatagram makes a datagram socket with a name and, unless it is nil, a destination.
func BindDatagram(a, destination transport.Addr) (*net.UnixConn, *Pin, error) {
	name, err := transport.ToSockaddr(a)
	if err != nil {
		return nil, nil, err
	}
	fd, err := sys.Socket(unix.AF_UNIX, unix.SOCK_DGRAM)
	if err != nil {
		return nil, nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	p, err := pinned(a, func() error { return os.NewSyscallError("bind", unix.Bind(fd, name)) })
	if err == nil && destination != nil {
		err = connectTo(fd, destination)
	}
	var conn net.Conn
	if err == nil {
		conn, err = net.FileConn(f) // uses a duplicate
	}
	if err != nil {
		return nil, nil, errors.Join(err, p.RemoveThen(f.Close))
	}
	return conn.(*net.UnixConn), p, nil
}

func connectTo(fd int, a transport.Addr) error {
	if _, err := transport.UnixPath(a); err != nil {
		return err
	}
	sa, err := transport.ToSockaddr(a)
	if err != nil {
		return err
	}
	return os.NewSyscallError("connect", unix.Connect(fd, sa))
}

// PinThere pins the file that is at a path.
func PinThere(path string) (*Pin, error) {
	p, err := newPin(path)
	if err != nil {
		return nil, err
	}
	if err := p.note(); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(err, p.Close())
		}
		p.ino = 0 // the file has been removed
	}
	return p, nil
}

// Close closes the directory.
func (p *Pin) Close() error {
	if p == nil {
		return nil
	}
	return p.dir.Close()
}

// split splits a path into its directory and its last element.
func split(path string) (dir, name string) {
	dir, name = filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	return dir, name
}
