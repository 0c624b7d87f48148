// Package leak finds what tests leave behind: goroutines, and descriptors of the process.
//
// What is left is looked for with patience: a goroutine that has done its work may still be on its
// way out, and on a machine that is busy that takes a while. Only what stays is a leak.
package leak

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines and descriptors may take to go away.
const patience = 20 * time.Second

// Tests runs the tests of a package: a *testing.M, or one that also cleans up after the tests.
type Tests interface{ Run() (code int) }

// Then is m and what cleans up after it, in this order.
func Then(m Tests, cleanUps ...func()) Tests { return then{m, cleanUps} }

type then struct {
	m        Tests
	cleanUps []func()
}

func (t then) Run() (code int) {
	code = t.m.Run()
	for _, cleanUp := range t.cleanUps {
		cleanUp()
	}
	return code
}

// Run runs the tests of a package, for its TestMain, and returns the exit code: 1 in place of 0 if
// a goroutine or a descriptor is left behind. others are goroutines that may be left: those of a
// library's fault.
func Run(m Tests, others ...goleak.Option) (code int) {
	heedSignals()
	// the runtime's poller is made now, and stays
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	before := Descriptors()
	if code = m.Run(); code != 0 {
		return code
	}
	if err := goroutines(others...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if left := stay(before); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "descriptors left open:", left)
		for _, l := range left {
			fd, _, _ := strings.Cut(l, " ")
			fmt.Fprintln(os.Stderr, "descriptor "+fd+":", ends(fd))
		}
		for range 2 { // the first one finds what is to be finalized
			runtime.GC()
			time.Sleep(100 * time.Millisecond)
		}
		fmt.Fprintln(os.Stderr, "of these a garbage collection has left:", Left(before))
		code = 1
	}
	return code
}

// runtimes is a goroutine of the runtime itself where it gets events from JavaScript.
var runtimes = goleak.IgnoreAnyFunction("runtime.handleEvent")

// goroutines gives an error that shows the goroutines that stay.
func goroutines(others ...goleak.Option) (err error) {
	for end := time.Now().Add(patience); ; {
		if err = goleak.Find(append(others, runtimes)...); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// stay gives the descriptors that are open now, were not before, and stay.
func stay(before map[string]string) (left []string) {
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if left = Left(before); len(left) == 0 || time.Now().After(end) {
			return left
		}
	}
}

// Descriptors lists what this process has open, by number, and what each of them stands for. It is
// empty where the system does not tell.
func Descriptors() map[string]string {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	open := map[string]string{}
	for _, e := range entries {
		// that of ReadDir is closed by now
		if target, err := os.Readlink(dir + "/" + e.Name()); err == nil {
			open[e.Name()] = target
		}
	}
	return open
}

// Polls counts the epoll descriptors of this process, besides the one that the runtime has as soon
// as anything waits. It is 0 where the system does not list descriptors, or has no epoll.
func Polls() (n int) {
	for _, target := range Descriptors() {
		if target == "anon_inode:[eventpoll]" {
			n++
		}
	}
	return max(n-1, 0)
}

// Left lists the descriptors that are open at this moment and were not before.
func Left(before map[string]string) (left []string) {
	for fd, target := range Descriptors() {
		if before[fd] != target {
			left = append(left, fd+" -> "+target)
		}
	}
	slices.Sort(left)
	return left
}
