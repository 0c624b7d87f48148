// Package profile records what a program of the benchmark spends its processor time on, for
// profile-guided builds: see test/pgo.sh.
package profile

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"
)

// Directory names the variable of the environment with the directory for profiles.
const Directory = "CNODE_BENCH_PROFILE"

// period is how much of a profile is lost when the program is killed: it is written at its end.
const period = 2 * time.Second

// Start records profiles of the processor, a file for each period, until stop is called. It does
// nothing without a directory.
func Start() (stop func(), err error) {
	dir := os.Getenv(Directory)
	if dir == "" {
		return func() {}, nil
	}
	file, err := begin(dir, 0)
	if err != nil {
		return nil, err
	}
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(period)
		defer tick.Stop()
		for i := 1; err == nil; i++ {
			select {
			case <-tick.C:
				end(file)
				file, err = begin(dir, i)
			case <-ended:
				end(file)
				return
			}
		}
		fmt.Fprintln(os.Stderr, "profile:", err)
	}()
	return func() { close(ended); <-done }, nil
}

func begin(dir string, i int) (*os.File, error) {
	file, err := os.Create(filepath.Join(dir, fmt.Sprintf("%d-%d", os.Getpid(), i)))
	if err == nil {
		err = pprof.StartCPUProfile(file)
	}
	return file, err
}

func end(file *os.File) {
	pprof.StopCPUProfile()
	_ = file.Close()
}
