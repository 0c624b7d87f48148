package front

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/handoff"
)

const supported = true

// duplicate makes a second descriptor of a socket, close-on-exec.
func duplicate(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	e := raw.Control(func(p uintptr) { fd, err = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 3) })
	if err = errors.Join(e, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)); err != nil {
		return -1, err
	}
	return fd, nil
}

func duplicateFD(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3) }

// endedEmpty tells whether the client has ended, and everything that it has sent is taken.
func endedEmpty(fd int) bool {
	n, err := ignoringEINTR(func() (int, error) {
		n, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return n, err
	})
	return err == nil && n == 0
}

// halfClosed tells whether the client has ended its side, whatever is still unread.
func halfClosed(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	_, err := ignoringEINTR(func() (int, error) { return unix.Poll(p, 0) })
	return err != nil || p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}

func closeFD(fd int) { _ = unix.Close(fd) }

// resetFD closes a descriptor; if it is a TCP connection's last one, the peer gets a reset.
func resetFD(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(fd)
}

// The states of a TCP connection, of tcp(7), in which this side can still write.
const (
	tcpEstablished = 1
	tcpCloseWait   = 8
)

// stillLooks is how often a connection's counters are read again, because the client has sent
// something, or confirmed, between two looks.
const stillLooks = 1000

// look reads a TCP connection's counters. open: this side has not ended, and neither has the
// connection.
//
// Bytes that have been taken are those received (tcpi_bytes_received) without those that wait
// (SIOCINQ); bytes that have been written are those confirmed (tcpi_bytes_acked) and those not yet
// (SIOCOUTQ). The kernel tells them one after the other, so all are read between two equal looks.
func look(fd int) (c counters, open bool, err error) {
	before, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return c, false, os.NewSyscallError("getsockopt TCP_INFO", err)
	}
	for range stillLooks {
		in, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
		if err != nil {
			return c, false, os.NewSyscallError("ioctl SIOCINQ", err)
		}
		out, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		if err != nil {
			return c, false, os.NewSyscallError("ioctl SIOCOUTQ", err)
		}
		after, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return c, false, os.NewSyscallError("getsockopt TCP_INFO", err)
		}
		if before.Bytes_received == after.Bytes_received && before.Bytes_acked == after.Bytes_acked && before.State == after.State {
			c = counters{int64(after.Bytes_received) - int64(in), int64(after.Bytes_acked) + int64(out)}
			if after.State == tcpCloseWait { // the client's FIN counts as a byte
				c.consumed--
			}
			return c, after.State == tcpEstablished || after.State == tcpCloseWait, nil
		}
		before = after
	}
	return c, false, errors.New("the connection's counters do not stand still")
}

// unread is how many bytes wait in a socket.
func unread(fd int) (int, error) {
	n, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
	return n, os.NewSyscallError("ioctl SIOCINQ", err)
}

// discard takes n bytes that are there off a socket.
func discard(fd int, n int64) error {
	b := make([]byte, min(n, 64<<10))
	for n > 0 {
		k, err := ignoringEINTR(func() (int, error) {
			k, _, err := unix.Recvfrom(fd, b[:min(n, int64(len(b)))], unix.MSG_DONTWAIT)
			return k, err
		})
		if err == nil && k == 0 {
			err = unix.ENODATA
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		n -= int64(k)
	}
	return nil
}

func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR {
			return n, err
		}
	}
}

// peek waits until enough says that the n bytes at the beginning of p, which stay unread, are
// enough, or until p is full or the client has ended.
func peek(raw syscall.RawConn, p []byte, enough func(n int) bool) (err error) {
	ended := false
	e := raw.Read(func(fd uintptr) bool {
		var n int
		n, err = ignoringEINTR(func() (int, error) {
			n, _, err := unix.Recvfrom(int(fd), p, unix.MSG_PEEK|unix.MSG_DONTWAIT)
			return n, err
		})
		switch {
		case err == unix.EAGAIN:
			err = nil
			return false
		case err != nil:
			return true
		case enough(n) || n == len(p):
			return true
		case n == 0:
			ended = true
			return true
		}
		var info *unix.TCPInfo // a FIN behind the bytes makes no peek return 0
		if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			ended = info.State != tcpEstablished
		}
		err = nil
		return ended
	})
	if err = errors.Join(e, os.NewSyscallError("recvfrom", err)); err == nil && ended {
		err = errEnded
	}
	return err
}

// readFD reads what is there; ok: something, without the end.
func readFD(fd int, p []byte) (n int, ok bool) {
	n, err := ignoringEINTR(func() (int, error) {
		n, _, err := unix.Recvfrom(fd, p, unix.MSG_DONTWAIT)
		return n, err
	})
	return max(n, 0), err == nil && n > 0
}

// streamPair makes two connected UNIX streams; the other end is a non-blocking descriptor.
func streamPair() (here *net.UnixConn, there int, err error) { return pair(unix.SOCK_STREAM) }

func pair(kind int) (here *net.UnixConn, there int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, -1, os.NewSyscallError("socketpair", err)
	}
	if here, err = connOf(fds[0]); err != nil {
		closeFD(fds[1])
		return nil, -1, err
	}
	return here, fds[1], nil
}

// packetPair makes two connected UNIX sockets of packets; the other end is a descriptor.
func packetPair() (here *net.UnixConn, there int, err error) { return pair(unix.SOCK_SEQPACKET) }

// connOf makes a connection of a UNIX socket, which it owns whatever happens.
func connOf(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	c, err := handoff.FileConn(f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return c, nil
}

// processOf gives a file that tells when the process at the other end of a connection is gone; nil
// where there is none.
func processOf(c syscall.Conn, cred handoff.Cred) *os.File {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	fd := -1
	_ = raw.Control(func(p uintptr) {
		if n, err := unix.GetsockoptInt(int(p), unix.SOL_SOCKET, unix.SO_PEERPIDFD); err == nil {
			fd = n
		} else if n, err = unix.PidfdOpen(cred.PID, 0); err == nil && cred.PID > 0 { // before Linux 6.5
			fd = n
		}
	})
	if fd < 0 {
		return nil
	}
	unix.CloseOnExec(fd)
	_ = unix.SetNonblock(fd, true) // so that the Go poller takes it
	return os.NewFile(uintptr(fd), "process")
}

// awaitEnd waits until a process is gone, or the file's read deadline.
func awaitEnd(process *os.File) error {
	raw, err := process.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(readable)
}

// exited tells whether a process has ended.
func exited(process *os.File) (is bool) {
	raw, err := process.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { is = readable(fd) })
	}
	return err == nil && is
}

func readable(fd uintptr) bool {
	n, err := ignoringEINTR(func() (int, error) { return unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) })
	return err == nil && n > 0
}

// untaken tells whether the other end of a UNIX stream has not read all that was written.
func untaken(raw syscall.RawConn) (is bool) {
	err := raw.Control(func(fd uintptr) {
		n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		is = err != nil || n > 0
	})
	return err != nil || is
}

// trySendRights sends p with a descriptor beside its first byte, as far as there is room.
func trySendRights(raw syscall.RawConn, p []byte, fd int) (n int, err error) {
	return tryMessage(raw, p, unix.UnixRights(fd))
}

// trySend sends what there is room for.
func trySend(raw syscall.RawConn, p []byte) (n int, err error) { return tryMessage(raw, p, nil) }

func tryMessage(raw syscall.RawConn, p, rights []byte) (n int, err error) {
	e := raw.Control(func(to uintptr) {
		n, err = ignoringEINTR(func() (int, error) {
			return unix.SendmsgN(int(to), p, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		})
	})
	return max(n, 0), errors.Join(e, err)
}

// awaitRoom waits until there is room in a socket, or its write deadline.
func awaitRoom(raw syscall.RawConn) error {
	return raw.Write(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := ignoringEINTR(func() (int, error) { return unix.Poll(p, 0) })
		return err != nil || n > 0
	})
}

// writeCounted writes what there is room for, waiting for some, and counts it in the same moment.
func writeCounted(raw syscall.RawConn, p []byte, mu *sync.Mutex, count *int64) (n int, err error) {
	return counted(raw.Write, func(fd int) (int, error) { return unix.SendmsgN(fd, p, nil, nil, unix.MSG_NOSIGNAL) }, mu, count)
}

// readCounted reads what is there, waiting for something, and counts it in the same moment.
func readCounted(raw syscall.RawConn, p []byte, mu *sync.Mutex, count *int64) (n int, err error) {
	return counted(raw.Read, func(fd int) (int, error) { return unix.Read(fd, p) }, mu, count)
}

func counted(wait func(func(uintptr) bool) error, call func(fd int) (int, error), mu *sync.Mutex, count *int64) (n int, err error) {
	e := wait(func(fd uintptr) bool {
		mu.Lock()
		defer mu.Unlock()
		n, err = ignoringEINTR(func() (int, error) { return call(int(fd)) })
		n = max(n, 0)
		*count += int64(n)
		return err != unix.EAGAIN
	})
	return n, errors.Join(e, err)
}

// awaitHangup waits until the other end of a UNIX stream is closed, or this one.
func awaitHangup(raw syscall.RawConn) { _ = raw.Read(isHungUp) }

// hungUp tells whether the other end of a UNIX stream is closed, or this one.
func hungUp(raw syscall.RawConn) (is bool) {
	err := raw.Control(func(fd uintptr) { is = isHungUp(fd) })
	return is || err != nil
}

func isHungUp(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd)}}
	_, err := ignoringEINTR(func() (int, error) { return unix.Poll(p, 0) })
	return err != nil || p[0].Revents&unix.POLLHUP != 0
}
