package protocol

import (
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/nodes/dist"
)

// A Fault is one way in which a peer breaks the protocol: to users each of them is dist.ErrFrame.
type Fault string

const (
	// ErrShape: a control message whose tuple does not have the size or the kinds of elements of its
	// operation.
	ErrShape         Fault = "malformed control message"
	ErrNotNegotiated Fault = "frame kind not negotiated" // the flags are not set for it
	// ErrHeader: a distribution header that breaks its layout, or names what is no atom.
	ErrHeader Fault = "malformed distribution header"
	// ErrNotCached: a distribution header that refers to a place in the cache where no atom was put.
	ErrNotCached Fault = "reference to an atom that was never sent"
	// ErrFragmentOrder: a fragment whose number is not one less than the last one's, or 0 in the
	// first; one of a message that has not begun, or has ended; or the first one of a message that is
	// not complete.
	ErrFragmentOrder Fault = "fragment out of order"
	// ErrTooManySequences: more incomplete messages at a time than a node keeps of a peer.
	ErrTooManySequences Fault = "too many incomplete messages"
)

// ErrMessageTooLong: a message that is longer than Config.MaxFrame of package nodes, where it is
// ErrFrameTooLong.
var ErrMessageTooLong = errors.New("message too long")

func (f Fault) Error() string { return string(f) }

// Is makes it dist.ErrFrame.
func (f Fault) Is(target error) bool { return target == dist.ErrFrame }

// FragmentError says which fragment is wrong. The connection cannot be used after it.
type FragmentError struct {
	Sequence uint64 // the id of the message
	Fragment uint64 // the number of the fragment: 1 is the last
	Want     uint64 // with ErrFragmentOrder: the number that was due; 0 if any other than 0 was
	// the limit in force: with ErrTooManySequences a number of messages, with ErrTooMuchIncomplete
	// and ErrMessageTooLong bytes
	Limit int
	Err   error // one of the errors about fragments
}

// Error names the cause and the fragment.
func (e *FragmentError) Error() string {
	text := fmt.Sprintf("%v: fragment %d of sequence %d", e.Err, e.Fragment, e.Sequence)
	switch {
	case e.Err == ErrFragmentOrder && e.Want != 0:
		text += fmt.Sprintf(", %d was due", e.Want)
	case e.Limit != 0:
		text += fmt.Sprintf(", the limit is %d", e.Limit)
	}
	return text
}

// Unwrap gives Err.
func (e *FragmentError) Unwrap() error { return e.Err }
