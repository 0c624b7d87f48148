package sys

import (
	"bytes"
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// QuickAck makes the kernel acknowledge now what has come over a TCP connection; false if fd is no
// such connection. The option does not last: see tcp(7), TCP_QUICKACK.
func QuickAck(fd int) bool { return SetOption(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) == nil }

// unsent is how many bytes the kernel holds at least of what it has not sent yet: enough to go on
// with while the writer is woken.
const unsent = 128 << 10

// LimitUnsent makes the kernel take no more than it can soon send over a TCP connection, so that
// what is written next does not wait behind megabytes. The kernel may refuse. See tcp(7),
// TCP_NOTSENT_LOWAT in Documentation/networking/ip-sysctl.
func LimitUnsent(fd int) { _ = SetOption(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent) }

// Unpace replaces BBR by Reno for a TCP socket whose connections go over the loopback. It is called
// before there are any, for the connections of a listener inherit its setting. BBR sends one
// segment at a time, each when a timer fires. Over the loopback a timer costs more than a segment,
// and nothing is congested. Reno, which every kernel has and lets everybody use, sends what there
// is. If the kernel refuses, BBR stays. See tcp(7), TCP_CONGESTION.
func Unpace(fd int) {
	var name [16]byte // TCP_CA_NAME_MAX
	size := uint32(len(name))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION,
		uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || !bytes.HasPrefix(name[:], []byte("bbr")) {
		return
	}
	reno := [4]byte{'r', 'e', 'n', 'o'}
	_, _, _ = unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION,
		uintptr(unsafe.Pointer(&reno)), unsafe.Sizeof(reno), 0)
}

// Readable asks FIONREAD, which writes 32 bits, whatever the size of an int. Of a family whose
// sockets cannot be asked (those of vsock(7), before Linux 6.17) it tells by a look at the first
// byte whether there is any: 1 or 0.
func Readable(fd int) (int, error) {
	n, err := unix.IoctlGetUint32(fd, unix.TIOCINQ)
	if err != unix.EOPNOTSUPP && err != unix.ENOTTY {
		return int(n), err
	}
	k, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err == unix.EAGAIN {
		return 0, nil
	}
	return max(k, 0), err
}

// Unarrived asks SIOCOUTQ, which writes 32 bits, whatever the size of an int.
func Unarrived(fd int) (int, error) {
	n, err := unix.IoctlGetUint32(fd, unix.SIOCOUTQ)
	return int(n), err
}

func Unacknowledged(fd int) (time.Duration, error) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOPROTOOPT), errors.Is(err, unix.EINVAL):
		return 0, errors.ErrUnsupported
	case err != nil:
		return 0, err
	case info.Unacked == 0 && info.Probes == 0: // probes ask for room; an answer ends their count
		return 0, nil
	case info.Retransmits == 0 && info.Probes == 0:
		// Sent just now, after a silence perhaps, to which nobody owed an answer.
		return time.Duration(min(info.Last_ack_recv, info.Last_data_sent)) * time.Millisecond, nil
	}
	return time.Duration(info.Last_ack_recv) * time.Millisecond, nil
}
