package form

import (
	"errors"

	"github.com/cnode-go/cnode/transport/handoff"
)

// Why a state could not be read; wrapped in an *Error.
var (
	// ErrMalformed: the bytes are not a state, or not one of this kind.
	ErrMalformed = errors.New("nodes: malformed state")
	// ErrFormat: the state has a format, or a field that must be understood, that this version does
	// not know.
	ErrFormat error = unknown("unknown format of state")
)

// unknown is an error that is handoff.ErrUnknown, by which a hand-off recognises it, on the other
// side, too.
type unknown string

func (e unknown) Error() string        { return string(e) }
func (e unknown) Is(target error) bool { return target == handoff.ErrUnknown }

// An Error says where in a state something is wrong.
type Error struct {
	Path string // "connection 3, field 13"
	Err  error  // wraps ErrMalformed or ErrFormat
}

// At is an error of what a value says, which was read well.
func At(path string, err error) error { return &Error{path, err} }

// Error says where and what.
func (e *Error) Error() string {
	if e.Path == "" {
		return "state: " + e.Err.Error()
	}
	return "state: " + e.Path + ": " + e.Err.Error()
}

// Unwrap gives what is wrong.
func (e *Error) Unwrap() error { return e.Err }
