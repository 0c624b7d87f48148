//go:build unix && !linux

package handoff

import "golang.org/x/sys/unix"

func domain(_ int, local unix.Sockaddr) (domain, protocol int, err error) {
	switch local.(type) {
	case *unix.SockaddrInet4:
		return unix.AF_INET, -1, nil
	case *unix.SockaddrInet6:
		return unix.AF_INET6, -1, nil
	case *unix.SockaddrUnix:
		return unix.AF_UNIX, -1, nil
	}
	return unix.AF_UNSPEC, -1, nil
}
