//go:build !linux

package transporttest

import (
	"os"
	"strconv"
)

func nonblocking(int) (on, ok bool)  { return false, false }
func closesOnExec(int) (on, ok bool) { return false, false }

// openDescriptors maps the descriptors of this process to what they stand for, as far as it can be told; nil where it cannot.
func openDescriptors() map[int]string {
	dir, err := os.Open("/dev/fd")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	open := make(map[int]string, len(names))
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil && uintptr(fd) != dir.Fd() {
			open[fd] = "descriptor " + name
		}
	}
	return open
}
