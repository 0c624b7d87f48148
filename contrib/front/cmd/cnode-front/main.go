// Command cnode-front accepts clients and keeps their sessions while the workers that serve them
// come and go: see package front and docs/how-to/sessions-that-outlive-a-beam.md.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

// Exit codes, which scripts rely on.
const (
	exitOK     = 0
	exitFailed = 1 // the reason is on the standard error
	exitUsage  = 2 // the command line is wrong; nothing was done
)

func main() {
	ctx, stop := untilSignal()
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program: the exit code for a command line.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(errOut)
	err := cmd.ExecuteContext(ctx)
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(errOut, "cnode-front: %v\nsee: cnode-front --help\n", err)
		return exitUsage
	}
	fmt.Fprintf(errOut, "cnode-front: %v\n", err)
	return exitFailed
}

// sameSignal is how long further signals count as the first one: timeout(1), and others that signal
// both a process and its group, send it twice.
const sameSignal = 200 * time.Millisecond

// untilSignal gives a context that ends when this process is told to end. A second signal then ends
// the process at once.
func untilSignal() (ctx context.Context, stop func()) {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // else nohup wants it to live on without a terminal
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop = signal.NotifyContext(context.Background(), ends...)
	context.AfterFunc(ctx, func() { time.AfterFunc(sameSignal, stop) })
	return ctx, stop
}

// version gives the module's version, as the go command has stamped it into the program, and Go's.
func version() string {
	v := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		v = cmp.Or(info.Main.Version, v)
	}
	return v + ", " + runtime.Version()
}
