//go:build darwin || dragonfly || freebsd || netbsd || openbsd || aix

package transport

const (
	sockaddrHasLen = true  // struct sockaddr begins with sa_len
	abstractNames  = false // sun_path is a path always
)
