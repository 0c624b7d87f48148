package transporttest

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// reset has the system reset a TCP connection that the SDK waits on, without asking the plug-in: connecting it to nowhere does (Linux's
// tcp_disconnect). false: it is not such a one.
func reset(s *transport.Stream) (done bool) {
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

// wasReset waits until the system has heard of a reset, and leaves that to be read. What goes over something else on its way, a proxy say,
// need not be reset at this end.
func wasReset(s *transport.Stream) (reset bool) {
	raw, ok := waited(s)
	if !ok {
		return false
	}
	const enough = 2 * time.Second // to see nothing accuses nobody
	for end := time.Now().Add(enough); !reset && time.Now().Before(end); {
		err := raw.Control(func(fd uintptr) {
			p := []unix.PollFd{{Fd: int32(fd)}}
			_, _ = unix.Poll(p, 10) // an error is no event
			reset = p[0].Revents&unix.POLLERR != 0
		})
		if err != nil {
			return false
		}
	}
	return reset
}
