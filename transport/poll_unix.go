//go:build unix

package transport

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	canWait        = true
	defaultBacklog = 4096
)

// A sleeper waits on a duplicate of a plug-in's descriptor. The duplicate belongs to the Go poller; closing it ends the waits and
// waits for a running callback, and the plug-in's own number is closed only after that, so no reused number is ever read.
type sleeper struct {
	file    *os.File
	raw     syscall.RawConn
	in, out direction
}

func newSleeper(fd int) (*sleeper, error) {
	dup, err := dupFD(fd)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(dup), "socket")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	if err := file.SetDeadline(time.Time{}); err != nil { // os.ErrNoDeadline: the poller has not taken it, and does not say why
		defer file.Close()
		if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err == nil { // a socket, which the poller takes if it can
			if mayWait(fd) { // os.NewFile has not even tried
				return nil, contractError("GetFD", "descriptor %d has been put into blocking mode", fd)
			}
			return nil, os.NewSyscallError("poll", unix.ENOMEM) // or ENOSPC: memory, or watches, have run out
		}
		return nil, contractError("GetFD", "descriptor %d cannot be waited on: %v", fd, err)
	}
	w := &sleeper{file: file, raw: raw}
	w.in.at, w.out.at, w.out.writes = w, w, true
	return w, nil
}

func (w *sleeper) park(writing bool, ready func(uintptr) bool) error {
	if writing {
		return w.raw.Write(ready)
	}
	return w.raw.Read(ready)
}

func (w *sleeper) deadline(writing bool, t time.Time) error {
	if writing {
		return w.file.SetWriteDeadline(t)
	}
	return w.file.SetReadDeadline(t)
}

func (w *sleeper) close() {
	w.in.forget()
	w.out.forget()
	w.file.Close()
}

func (w *sleeper) reading() *direction              { return &w.in }
func (w *sleeper) writing() *direction              { return &w.out }
func (w *sleeper) rawConn() syscall.RawConn         { return w.raw }
func (w *sleeper) prepare(bool) error               { return nil } // the duplicate is all it needs
func (w *sleeper) look(bool) bool                   { return false }
func (w *sleeper) lookAway(bool)                    {}
func (w *sleeper) sit(bool, *seats) bool            { return false }
func (w *sleeper) doze(time.Duration, *atomic.Bool) {}
func (w *sleeper) stir()                            {}

// connected waits until a connect that is in progress has ended, and returns its result.
func (w *sleeper) connected(ctx context.Context) (result error) {
	done := false
	check := func(fd uintptr) bool { done, result = connectResult(int(fd)); return done }
	if IsNoWait(ctx) {
		if err := w.raw.Write(func(fd uintptr) bool { check(fd); return true }); err != nil {
			return err
		}
		if !done {
			return os.ErrDeadlineExceeded
		}
		return result
	}
	if err := w.out.parkUnder(ctx, check); err != nil {
		return err
	}
	return result
}

// connectResult asks how a connect has ended, if it has.
func connectResult(fd int) (done bool, err error) {
	if hasPeer(fd) {
		return true, nil
	}
	errno, err := getOption(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return true, os.NewSyscallError("getsockopt SO_ERROR", err)
	}
	switch e := syscall.Errno(errno); e {
	case syscall.EINPROGRESS, syscall.EALREADY, syscall.EINTR:
		return false, nil
	case 0: // it has ended just now, or this is a spurious wake-up
		return hasPeer(fd), nil
	default:
		return true, e
	}
}

// setNonblock puts fd into non-blocking mode. A fresh socket, of this package's own plug-ins, has no other flags to keep.
func setNonblock(fd int, fresh bool) (err error) {
	flags := unix.O_RDWR
	if !fresh {
		if flags, err = fcntlFD(fd, unix.F_GETFL, 0); err == nil && flags&unix.O_NONBLOCK != 0 {
			return nil
		}
	}
	if err == nil {
		_, err = fcntlFD(fd, unix.F_SETFL, flags|unix.O_NONBLOCK)
	}
	return os.NewSyscallError("fcntl O_NONBLOCK", err)
}

func isDescriptor(fd int) bool {
	if fd < 0 {
		return false
	}
	_, err := fcntlFD(fd, unix.F_GETFD, 0)
	return err == nil
}

// kernelPending counts the bytes that the kernel holds for reading.
func kernelPending(raw syscall.RawConn) (n int, err error) {
	cerr := raw.Control(func(fd uintptr) { n, err = readable(int(fd)) })
	return n, errors.Join(cerr, err)
}

// socketError returns the error of a connection that has failed, which the system tells once. It
// first asks whether there is one: SO_ERROR alone also tells of what TCP may get over (an ICMP
// message, say).
func socketError(fd int) error {
	if !hasEvent(fd, failedEvents) {
		return nil
	}
	errno, err := getOption(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || errno == 0 { // no socket, or another call has just been told
		return nil
	}
	return syscall.Errno(errno)
}

// hasEvent reports whether one of these events is there.
func hasEvent(fd int, events int16) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(p, 0)
		if err != unix.EINTR {
			return err == nil && n > 0 && p[0].Revents&events != 0
		}
	}
}

// shutdown ends a blocked call of a FullImpl plug-in that has no Interrupt.
func shutdown(fd int) { _ = unix.Shutdown(fd, unix.SHUT_RDWR) }
