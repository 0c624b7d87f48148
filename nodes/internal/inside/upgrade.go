package inside

import (
	"context"

	"github.com/cnode-go/cnode/transport/handoff"
)

// A Whole is what others see as one node, for package upgrade: a *nodes.Node, or the front of
// several processes. L is a *nodes.Listener.
type Whole[L any] interface {
	Name() string
	Listeners() []L
	Offer() *handoff.Offer
	Done() <-chan struct{}
	Err() error
	Shutdown(ctx context.Context) error
	Close() error
}

// A Making makes a Whole: anew, or of what another process hands over. C is nodes.Config.
type Making[C, L any] interface {
	// Form is that of the state beside the node's own, which has forms of its own. A process that does
	// not know it refuses, or is refused, before anything stops.
	Form() string
	Begin(ctx context.Context, cfg C) (Whole[L], error)
	Restore(cfg C, state []byte, fds []int) (handoff.Staged, Whole[L], error)
}

// A Crewed is a Whole that has more processes, which are upgraded after it.
type Crewed interface {
	// UpgradeCrew upgrades them, and says which are not upgraded.
	UpgradeCrew(ctx context.Context) (failures []error, err error)
}
