//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd || aix)

package transport

const (
	sockaddrHasLen = false // struct sockaddr begins with sa_family
	abstractNames  = false // sun_path is a path always
)
