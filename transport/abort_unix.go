//go:build unix

package transport

import (
	"errors"

	"golang.org/x/sys/unix"
)

// resetOnClose makes the coming close of a connection a reset, if the SDK has the descriptor of a
// TCP connection.
func resetOnClose(c carrier) bool {
	raw, err := c.syscallConn()
	if err != nil {
		return false
	}
	done := errors.ErrUnsupported
	err = raw.Control(func(fd uintptr) {
		done = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
	_, other := AddrPort(c.localAddr()) // UNIX sockets take the option, too
	return errors.Join(err, done, other) == nil
}
