//go:build unix

package transporttest

import "syscall"

const canDuplicate = true

func duplicate(fd int) (int, error) {
	syscall.ForkLock.RLock() // no child may get it before it is close-on-exec
	defer syscall.ForkLock.RUnlock()
	dup, err := syscall.Dup(fd)
	if err == nil {
		syscall.CloseOnExec(dup)
	}
	return dup, err
}

func closeDescriptor(fd int) { _ = syscall.Close(fd) }
