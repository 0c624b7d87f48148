package party

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Hit sends a signal to this process, whose thread does not come back before that has its effect.
func Hit(s syscall.Signal) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), s)
}
