//go:build unix

package transport

import "golang.org/x/sys/unix"

// abortive makes the coming close of a connection a reset, where the SDK has the descriptor of a TCP connection.
func abortive(c carrier) {
	raw, err := c.syscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
}

// peerAddr asks the system for the peer's address of an imported stream; nil if the system does not know it either.
func peerAddr(c carrier) Addr {
	fd, err := c.descriptor()
	if err != nil {
		return nil
	}
	return mustAddr(peerAddrFD(fd))
}
