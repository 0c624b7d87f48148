//go:build freebsd || dragonfly

package sys

import "golang.org/x/sys/unix"

func Accept(fd int) (int, unix.Sockaddr, error) { return unix.Accept4(fd, unix.SOCK_CLOEXEC) }
