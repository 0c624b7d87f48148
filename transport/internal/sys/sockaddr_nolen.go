//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd || aix)

package sys

const (
	SockaddrHasLen = false // struct sockaddr begins with sa_family
	AbstractNames  = false // sun_path is a path always
)
