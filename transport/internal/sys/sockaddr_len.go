//go:build darwin || dragonfly || freebsd || netbsd || openbsd || aix

package sys

const (
	SockaddrHasLen = true  // struct sockaddr begins with sa_len
	AbstractNames  = false // sun_path is a path always
)
