package party

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Stopped tells whether a process stands still by SIGSTOP.
func Stopped(pid int) bool { return state(pid) == 'T' }

// Ended tells whether a process has ended. One that nobody has waited for has.
func Ended(pid int) bool { s := state(pid); return s == 0 || s == 'Z' || s == 'X' }

func state(pid int) byte {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, ok := strings.Cut(string(text), ") ")
	if err != nil || !ok || rest == "" {
		return 0
	}
	return rest[0]
}

// Marked lists the processes that live and were started with something in their environment.
func Marked(variable string) (list []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		text, err := os.ReadFile(path) // it may have ended, or be somebody else's
		if err != nil || !bytes.Contains(append([]byte{0}, text...), []byte("\x00"+variable+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && !Ended(pid) {
			list = append(list, pid)
		}
	}
	return list
}

// Open lists what a process has open, as the system names it, except that by which it waits for other things.
func Open(pid int) (list []string) {
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, path := range paths {
		if target, err := os.Readlink(path); err == nil && target != "anon_inode:[eventpoll]" && target != "anon_inode:[eventfd]" {
			list = append(list, target)
		}
	}
	return list
}
