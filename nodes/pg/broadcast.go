package pg

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// Broadcast sends a term (as for ei.Append, encoded once) to all members of a group, on all nodes,
// in the name of from; nil: in the scope's. A process that has joined twice gets it twice. Nodes
// that read get it at once; for those that do not, and for full mailboxes of this node, Broadcast
// waits, for all of them together, until ctx ends. Members whose node is not connected any more get
// nothing, without an error, as in Erlang. The error joins those of all nodes for which it has
// waited in vain; under transport.NoWait these are os.ErrDeadlineExceeded.
func (s *Scope) Broadcast(ctx context.Context, from *nodes.Mailbox, group, term any) error {
	if from == nil {
		from = s.box.Load()
	}
	payload, err := ei.Append(nil, term)
	if err != nil {
		return &nodes.Error{Op: "broadcast in pg scope " + s.name, Err: err}
	}
	// what waits for what: a connection, or a mailbox
	type wait struct{ node, box ei.Pid }
	var late map[wait][]ei.Pid
	var failed []error
	note := func(err error) {
		if !errors.Is(err, nodes.ErrNoConnection) {
			failed = append(failed, err)
		}
	}
	for pid := range s.Members(group) {
		w := wait{node: ei.Pid{Node: pid.Node}}
		if pid.Node == from.Pid().Node {
			w.box = pid
		}
		if late[w] != nil {
			late[w] = append(late[w], pid) // in order
			continue
		}
		switch err := from.Send(now, pid, ei.Raw(payload)); {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && !transport.IsNoWait(ctx):
			if late == nil {
				late = map[wait][]ei.Pid{}
			}
			late[w] = append(late[w], pid)
		default:
			note(err)
		}
	}
	if len(late) == 0 {
		return errors.Join(failed...)
	}
	ctx = nodes.NoConnect(ctx)
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, pids := range late {
		all.Go(func() {
			for _, pid := range pids {
				if err := from.Send(ctx, pid, ei.Raw(payload)); err != nil {
					mu.Lock()
					note(err)
					mu.Unlock()
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}
