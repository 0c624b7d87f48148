package transporttest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain fails when the suite leaves a goroutine or a descriptor behind, whatever it was that it tried.
func TestMain(m *testing.M) {
	before := openDescriptors()
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		if left := leftOver(before); len(left) > 0 {
			fmt.Fprintln(os.Stderr, "descriptors left open:", left)
			code = 1
		}
	}
	os.Exit(code)
}

// leftOver waits for descriptors that are open now and were not before to be closed, and gives those that are not.
func leftOver(before map[int]string) (left []string) {
	for end := time.Now().Add(3 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left = nil
		for fd, target := range openDescriptors() {
			if before[fd] != target && target != "anon_inode:[eventpoll]" && target != "anon_inode:[eventfd]" {
				left = append(left, fmt.Sprintf("%d (%s)", fd, target))
			}
		}
		if len(left) == 0 || time.Now().After(end) {
			return left
		}
	}
}
