package nodes

import (
	"context"
	"errors"
	"slices"

	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// Why a state could not be read; wrapped in a *StateError.
var (
	// ErrState: the bytes are not a state, or not one of this kind.
	ErrState = form.ErrMalformed
	// ErrStateFormat: the state has a format that this version does not know.
	ErrStateFormat = form.ErrFormat
	// ErrStateField: the state has a field that must be understood, and that this version does not
	// know.
	ErrStateField = form.ErrField
)

// A StateError says where in a state something is wrong.
type StateError struct {
	Path string // "connection 3, field 13"
	Err  error  // wraps ErrState, ErrStateFormat or ErrStateField
}

// Error says where and what.
func (e *StateError) Error() string { return (*form.Error)(e).Error() }

// Unwrap gives what is wrong.
func (e *StateError) Unwrap() error { return e.Err }

// writeState encodes a whole state of some kind, until ctx ends.
func writeState(ctx context.Context, kind byte, d form.Describer) ([]byte, error) {
	b, err := form.Write(ctx.Err, kind, d)
	return b, stateError(err)
}

// readState decodes what writeState returns. Nothing of b is kept, except where a field says so.
func readState(kind byte, b []byte, d form.Describer) error {
	return stateError(form.Read(kind, b, d))
}

// stateError turns an error of package form into the type that callers know.
func stateError(err error) error {
	if e := (*form.Error)(nil); errors.As(err, &e) {
		return (*StateError)(e)
	}
	return err
}

// StateFeatures names what Restore, RestoreFront and Stage understand beyond the first version of a
// state: for Terms.Know of a handoff.Acceptance.
func StateFeatures() []string { return states.Known() }

// StateFeatures names those of the function StateFeatures' features that the node's state needs at
// present: Needs of its Offer. A program that does not know them then refuses before anything
// stops, rather than when it reads the state.
func (n *Node) StateFeatures() (needs []string) {
	if slices.ContainsFunc(n.procs.all(), (*Mailbox).monitorsNodes) {
		needs = append(needs, states.FeatureNodes)
	}
	if slices.ContainsFunc(n.Listeners(), func(l *Listener) bool { c, _ := n.transportIDOf(l.tr); return c.Place > 0 }) {
		needs = append(needs, states.FeatureTransports)
	}
	return needs
}

func (b *Mailbox) monitorsNodes() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.nodeTypes != 0
}

// StateFeatures is Node.StateFeatures for the front's node.
func (f *Front) StateFeatures() []string { return f.n.StateFeatures() }

// needs are the features that a worker's state needs, among them those that only workers know.
func (w *Worker) needs() []string {
	needs := w.n.StateFeatures()
	if len(w.p.awaitsNext()) > 0 {
		needs = append(needs, states.FeatureWays)
	}
	return needs
}
