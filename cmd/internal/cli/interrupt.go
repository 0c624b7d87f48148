package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// sameSignal is how long further signals count as the first one: timeout(1), and others that signal
// both a process and its group, send it twice.
const sameSignal = 200 * time.Millisecond

// A signalError says which signal has ended a context.
type signalError struct{ signal os.Signal }

func (e *signalError) Error() string { return fmt.Sprintf("%v: %v", e.signal, context.Canceled) }
func (e *signalError) Unwrap() error { return context.Canceled }

// Ends are the signals that tell this process to end.
func Ends() []os.Signal {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // else nohup wants it to live on without a terminal
		ends = append(ends, syscall.SIGHUP)
	}
	return ends
}

// UntilSignal gives a context that ends when this process is told to end. A second signal then ends
// the process at once.
func UntilSignal() (ctx context.Context, stop func()) {
	told := make(chan os.Signal, 1)
	signal.Notify(told, Ends()...)
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		select {
		case s := <-told:
			cancel(&signalError{s})
			time.AfterFunc(sameSignal, func() { signal.Stop(told) })
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(told); cancel(nil) }
}

// DieOf ends this process as the signal would have done that has interrupted a command: a shell's
// loop then ends, too. It returns if nothing of that kind has happened, or the system has no such
// end.
func DieOf(ctx context.Context, err error) {
	var s *signalError
	if errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &s) {
		DieBy(s.signal)
	}
}

// DieBy ends this process by a signal. It returns where the system has no such end.
func DieBy(s os.Signal) {
	signal.Reset(s)
	endBy(s)
}

// SurvivePipe lets this process live on when nothing reads its standard output or error any more:
// connections depend on it.
func SurvivePipe() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// SurviveTerminal lets this process live on after its terminal has gone. The system also sends
// SIGHUP when the previous process ends while a process of the same job, such as a worker, is
// stopped.
func SurviveTerminal() { signal.Ignore(syscall.SIGHUP) }
