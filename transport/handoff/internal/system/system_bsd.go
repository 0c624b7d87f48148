//go:build unix && !linux

package handoff

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	abstractNames = false
	openDirectory = unix.O_RDONLY
)

// autobindName makes a new directory and returns the name of a socket in it, because these systems
// do not choose names themselves.
func autobindName() (name, dir string, err error) {
	if dir, err = os.MkdirTemp("", "json"); err != nil {
		return "", "", err
	}
	return filepath.Join(dir, "s"), dir, nil
}

func closeFD(fd int) error { return unix.Close(fd) }

// notLingering: see system_linux.go.
func notLingering(fd int) {
	if l, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER); err == nil && l.Onoff != 0 && l.Linger != 0 {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
	}
}

func isCredentials(*unix.Cmsghdr, []byte) bool { return false }
func credentials([]byte) Cred                  { return noCred }
func isProcess(*unix.Cmsghdr, []byte) bool     { return false }

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

func socketOption(fd, option int) (int, error) {
	return unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
}

func socketFamily(fd int) (int, error) {
	local, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	family, _, err := domain(fd, local)
	return family, err
}
