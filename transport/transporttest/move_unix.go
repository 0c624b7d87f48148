//go:build unix

package transporttest

import "syscall"

const canDuplicate = true

func duplicate(fd int) (int, error) {
	syscall.ForkLock.RLock() // no child may inherit dup before it is close-on-exec
	defer syscall.ForkLock.RUnlock()
	dup, err := syscall.Dup(fd)
	if err == nil {
		syscall.CloseOnExec(dup)
	}
	return dup, err
}

func closeDescriptor(fd int) { _ = syscall.Close(fd) }

// A file identifies the file that a descriptor refers to.
type file struct{ dev, ino uint64 }

func fileOf(fd int) (file, error) {
	var st syscall.Stat_t
	err := syscall.Fstat(fd, &st)
	return file{uint64(st.Dev), uint64(st.Ino)}, err
}
