package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"

	"github.com/cnode-go/cnode/transport/handoff"
)

// ErrNobody: nothing listens at the control socket.
var ErrNobody = errors.New("no program listens at the control socket")

// ErrUnsaid: the outcome is not known. The upgrade may still be going on, or be done.
var ErrUnsaid = errors.New("did not report the outcome of the upgrade")

// ErrSilent: the new process has taken the node over, and has died since, or hangs. There is no way
// back.
var ErrSilent = errors.New("has taken over the node, but has not reported that it runs")

// An Asked is what Ask has learnt.
type Asked struct {
	Old, New int  // the processes; 0: not known, or there is none
	Workers  bool // the new process goes on with upgrading its workers: see AskWorkers
}

// An AskError says why Ask has failed.
type AskError struct {
	Control string // the control socket
	Asked
	Err error
}

// Error names the control socket, and the processes as far as they are known.
func (e *AskError) Error() string {
	var refused *handoff.RefusedError
	switch {
	case errors.As(e.Err, &refused):
		return fmt.Sprintf("ask %s for an upgrade: process %d serves on: %s", e.Control, e.Old, refused.Reason)
	case e.New > 0:
		return fmt.Sprintf("ask %s for an upgrade: process %d, after process %d: %v", e.Control, e.New, e.Old, e.Err)
	case e.Old > 0:
		return fmt.Sprintf("ask %s for an upgrade: process %d: %v", e.Control, e.Old, e.Err)
	}
	return fmt.Sprintf("ask %s for an upgrade: %v", e.Control, e.Err)
}

// Unwrap is the reason.
func (e *AskError) Unwrap() error { return e.Err }

// Ask asks the program that listens at a control socket (Upgrader.Control) to upgrade, as the
// command of an operator does, and waits until it is over. program, if not "", is the path of the
// program to start; the arguments stay. The error is an *AskError:
//
//   - ErrNobody: there is no such program;
//   - a *handoff.RefusedError: the old process serves on, for this reason;
//   - ErrEnds: the old process ends, and so does the node;
//   - a *handoff.StartError: the new process is the node, but its start has failed;
//   - ErrSilent: the new process is the node, if it lives;
//   - ErrUnsaid: who knows? ctx has ended, or the old process has.
//
// The steps of an upgrade have time limits of their own: 90 s are enough for ctx.
func Ask(ctx context.Context, control, program string) (Asked, error) {
	ch, err := dial(ctx, control)
	if err != nil {
		return Asked{}, &AskError{Control: control, Err: err}
	}
	defer ch.Close()
	words, err := ch.Ask(ctx, askUpgrade, program)
	a := Asked{Old: ch.Peer().PID}
	var refused *handoff.RefusedError
	if err != nil && !errors.As(err, &refused) {
		err = fmt.Errorf("%w: %w", ErrUnsaid, err)
	}
	if err == nil {
		err = a.read(words)
	}
	if err != nil {
		return a, &AskError{control, a, err}
	}
	return a, nil
}

// read takes the answer.
func (a *Asked) read(words []string) error {
	if len(words) == 1 && words[0] == answerEnds {
		return ErrEnds
	}
	if len(words) < 3 {
		return fmt.Errorf("has answered %q", words)
	}
	old, err1 := strconv.Atoi(words[1])
	next, err2 := strconv.Atoi(words[2])
	if errors.Join(err1, err2) != nil {
		return fmt.Errorf("has answered %q", words)
	}
	a.Old, a.New = old, next
	reason := strings.Join(words[3:], " ")
	switch words[0] {
	case answerUpgraded:
		a.Workers = reason == askWorkers
		return nil
	case answerTroubled:
		return &handoff.StartError{Reason: reason}
	case answerSilent:
		return fmt.Errorf("%w: %s", ErrSilent, reason)
	}
	return fmt.Errorf("has answered %q", words)
}

// A WorkersError says which workers are not upgraded, and serve on in their old processes.
type WorkersError struct {
	Failures []string // each names a worker, and the reason
}

// Error has a line for each of them.
func (e *WorkersError) Error() string {
	return "not all workers are upgraded:\n" + strings.Join(e.Failures, "\n")
}

// AskWorkers waits for the upgrade of the workers that follows that of their front, after an Ask
// with Asked.Workers. Some are not upgraded if the error is a *WorkersError; any other one says
// that the outcome is not known: they are upgraded one after the other, which may still be going
// on.
func AskWorkers(ctx context.Context, control string) error {
	ch, err := dial(ctx, control)
	if err != nil {
		return err
	}
	words, err := ch.Ask(ctx, askWorkers)
	switch err = errors.Join(err, ch.Close()); {
	case err != nil:
		return err
	case len(words) == 0 || words[0] != askWorkers:
		return fmt.Errorf("process %d has answered %q when it was asked about its workers", ch.Peer().PID, words)
	case len(words) > 1:
		return &WorkersError{words[1:]}
	}
	return nil
}

// dial connects to the process that has a control socket.
func dial(ctx context.Context, control string) (*handoff.Channel, error) {
	ch, err := handoff.ConnectControl(ctx, control)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w: %w", ErrNobody, err)
	}
	return ch, err
}
