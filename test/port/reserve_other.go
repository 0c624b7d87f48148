//go:build !linux

package port

import "net"

// reserve gives a port that was free a moment ago: two sockets bound to one port, one of which listens, are not everywhere allowed.
func reserve() (number int, release func(), err error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, nil, err
	}
	return l.Addr().(*net.TCPAddr).Port, func() {}, l.Close()
}
