//go:build !linux

package remains

import (
	"os"
	"strconv"
)

// Descriptors maps the descriptors of this process to names, which here tell only the number;
// nil if descriptors cannot be listed.
func Descriptors() map[int]string {
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
