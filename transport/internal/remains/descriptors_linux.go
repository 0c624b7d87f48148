package remains

import (
	"os"
	"strconv"
)

// Descriptors maps the descriptors of this process to the names of their files.
func Descriptors() map[int]string {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	open := make(map[int]string, len(entries))
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// fails for ReadDir's own descriptor, which is closed
		if target, err := os.Readlink(dir + "/" + e.Name()); err == nil {
			open[fd] = target
		}
	}
	return open
}
