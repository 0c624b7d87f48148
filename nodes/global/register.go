package global

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/otp"
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

// tellTime is for how long nodes are told of a change that has begun when the caller's context
// ends.
const tellTime = time.Second

var errNoMailbox = errors.New("the mailbox is nil")

// An Error says which name, or which lock, an attempt was about, and why it has failed.
type Error struct {
	Op   string  // "register", "lock", …
	Name ei.Term // the name, or the resource; nil if it is none, or for Sync
	Err  error
}

func (e *Error) Error() string {
	if e.Name == nil {
		return fmt.Sprintf("%s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("%s %v: %v", e.Op, e.Name, e.Err)
}

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
	name = otp.Name(name)
	t, isTerm := name.(ei.Term)
	if !isTerm {
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
// is any term, or a Go value as for ei.Append, but a string, or a value of a type that is one, is
// the atom of that text, as nodes.Node.Register has it; what Elixir calls {:global, "shop"} is
// ei.Binary("shop"), or []byte("shop"). A process can have one name. method says
// who keeps the name if two partitions in which it is taken become one; the zero Method is
// RandomExit.
//
// Register locks all nodes, and waits until ctx ends while another node has the lock, or does not
// answer. When it returns nil all nodes know the name, except for one that has given its lock, and
// then has not answered for 10 s: that one knows it when it reads on. The name is free again when
// the process ends. The errors are ErrTaken, ErrNamed, ErrNotTerm, ctx's, and what Err says. After
// an error the process has not got the name, or loses it as soon as all nodes have read so; only
// after nodes.ErrMoved it may have it.
//
// When the node drains (nodes.Node.Drain) its processes lose their names; then nothing is
// registered any more, and the error is nodes.ErrClosed.
//
// Call it, and the other methods that wait, after Node.Start: in Config.Setup of a program that
// goes on as the node they wait until ctx ends, for the node does not run before Setup is over.
func (g *Global) Register(ctx context.Context, name any, b *nodes.Mailbox, method Method) error {
	if b == nil {
		return wrap("register", nil, errNoMailbox)
	}
	return g.change(ctx, "register", name, b, func(t ei.Term, again bool) (ei.Term, error) {
		answer, err := g.ask(ctx, ei.Tuple{ei.Atom("check"), t, b.Pid()})
		switch {
		case err != nil:
			return nil, err
		case isAtom(answer, "taken"), isAtom(answer, "held") && !again:
			return nil, ErrTaken
		case isAtom(answer, "named"):
			return nil, ErrNamed
		}
		return ei.Tuple{ei.Atom("register"), t, b.Pid(), method.term()}, nil
	})
}

// Reregister gives a name to a process, also if another one has it: global:re_register_name/3. It
// waits as Register does. After an error that comes from a wait either of the two may have the
// name.
func (g *Global) Reregister(ctx context.Context, name any, b *nodes.Mailbox, method Method) error {
	if b == nil {
		return wrap("reregister", nil, errNoMailbox)
	}
	return g.change(ctx, "reregister", name, b, func(t ei.Term, _ bool) (ei.Term, error) {
		return ei.Tuple{ei.Atom("register"), t, b.Pid(), method.term()}, nil
	})
}

// Unregister takes a name back, whoever has it: global:unregister_name/1. It waits as Register
// does. A name that nobody has is no error; after an error that comes from a wait it may be free.
// If this node loses its connections meanwhile only some nodes may have heard it, as in OTP; with
// names of its own processes that does no harm.
func (g *Global) Unregister(ctx context.Context, name any) error {
	return g.change(ctx, "unregister", name, nil, func(t ei.Term, _ bool) (ei.Term, error) {
		return ei.Tuple{ei.Atom("unregister"), t}, nil
	})
}

// A change changes names on nodes, which by has locked.
type change func(ctx context.Context, by *nodes.Mailbox, locked []string) error

// change makes one change to the names of all nodes, under their lock.
func (g *Global) change(ctx context.Context, op string, name any, b *nodes.Mailbox,
	request func(t ei.Term, again bool) (ei.Term, error)) error {
	key, t, err := nameKey(name)
	if err == nil && b != nil {
		err = b.Err()
	}
	if err != nil {
		return wrap(op, t, err)
	}
	if b != nil {
		g.leaveInTime()
	}
	begun, cut := false, false // nodes may have the change; somebody has ended the process that made it
	err = g.inTurn(ctx, func(ctx context.Context, by *nodes.Mailbox, locked []string) (err error) {
		if b != nil && g.drains.Load() {
			return fmt.Errorf("the node drains: %w", nodes.ErrClosed)
		}
		r, err := request(t, begun)
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		begun = true
		known := g.Known() // a node that was left since has the lock no more, and is met again
		locked = slices.DeleteFunc(slices.Clone(locked), func(n string) bool { return n != g.n.Name() && !slices.Contains(known, n) })
		limit, cancel := beyond(ctx)
		defer cancel()
		answers, _ := g.callAllBy(limit, by, locked, r)
		if err = ctx.Err(); err == nil && answers[g.n.Name()] == nil {
			err = cmp.Or(g.Err(), by.Err(), nodes.ErrNoProc)
		}
		cut = by.Err() != nil
		if err != nil && op == "register" { // while the lock is held: nobody else has the name
			for _, node := range locked {
				g.tell(by, node, ei.Tuple{ei.Atom("unregister"), t})
			}
		}
		g.own = slices.DeleteFunc(g.own, func(k string) bool { return k == key })
		if b != nil && err == nil {
			g.own = append(g.own, key)
		}
		return err
	})
	if err != nil && cut {
		g.box.Go(func() { g.tidy(op, t, b, request) })
	}
	return wrap(op, t, err)
}

// tidy makes an end of a change that only some nodes may have, as the process that made it was
// ended and there was no time to make it again.
func (g *Global) tidy(op string, t ei.Term, b *nodes.Mailbox, request func(t ei.Term, again bool) (ei.Term, error)) {
	ctx, cancel := context.WithTimeout(g.box.Context(), returnTime)
	defer cancel()
	if op == "register" { // it has failed
		request = func(t ei.Term, _ bool) (ei.Term, error) {
			if answer, err := g.ask(ctx, ei.Tuple{ei.Atom("check"), t, b.Pid()}); err != nil || !isAtom(answer, "held") {
				return nil, cmp.Or(err, ErrNoName)
			}
			return ei.Tuple{ei.Atom("unregister"), t}, nil
		}
	}
	_ = g.change(ctx, "tidy", t, nil, request)
}

// beyond is a context in which all nodes are told of a change, also if the caller's ends when some
// have been: they would have different names.
func beyond(ctx context.Context) (context.Context, context.CancelFunc) {
	limit, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(tellTime, cancel) })
	return limit, func() { stop(); cancel() }
}

// inTurn makes changes to the names, by f, while no other goroutine of this process does, and all
// nodes are locked. If somebody ends the process meanwhile that has the locks, it does so again.
func (g *Global) inTurn(ctx context.Context, f change) error {
	if err := g.Err(); err != nil {
		return err
	}
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return ctx.Err()
	case <-g.Done():
		return g.Err()
	}
	for {
		err := g.settled(ctx)
		if err != nil {
			return err
		}
		by := g.helper.Mailbox()
		id := ei.Tuple{ei.Atom("global"), by.Pid()}
		locked, err := g.lockKnown(ctx, by, id)
		if err == nil {
			err = f(ctx, by, locked)
			g.delLocksOf(by, id, locked)
		}
		if by.Err() == nil || g.Err() != nil || ctx.Err() != nil {
			return err
		}
	}
}

// leaveInTime has the node's Drain free the names of its processes.
func (g *Global) leaveInTime() { g.leaves.Do(func() { g.n.OnDrain(g.drain) }) }

// drain frees the names of the node's processes; in a node with workers, those that this one has
// registered: the others may live on.
func (g *Global) drain(ctx context.Context) error {
	g.drains.Store(true)
	if g.Err() != nil {
		return nil
	}
	return g.inTurn(ctx, func(ctx context.Context, by *nodes.Mailbox, locked []string) error {
		g.mu.RLock()
		var names []ei.Term
		for key, n := range g.server.names {
			if string(n.pid.Node) == g.n.Name() && (!g.workers || slices.Contains(g.own, key)) {
				names = append(names, n.term)
			}
		}
		g.mu.RUnlock()
		for _, t := range names {
			g.callAllBy(ctx, by, locked, ei.Tuple{ei.Atom("unregister"), t})
		}
		return ctx.Err()
	})
}

// lockKnown locks all nodes of the partition: the greatest first, and again if there are more of
// them meanwhile.
func (g *Global) lockKnown(ctx context.Context, by *nodes.Mailbox, id ei.Term) (locked []string, err error) {
	for times := 0; ; times++ {
		known := g.Known()
		all := append([]string{g.n.Name()}, known...)
		boss := greatest(g.n.Name(), known)
		g.note(id, all)
		if g.setLocksBy(ctx, by, id, []string{boss}) {
			rest := slices.DeleteFunc(slices.Clone(all), func(n string) bool { return n == boss })
			if g.canLock(id) && g.setLocksBy(ctx, by, id, rest) {
				if !slices.ContainsFunc(g.Known(), func(n string) bool { return !slices.Contains(known, n) }) {
					return all, nil
				}
				g.delLocksOf(by, id, all)
			} else {
				g.delLocksOf(by, id, []string{boss})
			}
		}
		if err := cmp.Or(by.Err(), g.sleep(ctx, times)); err != nil {
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
	case <-g.Done():
		return g.Err()
	}
}

// Sync waits until this node has its names in common with all visible nodes that are connected:
// global:sync/0. One that has no global_name_server makes it wait for ctx.
func (g *Global) Sync(ctx context.Context) error {
	err := g.settled(ctx)
	if err == nil {
		_, err = g.ask(ctx, ei.Tuple{ei.Atom("sync"), ei.List{}})
	}
	return wrap("sync", nil, err)
}
