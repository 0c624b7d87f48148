package pubsub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/kept"
	"github.com/cnode-go/cnode/nodes/pg"
)

// Scope is the name of the scope of package pg in which each Phoenix.PubSub has its process groups.
const Scope = "Elixir.Phoenix.PubSub"

// The dispatchers: modules that give a message to the subscribers of a node.
const (
	plain   = ei.Atom("Elixir.Phoenix.PubSub")
	channel = ei.Atom("Elixir.Phoenix.Channel.Server")
)

// maxPool bounds the pools.
const maxPool = 1024

// Options adjust a PubSub. The zero value, and nil, fit a Phoenix application with no options.
type Options struct {
	// PoolSize is the :pool_size of the PubSub, which is the same throughout a cluster; 0 is 1, as
	// there.
	PoolSize int
	// BroadcastPoolSize is its :broadcast_pool_size, at most PoolSize; 0 is PoolSize.
	BroadcastPoolSize int
	// Limit is how many bytes the unread messages of a loop over Messages may take, as
	// nodes.MailboxOptions.Limit counts them; 0 is nodes.DefaultMailboxLimit. At the limit the loop
	// ends with an error.
	Limit int
	// Scope is the program's own scope of that name, which other PubSubs, or the program itself,
	// use as well: pg.Start(ctx, n, pubsub.Scope, nil). nil: Start starts it, and Close closes it,
	// so that a program with several PubSubs on a node starts the scope itself, and gives it to
	// each.
	Scope *pg.Scope
}

// A PubSub is this node's part of a Phoenix.PubSub. Its methods are safe for concurrent use.
type PubSub struct {
	n         *nodes.Node
	opts      Options
	ownsScope bool
	log       *slog.Logger
	groups    []ei.Atom       // of the pool's processes: their names, and the groups that they are members of
	members   []*kept.Process // the pool's processes
	ctx       context.Context
	cancel    context.CancelCauseFunc
	work      sync.WaitGroup
	done      chan struct{}

	mu        sync.Mutex
	presences []*Presence
	topics    map[string]map[*nodes.Mailbox]struct{}
	// of each subscriber its topics
	subscribers map[*nodes.Mailbox]map[string]struct{}
}

// Start makes the node a member of the PubSub of that name: "MyApp.PubSub" for a module's name,
// "my_pubsub" for that atom. Call it in Config.Setup if the node moves or has workers (see the
// package's comment), else there or after Node.Start. The error is nodes.ErrNameTaken if it was
// called for the name before, or for another name without Options.Scope, which both have to be
// given then; an error too is a name that is empty, or a pool that cannot be. It waits, until ctx
// ends, for the scope's process alone. The PubSub's life does not end with ctx, but by Close, with
// its scope or with the node. It is Phoenix.PubSub's child_spec, started.
func Start(ctx context.Context, n *nodes.Node, name string, o *Options) (*PubSub, error) {
	ps := &PubSub{
		n: n, log: n.Logger().With("pubsub", name), done: make(chan struct{}),
		topics: map[string]map[*nodes.Mailbox]struct{}{}, subscribers: map[*nodes.Mailbox]map[string]struct{}{},
	}
	if o != nil {
		ps.opts = *o
	}
	ps.ctx, ps.cancel = context.WithCancelCause(context.Background())
	if err := ps.open(ctx, name); err != nil {
		ps.Close()
		return nil, &nodes.Error{Op: "start the PubSub " + name, Err: err}
	}
	return ps, nil
}

func (ps *PubSub) open(ctx context.Context, name string) (err error) {
	o := &ps.opts
	if o.PoolSize == 0 {
		o.PoolSize = 1
	}
	if o.BroadcastPoolSize == 0 {
		o.BroadcastPoolSize = o.PoolSize
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case name == "":
		return errors.New("the name is empty")
	case o.PoolSize < 0 || o.PoolSize > maxPool:
		return fmt.Errorf("Options.PoolSize is %d", o.PoolSize)
	case o.BroadcastPoolSize < 0 || o.BroadcastPoolSize > o.PoolSize:
		return fmt.Errorf("Options.BroadcastPoolSize is %d, with a PoolSize of %d", o.BroadcastPoolSize, o.PoolSize)
	}
	if o.Scope == nil {
		if o.Scope, err = pg.Start(ctx, ps.n, Scope, nil); err != nil {
			return err
		}
		ps.ownsScope = true
	}
	ps.background(func() {
		defer close(ps.done)
		select {
		case <-ps.ctx.Done():
		case <-o.Scope.Done():
		}
	})
	adapter := elixir.Module(strings.TrimPrefix(name, "Elixir.") + ".Adapter") // Module.concat(name, "Adapter")
	for i := range o.PoolSize {
		group := adapter
		if i > 0 {
			group += ei.Atom(fmt.Sprintf("_%d", i+1))
		}
		ps.groups = append(ps.groups, group)
		p := ps.process(kept.Options{
			Name: string(group), Make: func(ctx context.Context, _ bool) (*nodes.Mailbox, error) { return ps.startMember(ctx, group) },
		})
		if err := ps.start(ctx, p); err != nil {
			return err
		}
		ps.members = append(ps.members, p)
	}
	return nil
}

// startMember starts a process of the pool.
func (ps *PubSub) startMember(ctx context.Context, group ei.Atom) (*nodes.Mailbox, error) {
	b, err := ps.n.Serve(string(group), nodes.Server{Info: ps.take},
		&nodes.MailboxOptions{TrapExit: true, Full: nodes.FullWait}) // a peer's flood holds up that peer only
	if err != nil {
		return nil, err
	}
	if err := ps.opts.Scope.Join(ctx, group, b); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// process is one that is kept until the PubSub or the node ends.
func (ps *PubSub) process(o kept.Options) *kept.Process {
	o.Node, o.Log, o.Until = ps.n, ps.log, ps.ctx
	o.Over = func(why error) {
		if kept.HasFailed(why) {
			ps.cancel(why)
		}
	}
	return kept.New(o)
}

func (ps *PubSub) start(ctx context.Context, p *kept.Process) error {
	if err := p.Start(ctx); err != nil {
		return err
	}
	ps.background(func() { <-p.Done() })
	return nil
}

// leaveTime is how long Close waits for Presences to say that they end: as good as nothing.
const leaveTime = time.Second

// Close ends the membership, the loops over Messages and Watch, and the Presences, and waits for
// what it has started. Other nodes see at once that what a Presence has tracked is gone. It does
// not end mailboxes that have subscribed by Subscribe. The error is nil.
func (ps *PubSub) Close() error {
	ctx, cancel := context.WithTimeout(ps.ctx, leaveTime)
	defer cancel()
	ps.mu.Lock()
	presences := ps.presences
	ps.mu.Unlock()
	for _, p := range presences {
		for _, s := range p.shards {
			_ = s.leaveCluster(ctx)
		}
	}
	ps.mu.Lock()
	ps.cancel(nodes.ErrClosed)
	ps.mu.Unlock()
	ps.work.Wait()
	if ps.ownsScope {
		return ps.opts.Scope.Close()
	}
	return nil
}

// Done is closed when the PubSub has ended: by Close, with its scope or its node, or because that
// goes on in another process.
func (ps *PubSub) Done() <-chan struct{} { return ps.done }

// Err is why the PubSub has ended: nodes.ErrClosed after Close, what kept a process that somebody
// has ended from being started again, or what pg.Scope.Err says, for example nodes.ErrMoved; nil
// while it has not.
func (ps *PubSub) Err() error { return cmp.Or(context.Cause(ps.ctx), ps.opts.Scope.Err()) }

// background runs f on a goroutine for which Close waits; not after Close.
func (ps *PubSub) background(f func()) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.backgroundLocked(f)
}

func (ps *PubSub) backgroundLocked(f func()) {
	if ps.ctx.Err() == nil {
		ps.work.Go(f)
	}
}

// Broadcast sends a message, an ei.Term or a Go value (see ei.Append), to the subscribers of a
// topic on all nodes. It waits as Mailbox.Send does, for the queue of a connection for example; its
// error joins those of all nodes for which it has waited in vain, and the others have the message.
// A node that is not connected any more gets nothing, without an error, as there (see
// pg.Scope.Broadcast). What is sent by one goroutine arrives in order. It is
// Phoenix.PubSub.broadcast/3.
func (ps *PubSub) Broadcast(ctx context.Context, topic string, message any) error {
	return ps.broadcast(ctx, nil, topic, message, plain)
}

// BroadcastFrom is Broadcast in the name of a mailbox, which does not get the message itself if it
// is a subscriber. It is Phoenix.PubSub.broadcast_from/4.
func (ps *PubSub) BroadcastFrom(ctx context.Context, from *nodes.Mailbox, topic string, message any) error {
	return ps.broadcast(ctx, from, topic, message, plain)
}

// DirectBroadcast sends a message to the subscribers on one node, which need not be in the group,
// and is connected to if need be; it may also be this one. What Mailbox.SendName says of waiting
// and errors holds. It is Phoenix.PubSub.direct_broadcast/4.
func (ps *PubSub) DirectBroadcast(ctx context.Context, node, topic string, message any) error {
	what := "broadcast on " + topic + " to"
	b, err := appendForward(topic, message, plain)
	if err != nil {
		return &nodes.Error{Op: what, Peer: node, Err: err}
	}
	from := ps.members[0].Mailbox()
	return from.SendName(ctx, node, string(ps.groupOf(from)), b)
}

// A Push is a %Phoenix.Socket.Broadcast{}: what goes to the browsers that have joined a channel.
// Subscribers get it from Phoenix as a message, as that type if they like.
type Push[P any] struct {
	_       struct{} `ei:"struct=Elixir.Phoenix.Socket.Broadcast"`
	Topic   string
	Event   string
	Payload P
}

// Push sends an event to the browsers, and other subscribers, of a channel's topic, on all nodes:
// MyAppWeb.Endpoint.broadcast/3. The payload is a map, or a struct; Phoenix makes JSON of it. Else
// it is like Broadcast. Elixir nodes that take part have to have Phoenix: its module
// Phoenix.Channel.Server hands the message out there, and where it is missing, as in a node with
// phoenix_pubsub alone, the adapter ends and is started again. Broadcast has no such condition.
func (ps *PubSub) Push(ctx context.Context, topic, event string, payload any) error {
	return ps.broadcast(ctx, nil, topic, Push[any]{Topic: topic, Event: event, Payload: payload}, channel)
}

// PushFrom is Push as BroadcastFrom is Broadcast: MyAppWeb.Endpoint.broadcast_from/4.
func (ps *PubSub) PushFrom(ctx context.Context, from *nodes.Mailbox, topic, event string, payload any) error {
	return ps.broadcast(ctx, from, topic, Push[any]{Topic: topic, Event: event, Payload: payload}, channel)
}

func (ps *PubSub) broadcast(ctx context.Context, from *nodes.Mailbox, topic string, message any, dispatcher ei.Atom) error {
	group := ps.groups[0]
	if from == nil {
		if from = ps.members[0].Mailbox(); from.Err() != nil { // it was killed: in the scope's name, meanwhile
			from = nil
		}
	}
	if from != nil {
		group = ps.groupOf(from)
	}
	b, err := appendForward(topic, message, dispatcher)
	switch {
	case ps.ctx.Err() != nil:
		err = ps.Err()
	case err == nil:
		err = ps.opts.Scope.Broadcast(ctx, from, group, b)
	}
	if err != nil {
		return &nodes.Error{Op: "broadcast on " + topic, Err: err}
	}
	return nil
}

// hasMember tells whether another node takes part.
func (ps *PubSub) hasMember(node ei.Atom) bool {
	for pid := range ps.opts.Scope.Members(ps.groups[0]) {
		if pid.Node == node {
			return string(node) != ps.n.Name()
		}
	}
	return false
}

// groupOf is the group that a process broadcasts to: always the same, so that its messages stay in
// order.
func (ps *PubSub) groupOf(from *nodes.Mailbox) ei.Atom {
	return ps.groups[from.Pid().ID%uint32(ps.opts.BroadcastPoolSize)]
}

// moduleOr is the atom that a name stands for in Elixir: MyApp.PubSub is a module's, my_pubsub an
// atom as it is.
func moduleOr(name string) ei.Atom {
	if r, _ := utf8.DecodeRuneInString(name); unicode.IsUpper(r) && !strings.HasPrefix(name, "Elixir.") {
		return elixir.Module(name)
	}
	return ei.Atom(name)
}
