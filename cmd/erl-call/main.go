// Command erl-call does what C's erl_call does, with the same options, output and exit codes: it
// calls functions of an Erlang node, evaluates expressions there, loads modules, and starts or
// halts the node. It is one program without C or Erlang beside it, and it can do what erl_call
// cannot: speak TLS, reach nodes over IPv6, and take any Erlang term as an argument.
//
// See the manual page erl_call(1) for the options, and docs/reference/libei.md for what differs.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/cnode-go/cnode/ei"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// The exit codes of erl_call.
const (
	exitOK      = 0
	exitFailure = 1
	exitCall    = 255 // -a: arguments that are no terms, or a call whose connection ended
	exitTime    = 142 // -timeout: 128 + SIGALRM, what a shell says of a program which that signal has ended
)

// A failure is an error that has an exit code of its own.
type failure struct {
	error
	code int
}

func (f *failure) Unwrap() error { return f.error }

// run does what the arguments ask for, and returns the exit code.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	o, err := parseOptions(args)
	if err != nil {
		if err == errHelp {
			return usage(out, errUsage)
		}
		if err == errVersion {
			if _, err := fmt.Fprintln(out, "erl-call version", version()); err != nil {
				fmt.Fprintf(errOut, "erl-call: %v\n", err)
				return exitFailure
			}
			return exitOK
		}
		return usage(errOut, err)
	}
	ctx := context.Background()
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	done := make(chan error, 1)
	printed := &output{to: out}
	// Reading the standard input heeds no context.
	go func() { done <- o.do(ctx, in, printed, errOut) }()
	select {
	case err = <-done:
		if err == nil {
			err = printed.err
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	if ctx.Err() != nil && err != nil {
		if isTerminal(errOut) { // erl_call dies without a word, and a shell says "Alarm clock"
			fmt.Fprintf(errOut, "erl-call: not done within %v (-timeout): %v\n", o.timeout, err)
		}
		return exitTime
	}
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(errOut, "erl-call: %v\n", err)
	var f *failure
	if errors.As(err, &f) {
		return f.code
	}
	return exitFailure
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// version gives the module's version, as the go command has stamped it into the program, and Go's.
func version() string {
	v := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		v = cmp.Or(info.Main.Version, v)
	}
	return v + ", " + runtime.Version()
}

// An output remembers that a write has failed.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if err != nil && o.err == nil {
		o.err = fmt.Errorf("write the result: %w", err)
	}
	return n, err
}

// do does what the options ask for, in the order of erl_call: a module is loaded before expressions
// are evaluated, and these before the call.
func (o *options) do(ctx context.Context, in io.Reader, out, errOut io.Writer) error {
	var source *source
	if o.module {
		var err error
		if source, err = readSource(in); err != nil {
			return err
		}
	}
	s, err := o.connect(ctx, out, errOut)
	if err != nil {
		if o.halt {
			return nil // it does not run, which is what was wanted
		}
		return err
	}
	defer s.close()
	if o.halt {
		// the connection ends before an answer comes
		_, _ = s.call(ctx, "erlang", "halt", nil, leaderUser)
		return nil
	}
	if source != nil {
		if err := s.load(ctx, source); err != nil {
			fmt.Fprintf(errOut, "erl-call: %v\n", err) // and goes on, as erl_call does
		}
	}
	leader := leaderUser
	if o.fetchStdout {
		leader = leaderCaller
	}
	if o.eval {
		text, err := io.ReadAll(in)
		if err != nil {
			return fmt.Errorf("read the standard input: %w", err)
		}
		result, err := s.call(ctx, "erl_eval", "eval_str", ei.List{ei.Binary(text)}, leader)
		if err != nil {
			return fmt.Errorf("evaluate the standard input: %w", err)
		}
		o.print(out, result)
	}
	if o.apply != nil {
		a := o.apply
		o.sayf(errOut, "module = %s, function = %s, args = %s", a.module, a.function, a.text)
		args, err := a.args()
		if err != nil {
			return &failure{err, exitCall}
		}
		result, err := s.call(ctx, a.module, a.function, args, leader)
		if err != nil {
			return &failure{err, exitCall}
		}
		o.print(out, result)
	}
	return nil
}

// print writes a result, without a newline, as erl_call does: scripts cut its text up.
func (o *options) print(out io.Writer, result ei.Term) {
	if !o.noResult {
		_, _ = out.Write(ei.AppendPrinted(nil, result))
	}
}

// sayf tells what happens, with -v or -d.
func (o *options) sayf(errOut io.Writer, format string, args ...any) {
	if o.verbose || o.debug {
		fmt.Fprintf(errOut, "erl-call: "+format+"\n", args...)
	}
}
