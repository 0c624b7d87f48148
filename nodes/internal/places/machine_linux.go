package places

import (
	"bufio"
	"os"
	"path"
	"strconv"
	"strings"
)

// machineMemory is the machine's memory in bytes, or the limit of this process's control group if
// that is less; 0: unknown. See proc_meminfo(5) and cgroups(7).
func machineMemory() (bytes int64) {
	for _, line := range lines("/proc/meminfo") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" && f[2] == "kB" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			bytes = n << 10
		}
	}
	for _, limit := range groupLimits() {
		if limit > 0 && (bytes == 0 || limit < bytes) {
			bytes = limit
		}
	}
	return bytes
}

// groupLimits gives the limits of the groups that this process is in, and of those around them, as
// far as they can be seen from here.
func groupLimits() (limits []int64) {
	for _, line := range lines("/proc/self/cgroup") { // hierarchy:controllers:path
		f := strings.SplitN(line, ":", 3)
		if len(f) != 3 {
			continue
		}
		root, file := "/sys/fs/cgroup", "memory.max"
		switch f[1] {
		case "":
		case "memory": // version 1
			root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for dir := path.Clean("/" + f[2]); ; dir = path.Dir(dir) {
			for _, line := range lines(path.Join(root, dir, file)) {
				n, _ := strconv.ParseInt(line, 10, 64) // "max" is none
				limits = append(limits, n)
			}
			if dir == "/" {
				break
			}
		}
	}
	return limits
}

func lines(file string) (all []string) {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		all = append(all, strings.TrimSpace(s.Text()))
	}
	return all
}
