package transport

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// FromUnixPath makes the address of a UNIX socket. The empty path is an unnamed socket; on Linux a
// leading "@" marks an abstract name, and a file of that name is "./@…". A path beyond the kernel's
// limit is ENAMETOOLONG; a path with a NUL in it, and an abstract name of nothing but NULs, or of
// nothing at all, is EINVAL. See tsocket_address_unix_from_path.
func FromUnixPath(path string) (Addr, error) {
	if err := checkUnixPath(path); err != nil {
		return nil, fmt.Errorf("address %q: %w", path, err)
	}
	return UnixAddr(path), nil
}

func checkUnixPath(path string) error {
	switch {
	case strings.TrimRight(path, "\x00") == "@":
		return fmt.Errorf("empty abstract name: %w", syscall.EINVAL)
	case sys.IsAbstract(path): // has no NUL at its end
		if len(path) > sys.MaxUnixPath+1 {
			return fmt.Errorf("abstract name longer than %d bytes: %w", sys.MaxUnixPath, syscall.ENAMETOOLONG)
		}
	case strings.IndexByte(path, 0) >= 0:
		return fmt.Errorf("NUL in path: %w", syscall.EINVAL)
	case len(path) > sys.MaxUnixPath:
		return fmt.Errorf("path longer than %d bytes: %w", sys.MaxUnixPath, syscall.ENAMETOOLONG)
	}
	return nil
}

// UnixPath is the path of a UNIX socket's address, "" for an unnamed socket; EINVAL for any other
// kind. See tsocket_address_unix_path.
func UnixPath(a Addr) (string, error) {
	if u, ok := unixAddr(a); ok {
		return u.Path(), nil
	}
	return "", fmt.Errorf("address %v is not of a UNIX socket: %w", a, syscall.EINVAL)
}

// unixAddr finds a UNIX address in its wrappings, package net's own kind included.
func unixAddr(a Addr) (UnixAddr, bool) {
	u, ok := FromNetAddr(plain(a)).(UnixAddr)
	return u, ok
}
