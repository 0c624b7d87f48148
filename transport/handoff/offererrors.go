package handoff

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrBusy says that another hand-off is going on.
	ErrBusy = errors.New("another hand-off is going on")
	// ErrVersion says that the two sides have no version of the protocol in common.
	ErrVersion = errors.New("no version of the hand-off protocol in common")
	// ErrUnknown says that one side needs something that the other side does not know: a plug-in, a
	// feature, a field that must not be skipped.
	ErrUnknown = errors.New("needed by one process and not supported by the other")
	// ErrOther says that the two sides want to hand over different things: nodes of different
	// names, say.
	ErrOther = errors.New("a hand-off of something else")
	// ErrLimit says that there are more descriptors, or more bytes of state, than the new owner takes.
	ErrLimit = errors.New("more than the new owner takes")
	// ErrLeft says that the other side is gone: its process has ended, or closed the channel.
	ErrLeft = errors.New("the other side of the hand-off has left")
	// ErrNotTaken says that the new owner has not read the token, and owns nothing.
	ErrNotTaken = errors.New("the new owner has not taken over")
)

// lastWordLimit bounds the search for a refusal among the messages that the other side has left.
const lastWordLimit = 100 * time.Millisecond

const (
	oldOwner = "old owner"
	newOwner = "new owner"
)

// StepTake is the last step but one: the new owner has the token, and owns everything; its report
// that it runs is due.
const StepTake = "take"

// The other steps, in order; StepTake is before the last.
const (
	stepHello   = "hello"
	stepStatic  = "pre-copy"
	stepFreeze  = "freeze"
	stepOffer   = "offer"
	stepStage   = "stage"
	stepAccept  = "accept"
	stepCommit  = "commit"
	stepRelease = "release"
)

// An Error says how a hand-off has failed: which side reports it, at which step, and which
// process is at the other end.
type Error struct {
	Side string // "old owner" or "new owner"
	Step string // hello, pre-copy, freeze, offer, stage, accept, commit, take or release
	Peer Cred   // its PID is -1 while it is unknown
	Owns bool   // on the new owner's side: it is the owner all the same
	Err  error
}

// Error names the side, the step, the other process and the reason.
func (e *Error) Error() string {
	return fmt.Sprintf("hand-off, %s, step %s, with %s: %v", e.Side, e.Step, processName(e.Peer), e.Err)
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

func processName(c Cred) string {
	if c.PID <= 0 {
		return "an unknown process"
	}
	return fmt.Sprintf("process %d", c.PID)
}

// A RefusedError says that the other side has refused, and why. errors.Is recognises ErrBusy,
// ErrVersion, ErrUnknown, ErrOther, ErrLimit and ErrForbidden.
type RefusedError struct {
	Step   string // the step at which the other side refused
	Reason string
	Err    error // one of the errors above; nil: another reason
}

// Error names the step and the other side's reason.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("refused by the other side at %s: %s", e.Step, e.Reason)
}

// Unwrap gives Err.
func (e *RefusedError) Unwrap() error { return e.Err }

// A StartError says that the new owner has everything, and that its Start has failed. Whether it
// serves all the same, its own log tells. errors.Is recognises the errors that it recognises of a
// RefusedError.
type StartError struct {
	Reason string
	Err    error // nil: another reason
}

// Error names the other side's reason.
func (e *StartError) Error() string {
	return "the new process owns everything, and its start has failed: " + e.Reason
}

// Unwrap gives Err.
func (e *StartError) Unwrap() error { return e.Err }

// refusals are the reasons that are sent as a number, their index; 0 is any other reason.
var refusals = [...]error{nil, ErrBusy, ErrVersion, ErrUnknown, ErrOther, ErrLimit, ErrForbidden}
