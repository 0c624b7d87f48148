package party

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Hit sends a signal to the calling thread, so that Hit does not return before the signal has its
// effect on the process.
func Hit(s syscall.Signal) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), s)
}
