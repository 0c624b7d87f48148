package process

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A handle is a pidfd: readable when the process has ended, whether or not it is a child.
type handle struct {
	mu sync.Mutex
	f  *os.File
	fd int
}

func (h *handle) open(pid int) {
	if fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK); err == nil {
		h.f, h.fd = os.NewFile(uintptr(fd), "process"), fd
	}
}

// IsHandle tells whether a descriptor is what Descriptor returns: a pidfd. It need not be that of a
// process that still runs.
func IsHandle(fd int) bool { return unix.PidfdSendSignal(fd, 0, nil, 0) != unix.EBADF }

func (h *handle) adopt(fd int) {
	if fd < 0 {
		return
	}
	_ = unix.SetNonblock(fd, true) // it is already, as a rule; otherwise wait would occupy a thread
	h.f, h.fd = os.NewFile(uintptr(fd), "process"), fd
}

func (h *handle) there() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.f != nil
}

func (h *handle) descriptor() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.f == nil {
		return -1
	}
	return h.fd
}

// wait waits until the process has ended; false if the handle was closed before, or does not tell.
func (h *handle) wait() bool {
	h.mu.Lock()
	f := h.f
	h.mu.Unlock()
	if f == nil {
		return false
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	ended := false
	err = raw.Read(func(fd uintptr) bool {
		ready, err := readable(int(fd))
		ended = ready && err == nil
		return ended || err != nil // which would come again, and the event of the end comes once
	})
	return ended && err == nil
}

// readable asks whether there is something to read.
func readable(fd int) (bool, error) {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if err != unix.EINTR {
			return n == 1, err
		}
	}
}

func (h *handle) kill() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.f != nil {
		_ = unix.PidfdSendSignal(h.fd, unix.SIGKILL, nil, 0)
	}
}

func (h *handle) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.f != nil {
		_ = h.f.Close()
		h.f = nil
	}
}

func signalProcess(pid int, s unix.Signal) error { return unix.Kill(pid, s) }

func killProcess(pid int) error { return unix.Kill(pid, unix.SIGKILL) }
