package sys

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reads and writes are made without telling the scheduler: MSG_DONTWAIT keeps a call from waiting
// whatever the descriptor's mode, so it is over in the time of a copy. Telling the scheduler costs
// as much again as a small call itself. During a large call, the scheduler's monitor thread would
// do more than it does about a busy thread: it would hand the processor's goroutines to another
// thread, and wake that for it.
const (
	// Bytes of one call: some 200 us, also for what waits for this thread. Smaller pieces cost up
	// to a third more.
	rawMax = 1 << 20
	// A rest up to this size goes along: a message of 1 MB is a little longer than rawMax, and
	// would take two calls.
	rawRest   = rawMax / 4
	rawVector = 16 // buffers of one call
	sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
)

func Read(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return unix.Read(fd, p)
	}
	p = p[:oneCall(int64(len(p)))]
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
	return result(n, errno)
}

func Write(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return unix.Write(fd, p)
	}
	p = p[:oneCall(int64(len(p)))]
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), sendFlags, 0, 0)
	return result(n, errno)
}

func Writev(fd int, v [][]byte) (int64, error) {
	var vector [rawVector]unix.Iovec
	k, room := 0, oneCall(size(v))
	for _, p := range v {
		if len(p) == 0 {
			continue
		}
		if k == len(vector) || room == 0 {
			break
		}
		p = p[:min(len(p), room)]
		vector[k].Base = &p[0]
		vector[k].SetLen(len(p))
		room -= len(p)
		k++
	}
	message := unix.Msghdr{Iov: &vector[0]}
	message.SetIovlen(k)
	n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&message)), sendFlags)
	runtime.KeepAlive(v)
	k, err := result(n, errno)
	return int64(k), err
}

// HasWritev says that there is a Writev.
const HasWritev = true

func size(v [][]byte) (n int64) {
	for _, b := range v {
		n += int64(len(b))
	}
	return n
}

// oneCall is how many of n bytes go into one call.
func oneCall(n int64) int {
	if n > rawMax+rawRest {
		return rawMax
	}
	return int(n)
}

func result(n uintptr, errno syscall.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
