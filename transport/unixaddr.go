package transport

import (
	"fmt"
	"strings"
	"syscall"
)

// FromUnixPath makes the address of a UNIX socket. The empty path is an unnamed socket; on Linux a first "@" is an abstract name, a file
// of that name being "./@…". A path beyond the kernel's limit is ENAMETOOLONG, as is an abstract name of more bytes than a path may have,
// one fewer than Linux takes; one with a NUL in it, or an empty abstract name, is EINVAL. See tsocket_address_unix_from_path.
func FromUnixPath(path string) (Addr, error) {
	if err := checkUnixPath(path); err != nil {
		return nil, fmt.Errorf("address %q: %w", path, err)
	}
	return UnixAddr(path), nil
}

func checkUnixPath(path string) error {
	switch {
	case path == "@":
		return fmt.Errorf("empty abstract name: %w", syscall.EINVAL)
	case strings.IndexByte(path, 0) >= 0:
		return fmt.Errorf("NUL in path: %w", syscall.EINVAL)
	case len(path) > maxUnixPath:
		return fmt.Errorf("path longer than %d bytes: %w", maxUnixPath, syscall.ENAMETOOLONG)
	}
	return nil
}

// UnixPath is the path of a UNIX socket's address, "" for an unnamed socket; EINVAL for any other kind. See tsocket_address_unix_path.
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
