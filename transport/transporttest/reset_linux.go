package transporttest

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reset resets a TCP connection on whose descriptor the SDK waits, without asking the plug-in:
// connect(2) to AF_UNSPEC does that (Linux's tcp_disconnect). It returns false if s is no such
// connection.
func reset(s *stream) (done bool) {
	raw, ok := waited(s)
	if !ok {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		if kind, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || kind != unix.IPPROTO_TCP {
			return
		}
		nowhere := unix.RawSockaddr{Family: unix.AF_UNSPEC}
		_, _, errno := unix.Syscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&nowhere)), unsafe.Sizeof(nowhere))
		done = errno == 0
	})
	return done
}

// wasReset waits until the system has received a reset, and leaves the error for the next read. If
// the connection runs through a proxy, say, this end need not be reset: then wasReset returns
// false.
func wasReset(s *stream) (reset bool) {
	raw, ok := waited(s)
	if !ok {
		return false
	}
	const enough = 2 * time.Second // if it comes later, the rule is only skipped
	for end := time.Now().Add(enough); !reset && time.Now().Before(end); {
		err := raw.Control(func(fd uintptr) {
			p := []unix.PollFd{{Fd: int32(fd)}}
			_, _ = unix.Poll(p, 10) // POLLERR is reported without being asked for
			reset = p[0].Revents&unix.POLLERR != 0
		})
		if err != nil {
			return false
		}
	}
	return reset
}
