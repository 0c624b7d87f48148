package transport

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain fails when a test leaves a goroutine or a descriptor behind.
func TestMain(m *testing.M) {
	before := openDescriptors()
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		for end := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			left := leftOver(before, openDescriptors())
			if len(left) == 0 {
				break
			}
			if time.Now().After(end) {
				fmt.Fprintln(os.Stderr, "descriptors left open:", left)
				code = 1
				break
			}
		}
	}
	os.Exit(code)
}

// openDescriptors lists what this process has open; nothing where that cannot be told.
func openDescriptors() map[string]string {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	open := map[string]string{}
	for _, e := range entries {
		if target, err := os.Readlink(dir + "/" + e.Name()); err == nil {
			open[e.Name()] = target
		}
	}
	return open
}

// leftOver is what is open now and was not before, the runtime's own poller aside.
func leftOver(before, now map[string]string) (left []string) {
	for fd, target := range now {
		if before[fd] != target && !strings.HasPrefix(target, "anon_inode:") {
			left = append(left, fd+" -> "+target)
		}
	}
	return left
}
