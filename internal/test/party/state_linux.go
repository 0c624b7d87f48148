package party

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Stopped tells whether a process stands still by SIGSTOP.
func Stopped(pid int) bool { return state(pid) == 'T' }

// Ended tells whether a process has ended. A zombie has.
func Ended(pid int) bool { s := state(pid); return s == 0 || s == 'Z' || s == 'X' }

func state(pid int) byte {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, ok := strings.Cut(string(text), ") ")
	if err != nil || !ok || rest == "" {
		return 0
	}
	return rest[0]
}

// Marked lists the live processes that were started with variable (NAME=VALUE) in their
// environment.
func Marked(variable string) (list []int) {
	for _, name := range names("/proc") {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		// the process may have ended, or be another user's
		text, err := os.ReadFile("/proc/" + name + "/environ")
		if err == nil && bytes.Contains(append([]byte{0}, text...), []byte("\x00"+variable+"\x00")) && !Ended(pid) {
			list = append(list, pid)
		}
	}
	return list
}

// Open lists what a process has open, as the system names it, except the descriptors that only
// serve to wait for others.
func Open(pid int) (list []string) {
	dir := fmt.Sprintf("/proc/%d/fd/", pid)
	for _, name := range names(dir) {
		if target, err := os.Readlink(dir + name); err == nil && target != "anon_inode:[eventpoll]" && target != "anon_inode:[eventfd]" {
			list = append(list, target)
		}
	}
	return list
}

// names lists the names in a directory, which may be gone by now.
func names(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	list, _ := f.Readdirnames(-1)
	return list
}
