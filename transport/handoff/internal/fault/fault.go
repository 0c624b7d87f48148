// Package fault makes the errors of package handoff and of the carriers below it, which look alike.
package fault

import (
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/transport"
)

// ErrMalformed is handoff.ErrMalformed.
var ErrMalformed = errors.New("handoff: malformed message")

// Failed makes the error of an operation that has failed with a peer; nil stays nil.
func Failed(op string, peer transport.Addr, err error) error {
	if err == nil {
		return nil
	}
	return &transport.OpError{Op: op, Addr: peer, Err: err}
}

// Cause removes what Failed of a lower level has added.
func Cause(err error) error {
	if op, ok := err.(*transport.OpError); ok {
		return op.Err
	}
	return err
}

// Malformed makes the error for a message that does not follow a carrier's format.
func Malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}
