package global

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// askAgain is the time before a server is asked that was ended and is made anew.
const askAgain = 10 * time.Millisecond

// setLocks asks nodes for a lock, for the helper; a node that is gone does not count. If one
// refuses, none of them is locked.
func (g *Global) setLocks(ctx context.Context, id ei.Term, on []string) bool {
	return g.setLocksBy(ctx, g.helper.Mailbox(), id, on)
}

func (g *Global) setLocksBy(ctx context.Context, by *nodes.Mailbox, id ei.Term, on []string) bool {
	if len(on) == 0 {
		return true
	}
	answers, late := g.callAllBy(ctx, by, on, ei.Tuple{ei.Atom("set_lock"), id})
	isSet := len(late) == 0 && ctx.Err() == nil
	g.tellUnlocked(by, late, id)
	var had []string
	for node, a := range answers {
		if isAtom(a, "true") {
			had = append(had, node)
		} else {
			isSet = false
		}
	}
	if !isSet && len(had) > 0 {
		g.delLocksBy(context.Background(), by, id, had)
	}
	return isSet
}

// delLocks releases a lock of the helper, on the greatest node last.
func (g *Global) delLocks(id ei.Term, on []string) { g.delLocksOf(g.helper.Mailbox(), id, on) }

// delLocksOf is delLocks of a helper that another one may have followed.
func (g *Global) delLocksOf(helper *nodes.Mailbox, id ei.Term, on []string) {
	g.delLocksBy(context.Background(), helper, id, on)
	g.note(id, nil)
}

func (g *Global) delLocksBy(ctx context.Context, by *nodes.Mailbox, id ei.Term, on []string) {
	if len(on) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	boss := slices.Max(on)
	rest := slices.DeleteFunc(slices.Clone(on), func(n string) bool { return n == boss })
	for _, step := range [][]string{rest, {boss}} {
		for _, n := range step {
			g.outbox.flushed(ctx, n) // new_nodes comes before the end of the lock
		}
		_, late := g.callAllBy(ctx, by, step, ei.Tuple{ei.Atom("del_lock"), id})
		g.tellUnlocked(by, late, id)
	}
}

// tellUnlocked releases a lock on nodes that have not answered in time. They may have it, or get
// it: what ends that comes afterwards. Nobody else would, while the helper lives.
func (g *Global) tellUnlocked(by *nodes.Mailbox, on []string, id ei.Term) {
	for _, node := range on {
		g.tell(by, node, ei.Tuple{ei.Atom("del_lock"), id})
	}
}

// tell calls a node's server without waiting for the answer, which is sent to nobody's alias. A
// node that there is no room for is lost: it would have a name, or a lock, that no other node has.
func (g *Global) tell(by *nodes.Mailbox, node string, request ei.Term) {
	ref, err := g.n.NewRef()
	if err != nil {
		return
	}
	from := ei.Tuple{by.Pid(), ei.ImproperList{Elems: []ei.Term{ei.Atom("alias")}, Tail: ref}}
	if by.SendName(g.outbox.noWait, node, serverName, ei.Tuple{ei.Atom("$gen_call"), from, request}) != nil && by.Err() == nil {
		g.missed(node)
	}
}

// missed is called when a node could not be told of a change: it has other names now.
func (g *Global) missed(node string) {
	g.locked(func() {
		if g.role.owner {
			g.server.missed(node)
		} else {
			g.tellOwner(ei.Atom("missed"), ei.Atom(node))
		}
	})()
}

// note remembers what the helper has locked, for the process that goes on as this one.
func (g *Global) note(id ei.Term, on []string) {
	key, _, ok := keyOf(id)
	if !ok {
		return
	}
	g.heldMu.Lock()
	defer g.heldMu.Unlock()
	if on == nil {
		delete(g.held, key)
	} else {
		g.held[key] = heldLock{id, on}
	}
}

// callAll calls the servers of nodes at once, and gives the answers of those that are there.
func (g *Global) callAll(ctx context.Context, on []string, request ei.Term) map[string]ei.Term {
	answers, _ := g.callAllBy(ctx, g.helper.Mailbox(), on, request)
	return answers
}

// callAllBy is callAll by a process; late are the nodes that have not answered in time. A node that
// cannot be connected to is lost.
func (g *Global) callAllBy(ctx context.Context, by *nodes.Mailbox, on []string,
	request ei.Term) (answers map[string]ei.Term, late []string) {
	limit, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	answers = map[string]ei.Term{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, node := range on {
		wg.Go(func() { // connects, as in OTP: a node may be known before it is connected
			t, err := by.CallName(limit, node, serverName, request)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				answers[node] = t
			case limit.Err() != nil:
				late = append(late, node)
			case errors.Is(err, nodes.ErrNoConnection) && by.Err() == nil:
				g.missed(node)
			}
		})
	}
	wg.Wait()
	return answers, late
}

// ask calls this node's own server, and again if somebody ends that meanwhile, or the helper.
func (g *Global) ask(ctx context.Context, request ei.Term) (ei.Term, error) {
	for {
		answer, err := g.helper.Mailbox().CallName(ctx, g.n.Name(), serverName, request)
		var ended *nodes.ExitError
		if err == nil && !g.isBroken() {
			return answer, nil
		}
		if err != nil && (g.Err() != nil || !errors.As(err, &ended)) {
			return nil, cmp.Or(g.Err(), err)
		}
		select {
		case <-time.After(askAgain):
		case <-g.Done():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (g *Global) isBroken() bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.server.Broken
}

// settled waits until this node has its names in common with all that it has left because somebody
// has ended one of its processes (anew.go), or they have had their time.
func (g *Global) settled(ctx context.Context) error {
	_, err := g.ask(ctx, ei.Tuple{ei.Atom("settled")})
	return err
}
