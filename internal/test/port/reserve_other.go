//go:build !linux

package port

import "net"

// reserve gives a port that was free a moment ago: not every system lets a socket listen on a port
// to which another socket is bound.
func reserve() (number int, release func(), err error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, nil, err
	}
	return l.Addr().(*net.TCPAddr).Port, func() {}, l.Close()
}
