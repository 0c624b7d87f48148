//go:build unix

package leak

import (
	"fmt"
	"net/netip"
	"strconv"
	"syscall"
)

// ends says what the two ends of a socket are called, so that the test which has left it can be
// found.
func ends(fd string) string {
	n, err := strconv.Atoi(fd)
	if err != nil {
		return err.Error()
	}
	name := func(get func(int) (syscall.Sockaddr, error)) string {
		a, err := get(n)
		switch a := a.(type) {
		case *syscall.SockaddrInet4:
			return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String()
		case *syscall.SockaddrInet6:
			return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)).String()
		case *syscall.SockaddrUnix:
			return fmt.Sprintf("unix %q", a.Name)
		}
		return fmt.Sprint(err)
	}
	kind, _ := syscall.GetsockoptInt(n, syscall.SOL_SOCKET, syscall.SO_TYPE)
	return fmt.Sprintf("a socket of type %d, here %s, there %s", kind, name(syscall.Getsockname), name(syscall.Getpeername))
}
