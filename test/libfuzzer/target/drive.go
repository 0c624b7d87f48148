//go:build libfuzzer

// What package testing wants of its deps may grow with a release of Go. Nothing but these targets
// is to fail to build then: hence the build tag.

package target

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"
	"time"
)

type entry = struct {
	Parent     string
	Path       string
	Data       []byte
	Values     []any
	Generation int
	IsSeed     bool
}

// driven is what package testing runs in, in place of the go command's: first as the coordinator,
// which learns the types of the parameters and the seeds, then as a worker, which gets its inputs
// from libFuzzer.
type driven struct {
	types  []reflect.Type
	seeds  [][]byte
	inputs chan []byte
	failed chan error
}

var running *driven

// All are the functions, which the program's package main gives.
var All []testing.InternalFuzzTarget

// fuzz gives the function of that name one input, and panics if it finds a fault. At the first
// input the function prepares itself, in the directory dir beside the program.
func fuzz(name, dir string, input []byte) {
	if running == nil {
		running = start(name, dir)
	}
	running.inputs <- input
	if err := <-running.failed; err != nil {
		panic(err)
	}
}

func start(name, dir string) *driven {
	program, err := os.Executable()
	fatal(err)
	back, err := os.Getwd()
	fatal(err)
	if os.Chdir(filepath.Join(filepath.Dir(program), dir)) == nil { // else it is on its own, and has no seeds
		defer func() { fatal(os.Chdir(back)) }()
	}
	d := &driven{inputs: make(chan []byte), failed: make(chan error)}
	m := testing.MainStart(d, nil, nil, All, nil)
	// the command line is libFuzzer's
	fatal(flag.CommandLine.Parse([]string{"-test.run=^$", "-test.fuzz=^" + name + "$", "-test.fuzzcachedir=" + os.DevNull}))
	if m.Run() != 0 {
		fatal(fmt.Errorf("%s cannot be prepared", name))
	}
	if to := os.Getenv(SeedsVariable); to != "" {
		for _, seed := range d.seeds {
			fatal(os.WriteFile(filepath.Join(to, fmt.Sprintf("%x", sha256.Sum256(seed))[:16]), seed, 0o600))
		}
		os.Exit(0)
	}
	fatal(flag.Set("test.fuzzworker", "true"))
	go func() {
		m.Run()
		fatal(fmt.Errorf("%s has ended", name))
	}()
	d.inputs <- nil // when it takes this one, it is prepared
	<-d.failed
	return d
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (d *driven) CoordinateFuzzing(
	_ time.Duration, _ int64, _ time.Duration, _ int64, _ int, seeds []entry, types []reflect.Type, _, _ string,
) error {
	d.types = types
	for _, e := range seeds {
		if e.Values != nil { // those of files have Data
			e.Data = input(e.Values)
		}
		d.seeds = append(d.seeds, e.Data)
	}
	return nil
}

func (d *driven) RunFuzzWorker(fuzz func(entry) error) error {
	for b := range d.inputs {
		d.failed <- fuzz(entry{Values: values(b, d.types)})
	}
	return nil
}

func (d *driven) ReadCorpus(dir string, types []reflect.Type) ([]entry, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var all []entry
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		parameters, err := parse(string(text), types)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		all = append(all, entry{Path: f.Name(), Data: input(parameters)})
	}
	return all, err
}

func (*driven) CheckCorpus(parameters []any, types []reflect.Type) error {
	if len(parameters) != len(types) {
		return fmt.Errorf("a seed of %d parameters for %d", len(parameters), len(types))
	}
	for i, p := range parameters {
		if reflect.TypeOf(p) != types[i] {
			return fmt.Errorf("a seed has a %T for a %s", p, types[i])
		}
	}
	return nil
}

func (*driven) MatchString(pattern, s string) (bool, error) { return regexp.MatchString(pattern, s) }

func (*driven) InitRuntimeCoverage() (string, func(string, string) (string, error), func() float64) {
	return "", nil, nil
}
func (*driven) ImportPath() string                          { return "" }
func (*driven) ModulePath() string                          { return "" }
func (*driven) SetPanicOnExit0(bool)                        {}
func (*driven) StartCPUProfile(io.Writer) error             { return nil }
func (*driven) StopCPUProfile()                             {}
func (*driven) StartTestLog(io.Writer)                      {}
func (*driven) StopTestLog() error                          { return nil }
func (*driven) WriteProfileTo(string, io.Writer, int) error { return nil }
func (*driven) ResetCoverage()                              {}
func (*driven) SnapshotCoverage()                           {}
