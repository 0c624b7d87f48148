package global

import (
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
	Resource any // a term; a string is an atom
	// Requester tells who has the lock: two processes with the same one share it, and both must
	// release it. nil: the process itself.
	Requester any
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

// SetLock sets a lock on nodes, for a process: global:set_lock/2. No nodes are this one and all
// that are known. While another requester has the lock it tries again, until ctx ends; with
// transport.NoWait it tries once, and the error is ErrLocked. If the process ends its locks do.
func (g *Global) SetLock(ctx context.Context, holder *nodes.Mailbox, l Lock, on ...string) error {
	id, err := l.id(holder.Pid())
	if err != nil {
		return wrap("lock", nil, err)
	}
	resource := id.(ei.Tuple)[0]
	for times := 1; ; times++ {
		if g.trySet(ctx, holder, id, g.nodesOr(on)) {
			return nil
		}
		switch {
		case holder.Err() != nil:
			return wrap("lock", resource, holder.Err())
		case isNoWait(ctx):
			return wrap("lock", resource, ErrLocked)
		}
		if err := g.sleep(ctx, times); err != nil {
			return wrap("lock", resource, fmt.Errorf("%w: %w", ErrLocked, err))
		}
	}
}

func (g *Global) trySet(ctx context.Context, by *nodes.Mailbox, id ei.Term, on []string) bool {
	if len(on) > 1 && slices.Contains(on, g.n.Name()) && !g.canLock(id) {
		return false
	}
	if isNoWait(ctx) { // one try takes the nodes' answers all the same
		ctx = context.Background()
	}
	return g.setLocksBy(ctx, by, id, on)
}

func isNoWait(ctx context.Context) bool { return ctx == transport.NoWait() }

// nodesOr are the nodes, or all.
func (g *Global) nodesOr(on []string) []string {
	if len(on) > 0 {
		return on
	}
	return append([]string{g.n.Name()}, g.Known()...)
}

// DelLock releases a lock of a process, on the nodes of SetLock: global:del_lock/2. It waits for
// their answers, ten seconds at most.
func (g *Global) DelLock(holder *nodes.Mailbox, l Lock, on ...string) error {
	id, err := l.id(holder.Pid())
	if err == nil {
		g.delLocksBy(holder, id, g.nodesOr(on))
	}
	return wrap("unlock", nil, err)
}

// Trans calls fn while it has a lock: global:trans/3. It waits for the lock as SetLock does, with
// its errors, else the error is fn's. l.Requester is usually nil: then this call is the requester,
// and no other one has the lock meanwhile. If the node moves to another process while fn runs, the
// lock is released there.
func (g *Global) Trans(ctx context.Context, l Lock, on []string, fn func(ctx context.Context) error) error {
	ref, err := g.n.NewRef()
	if err != nil {
		return wrap("lock", nil, err)
	}
	id, err := l.id(ei.Tuple{g.lockerPid(), ref})
	if err != nil {
		return wrap("lock", nil, err)
	}
	resource, on := id.(ei.Tuple)[0], g.nodesOr(on)
	for times := 1; ; times++ {
		g.note(id, on)
		if g.trySet(ctx, g.helper.Load(), id, on) {
			break
		}
		g.note(id, nil)
		if isNoWait(ctx) {
			return wrap("lock", resource, ErrLocked)
		}
		if err := g.sleep(ctx, times); err != nil {
			return wrap("lock", resource, fmt.Errorf("%w: %w", ErrLocked, err))
		}
	}
	defer g.delLocks(id, on)
	return fn(ctx)
}
