package global

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// What registrations and locks may fail with, besides the context's error.
var (
	// ErrTaken: another process has the name. Erlang's answer is no.
	ErrTaken = errors.New("global: the name is taken")
	// ErrNamed: the process has a global name already. Erlang's answer is no.
	ErrNamed = errors.New("global: the process has another global name")
	// ErrNoName: no process has the name.
	ErrNoName = errors.New("global: no process has the name")
	// ErrLocked: another requester has the lock.
	ErrLocked = errors.New("global: the lock is another requester's")
	// ErrNotTerm: the name is none, or too long.
	ErrNotTerm = errors.New("global: not a name")
)

var errNoMailbox = errors.New("the mailbox is nil")

// An Error says which name, or which lock, an attempt was about, and why it has failed.
type Error struct {
	Op   string  // "register", "lock", …
	Name ei.Term // the name, or the resource
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("%s %v: %v", e.Op, e.Name, e.Err) }

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

func wrap(op string, name ei.Term, err error) error {
	if err == nil {
		return nil
	}
	return &Error{op, name, err}
}

// nameKey reads a name as the caller gives it.
func nameKey(name any) (key string, t ei.Term, err error) {
	switch v := name.(type) {
	case string:
		t = ei.Atom(v)
	case ei.Term:
		t = v
	default:
		raw, err := ei.Append(nil, name)
		if err != nil {
			return "", nil, fmt.Errorf("%w: %w", ErrNotTerm, err)
		}
		if t, err = ei.Raw(raw).Decode(); err != nil {
			return "", nil, fmt.Errorf("%w: %w", ErrNotTerm, err)
		}
	}
	key, t, ok := keyOf(t)
	if !ok {
		return "", nil, ErrNotTerm
	}
	return key, t, nil
}

// Register gives a process of this node a name in the whole cluster: global:register_name/3. name
// is any term; a string is the atom of that text, as nodes.Node.Register has it, and a binary an
// ei.Binary. A process can have one name. method says who keeps the name if two partitions in
// which it is taken become one; the zero Method is RandomExit.
//
// When Register returns nil all nodes know the name; it is free again when the process ends. It
// locks all nodes, and waits until ctx ends while another node has the lock, or does not answer.
// The errors are ErrTaken, ErrNamed, ErrNotTerm, ctx's and the node's; after any error the process
// has not got the name, or will not keep it. It must not be called in Config.Setup.
func (g *Global) Register(ctx context.Context, name any, b *nodes.Mailbox, method Method) error {
	if b == nil {
		return wrap("register", nil, errNoMailbox)
	}
	return g.change(ctx, "register", name, b, func(t ei.Term) (ei.Term, error) {
		answer, err := g.ask(ctx, ei.Tuple{ei.Atom("check"), t, b.Pid()})
		switch {
		case err != nil:
			return nil, err
		case isAtom(answer, "taken"):
			return nil, ErrTaken
		case isAtom(answer, "named"):
			return nil, ErrNamed
		}
		return ei.Tuple{ei.Atom("register"), t, b.Pid(), method.term()}, nil
	})
}

// Reregister gives a name to a process, also if another one has it: global:re_register_name/3. It
// waits as Register does.
func (g *Global) Reregister(ctx context.Context, name any, b *nodes.Mailbox, method Method) error {
	if b == nil {
		return wrap("reregister", nil, errNoMailbox)
	}
	return g.change(ctx, "reregister", name, b, func(t ei.Term) (ei.Term, error) {
		return ei.Tuple{ei.Atom("register"), t, b.Pid(), method.term()}, nil
	})
}

// Unregister takes a name back, whoever has it: global:unregister_name/1. It waits as Register
// does. A name that nobody has is no error.
func (g *Global) Unregister(ctx context.Context, name any) error {
	return g.change(ctx, "unregister", name, nil, func(t ei.Term) (ei.Term, error) {
		return ei.Tuple{ei.Atom("unregister"), t}, nil
	})
}

// change makes one change to the names of all nodes, under their lock.
func (g *Global) change(ctx context.Context, op string, name any, b *nodes.Mailbox, request func(ei.Term) (ei.Term, error)) error {
	_, t, err := nameKey(name)
	if err == nil && b != nil {
		err = b.Err()
	}
	if err != nil {
		return wrap(op, t, err)
	}
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return wrap(op, t, ctx.Err())
	}
	id := ei.Tuple{ei.Atom("global"), g.lockerPid()}
	locked, err := g.lockKnown(ctx, id)
	if err != nil {
		return wrap(op, t, err)
	}
	defer g.delLocks(id, locked)
	r, err := request(t)
	if err != nil {
		return wrap(op, t, err)
	}
	answers := g.callAll(ctx, locked, r)
	if err := ctx.Err(); err != nil {
		return wrap(op, t, err)
	}
	if answers[g.n.Name()] == nil {
		return wrap(op, t, cmp.Or(g.n.Err(), nodes.ErrNoProc))
	}
	return nil
}

// lockKnown locks all nodes of the partition: the greatest first, and again if there are more of
// them meanwhile.
func (g *Global) lockKnown(ctx context.Context, id ei.Term) (locked []string, err error) {
	for times := 0; ; times++ {
		known := g.Known()
		all := append([]string{g.n.Name()}, known...)
		boss := greatest(g.n.Name(), known)
		g.note(id, all)
		if g.setLocks(ctx, id, []string{boss}) {
			rest := slices.DeleteFunc(slices.Clone(all), func(n string) bool { return n == boss })
			if g.canLock(id) && g.setLocks(ctx, id, rest) {
				if !slices.ContainsFunc(g.Known(), func(n string) bool { return !slices.Contains(known, n) }) {
					return all, nil
				}
				g.delLocks(id, all)
			} else {
				g.delLocks(id, []string{boss})
			}
		}
		if err := g.sleep(ctx, times); err != nil {
			return nil, err
		}
	}
}

// sleep is OTP's time before another attempt: at random, up to eight seconds.
func (g *Global) sleep(ctx context.Context, times int) error {
	longest := 8 * time.Second
	if times <= 5 {
		longest = time.Second << times / 8
	}
	t := time.NewTimer(1 + rand.N(longest))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-g.n.Done():
		return g.n.Err()
	}
}

// setLocks asks nodes for a lock, for the helper; a node that is gone does not count. If one
// refuses, none of them is locked.
func (g *Global) setLocks(ctx context.Context, id ei.Term, on []string) bool {
	return g.setLocksBy(ctx, g.helper.Load(), id, on)
}

func (g *Global) setLocksBy(ctx context.Context, by *nodes.Mailbox, id ei.Term, on []string) bool {
	if len(on) == 0 {
		return true
	}
	answers, late := g.callAllBy(ctx, by, on, ei.Tuple{ei.Atom("set_lock"), id})
	isSet := len(late) == 0 && ctx.Err() == nil
	for _, node := range late { // it may have the lock, or get it: what ends that comes afterwards
		g.sendDel(by, id, node)
	}
	var had []string
	for node, a := range answers {
		if isAtom(a, "true") {
			had = append(had, node)
		} else {
			isSet = false
		}
	}
	if !isSet && len(had) > 0 {
		g.delLocksBy(by, id, had)
	}
	return isSet
}

// delLocks releases a lock of the helper, on the greatest node last.
func (g *Global) delLocks(id ei.Term, on []string) {
	g.delLocksBy(g.helper.Load(), id, on)
	g.note(id, nil)
}

func (g *Global) delLocksBy(by *nodes.Mailbox, id ei.Term, on []string) {
	if len(on) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	boss := slices.Max(on)
	rest := slices.DeleteFunc(slices.Clone(on), func(n string) bool { return n == boss })
	for _, step := range [][]string{rest, {boss}} {
		for _, n := range step {
			g.outbox.flushed(ctx, n) // new_nodes comes before the end of the lock
		}
		g.callAllBy(ctx, by, step, ei.Tuple{ei.Atom("del_lock"), id})
	}
}

// sendDel releases a lock without waiting for the answer, which is sent to nobody's alias.
func (g *Global) sendDel(by *nodes.Mailbox, id ei.Term, node string) {
	ref, err := g.n.NewRef()
	if err != nil {
		return
	}
	from := ei.Tuple{by.Pid(), ei.ImproperList{Elems: []ei.Term{ei.Atom("alias")}, Tail: ref}}
	_ = by.SendName(g.outbox.noWait, node, serverName, ei.Tuple{ei.Atom("$gen_call"), from, ei.Tuple{ei.Atom("del_lock"), id}})
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
	answers, _ := g.callAllBy(ctx, g.helper.Load(), on, request)
	return answers
}

// callAllBy is callAll by a process; late are the nodes that have not answered in time.
func (g *Global) callAllBy(ctx context.Context, by *nodes.Mailbox, on []string, request ei.Term) (answers map[string]ei.Term, late []string) {
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
			}
		})
	}
	wg.Wait()
	return answers, late
}

// ask calls this node's own server.
func (g *Global) ask(ctx context.Context, request ei.Term) (ei.Term, error) {
	return g.helper.Load().CallName(ctx, g.n.Name(), serverName, request)
}

// Sync waits until this node has its names in common with all visible nodes that are connected:
// global:sync/0. One that has no global_name_server makes it wait for ctx.
func (g *Global) Sync(ctx context.Context) error {
	_, err := g.ask(ctx, ei.Tuple{ei.Atom("sync"), ei.List{}})
	return wrap("sync", nil, err)
}

// Send sends a term to the process that has a name: global:send/2. ErrNoName if none has; else it
// waits, and fails, as nodes.Mailbox.Send does.
func (g *Global) Send(ctx context.Context, from *nodes.Mailbox, name, term any) error {
	_, t, err := nameKey(name)
	if err != nil {
		return wrap("send to", t, err)
	}
	pid, ok := g.Whereis(t)
	if !ok {
		return wrap("send to", t, ErrNoName)
	}
	return from.Send(ctx, pid, term)
}

// A Caller is a *nodes.Node, which calls with a process made for each call, or a *nodes.Mailbox,
// whose pid the server sees.
type Caller interface {
	Call(ctx context.Context, to ei.Pid, request any) (ei.Term, error)
}

// CallAs makes a request to the process that has a name, gen_server:call({global, Name}, Request),
// and stores the reply in an R as nodes.CallAs does. It waits until ctx ends; ErrNoName if no
// process has the name, else the errors of nodes.CallAs.
func CallAs[R any](ctx context.Context, g *Global, by Caller, name, request any) (R, error) {
	var reply R
	_, t, err := nameKey(name)
	if err != nil {
		return reply, wrap("call", t, err)
	}
	pid, ok := g.Whereis(t)
	if !ok {
		return reply, wrap("call", t, ErrNoName)
	}
	answer, err := by.Call(ctx, pid, request)
	if err != nil {
		return reply, wrap("call", t, err)
	}
	o := ei.DecodeOptions{}
	if err = o.UnmarshalTerm(answer, &reply); err == nil {
		return reply, nil
	}
	if isResult(answer) {
		var result ei.Result[R]
		if err = o.UnmarshalTerm(answer, &result); err == nil {
			reply, err = result.Value, result.Err
		}
	}
	return reply, wrap("call", t, err)
}

// isResult tells whether a term is ok, error, {ok, _} or {error, _}.
func isResult(t ei.Term) bool {
	if pair, ok := t.(ei.Tuple); ok && len(pair) == 2 {
		t = pair[0]
	}
	return isAtom(t, "ok") || isAtom(t, "error")
}

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

// isNodeName tells whether a node can have a name.
func isNodeName(name string) bool { return name != "" && dist.CheckName(name) == nil }
