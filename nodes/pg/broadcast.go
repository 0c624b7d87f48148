package pg

import (
	"context"
	"errors"

	"github.com/cnode-go/cnode/nodes"
)

// Broadcast sends a term (as for ei.Append, encoded once) to all members of a group, on all nodes,
// in the name of from; nil: in the scope's. A process that has joined twice gets it twice. Nodes
// that read get it at once; for those that do not, and for full mailboxes of this node, Broadcast
// waits, for all of them together, until ctx ends. Members whose node is not connected any more get
// nothing, without an error, as in Erlang. The error joins those of all nodes for which it has
// waited in vain; under transport.NoWait these are os.ErrDeadlineExceeded.
func (s *Scope) Broadcast(ctx context.Context, from *nodes.Mailbox, group, term any) error {
	if from == nil {
		from = s.process.Mailbox()
	}
	err := from.SendAll(nodes.NoConnect(ctx), s.Members(group), term)
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		var failed []error
		for _, err := range all.Unwrap() {
			if !errors.Is(err, nodes.ErrNoConnection) {
				failed = append(failed, err)
			}
		}
		return errors.Join(failed...)
	}
	return err
}
