// Package remains finds descriptors that were opened and stay, for suites that look for leaks.
package remains

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// Descriptors maps the descriptors of this process to the names of their files, which on systems
// other than Linux tell only the number; nil if descriptors cannot be listed.
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
		fd, err := strconv.Atoi(name)
		if err != nil || uintptr(fd) == dir.Fd() {
			continue
		}
		if open[fd], err = os.Readlink("/dev/fd/" + name); err != nil {
			open[fd] = "descriptor " + name
		}
	}
	return open
}

// Stay waits up to so long for a batch of which less than enough is left, and reports whether
// none has become one; sample is an example then.
func Stay(batches []func() (int, string), enough int, within time.Duration) (sample string, stays bool) {
	for end, pause := time.Now().Add(within), 20*time.Millisecond; ; pause *= 2 { // to look costs time
		for _, left := range batches {
			n, one := left()
			if n < enough {
				return "", false
			}
			sample = one
		}
		if time.Now().After(end) {
			return sample, true
		}
		time.Sleep(min(pause, time.Until(end)+1))
	}
}

// Fresh returns a function that counts the descriptors that have come since and were
// there at each of its calls.
func Fresh() (left func() (int, string)) {
	before := Descriptors()
	var fresh map[int]string
	return func() (int, string) {
		now := Descriptors()
		if fresh == nil {
			fresh = now
		}
		sample := ""
		for fd, target := range fresh {
			if now[fd] != target || before[fd] == target {
				delete(fresh, fd)
			} else {
				sample = fmt.Sprintf("%d (%s)", fd, target)
			}
		}
		return len(fresh), sample
	}
}
