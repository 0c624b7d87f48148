package global

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// A Lock is a resource of which at most one requester has the lock. Avoid the resources global,
// dist_ac, mnesia_adjust_log_writes and mnesia_table_lock, which OTP uses.
type Lock struct {
	Resource any // as a name: see Register
	// Requester tells who has the lock: two processes with the same one share it, and both must
	// release it. nil: the process of SetLock, and for Trans the call itself: not re-entrant.
	Requester any
	Nodes     []string // where it is locked; none: on this node and all that are known
}

func (l Lock) id(otherwise ei.Term) (ei.Term, error) {
	_, resource, err := nameKey(l.Resource)
	if err != nil {
		return nil, err
	}
	if l.Requester == nil {
		return ei.Tuple{resource, otherwise}, nil
	}
	_, requester, err := nameKey(l.Requester)
	return ei.Tuple{resource, requester}, err
}

// SetLock sets a lock for a process: global:set_lock/2. While another requester has it, it tries
// again, until ctx ends; under transport.NoWait it tries once, and the error is ErrLocked. That one
// try waits all the same: up to 10 s for the answers of the nodes and, if one refuses, up to 10 s
// for those that have agreed to release it. If the process ends its locks do.
func (g *Global) SetLock(ctx context.Context, holder *nodes.Mailbox, l Lock) error {
	id, err := l.id(holder.Pid())
	if err = cmp.Or(err, g.Err()); err != nil {
		return wrap("lock", nil, err)
	}
	resource := id.(ei.Tuple)[0]
	return wrap("lock", resource, g.keepTrying(ctx, l, func() (isSet bool, err error) {
		if g.trySet(ctx, holder, id, g.nodesOr(l.Nodes)) {
			return true, nil
		}
		return false, holder.Err()
	}))
}

// keepTrying tries to set a lock until it is set, or ctx ends. If all nodes are to be locked, it
// waits until this node knows the others.
func (g *Global) keepTrying(ctx context.Context, l Lock, try func() (isSet bool, err error)) error {
	if len(l.Nodes) == 0 {
		if err := g.settled(forAnswers(ctx)); err != nil {
			return err
		}
	}
	for times := 1; ; times++ {
		if isSet, err := try(); isSet || err != nil {
			return err
		}
		if transport.IsNoWait(ctx) {
			return ErrLocked
		}
		if err := g.sleep(ctx, times); err != nil {
			return fmt.Errorf("%w: %w", ErrLocked, err)
		}
	}
}

func (g *Global) trySet(ctx context.Context, by *nodes.Mailbox, id ei.Term, on []string) bool {
	if len(on) > 1 && slices.Contains(on, g.n.Name()) && !g.canLock(id) {
		return false
	}
	return g.setLocksBy(forAnswers(ctx), by, id, on)
}

// forAnswers is the context of a single try: it takes the nodes' answers all the same.
func forAnswers(ctx context.Context) context.Context {
	if transport.IsNoWait(ctx) {
		return context.Background()
	}
	return ctx
}

// nodesOr are the nodes, or all.
func (g *Global) nodesOr(on []string) []string {
	if len(on) > 0 {
		return on
	}
	return append([]string{g.n.Name()}, g.Known()...)
}

// DelLock releases a lock of a process, on the nodes of SetLock: global:del_lock/2. It waits for
// their answers until ctx ends, 10 s at most, which is no error; if ctx ends first the nodes are
// told to release it without a wait, and the error is ctx's. Under transport.NoWait it waits for
// the answers all the same.
func (g *Global) DelLock(ctx context.Context, holder *nodes.Mailbox, l Lock) error {
	id, err := l.id(holder.Pid())
	if err != nil {
		return wrap("unlock", nil, err)
	}
	on := g.nodesOr(l.Nodes)
	g.delLocksBy(forAnswers(ctx), holder, id, on)
	if err := ctx.Err(); err != nil {
		for _, node := range on {
			g.tell(holder, node, ei.Tuple{ei.Atom("del_lock"), id})
		}
		return wrap("unlock", id.(ei.Tuple)[0], err)
	}
	return nil
}

// Trans calls fn while it has a lock: global:trans/3. It waits for the lock as SetLock does, also
// under transport.NoWait, with its errors; else the error is fn's. Then it waits as DelLock does,
// whatever has become of ctx.
//
// With Lock.Requester nil the requester is the call itself: not re-entrant, as a process of Erlang
// is in global:trans({stock, self()}, Fun). So a Trans in fn waits for the outer one. With a
// Requester of your own in both, unique in the cluster, it does not; as in Erlang, the lock is
// released with the end of the inner one then.
//
// fn's context is derived from ctx. It ends, too, when this node's locks are lost because a peer
// has ended the process that has them, cnode_global_locker, with exit(Pid, kill), because the node
// goes on in another program, where the lock is released, or because it ends: context.Cause says
// why.
func (g *Global) Trans(ctx context.Context, l Lock, fn func(ctx context.Context) error) error {
	ref, err := g.n.NewRef()
	if err = cmp.Or(err, g.Err()); err != nil {
		return wrap("lock", nil, err)
	}
	id, err := l.id(ei.Tuple{g.lockerPid(), ref})
	if err != nil {
		return wrap("lock", nil, err)
	}
	resource := id.(ei.Tuple)[0]
	var on []string
	var helper *nodes.Mailbox
	err = g.keepTrying(ctx, l, func() (isSet bool, err error) {
		if on == nil { // now this node knows the others
			on = g.nodesOr(l.Nodes)
		}
		g.note(id, on)
		if helper = g.helper.Mailbox(); g.trySet(ctx, helper, id, on) {
			return true, nil
		}
		g.note(id, nil)
		return false, nil
	})
	if err != nil {
		return wrap("lock", resource, err)
	}
	defer g.delLocks(id, on)
	held, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-helper.Done():
			cancel(wrap("lock", resource, helper.Err()))
		case <-held.Done():
		}
	}()
	return fn(held)
}
