package pg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/kept"
)

// Options adjust a scope. The zero value, and nil, are good.
type Options struct {
	// Limit is how many bytes of memory the members that one other node tells of may take: 64 for
	// each group that a process has joined, and 256 and the group's term for each group. Of a node
	// that tells of more, the rest is left out: Incomplete tells so, and the log has an error. Of all
	// that a node tells at once, the groups stay that are first in the order of their encoded terms;
	// of what joins later, whatever there is room for. When others have left so that there may be
	// room, the node is asked for all its members again. 0: a sixteenth of the memory that this
	// process may use, by the machine, its control group and GOMEMLIMIT; 64 MB at least, and 512 MB
	// at most.
	Limit int
}

// ErrNotJoined is the error of Leave if none of the processes is a member. It is pg's not_joined.
var ErrNotJoined = errors.New("pg: not joined")

// ErrIncomplete is what the errors of Incomplete wrap.
var ErrIncomplete = errors.New("pg: more than Options.Limit allows: some are left out")

// A Scope is a set of groups that scopes of the same name on other nodes take part in. Its methods
// are safe for concurrent use.
type Scope struct {
	n     *nodes.Node
	name  string
	limit *kept.Limit[ei.Pid] // by scope process
	log   *slog.Logger

	mu sync.RWMutex // guards table
	*table

	process *kept.Process // whose Running guards what follows

	self   *owner // this scope's
	parser *parser
	locals map[ei.Pid]*local
	byRef  map[ei.Ref]ei.Pid // what is monitored: members here, and scopes elsewhere
	peers  map[ei.Pid]*peer
	direct map[string]bool // the nodes that this process is connected to, and may ask
	asked  map[string]bool // nodes to which a discover is on its way
	missed map[string]bool // nodes that could not be asked, or not be met
	timer  *time.Timer     // of seek
	pause  time.Duration
	warned map[string]bool    // nodes of which the log has heard
	drains bool               // others are told of no members here any more
	claims map[membership]int // while process.Inherits: those that were there, and that Join has found
}

// A membership is one in a group, which a process may have several times.
type membership struct {
	pid ei.Pid
	key string
}

// A local is a member of this node.
type local struct {
	ref    ei.Ref
	groups []string // in the order in which it has joined, as often as it has
}

// Start starts a scope, under its name; an empty one is pg, the scope that Erlang's kernel starts
// if its start_pg is true. Call it in Config.Setup, or after Node.Start; in a node with workers, or
// one that moves to another process, in Config.Setup: there each worker has the scope, and the
// scope in a new process goes on as that of the one before. A name that is in use is
// nodes.ErrNameTaken; Options.Limit below 0 is an error, and ctx's if that has ended; so is
// nodes.ErrNoCluster. It does not wait for other nodes, and the scope's life does not end with ctx,
// but by Close or with the node. It is pg:start_link/1.
func Start(ctx context.Context, n *nodes.Node, scope string, o *Options) (*Scope, error) {
	if scope == "" {
		scope = "pg"
	}
	if o == nil {
		o = &Options{}
	}
	err := ctx.Err()
	if o.Limit < 0 {
		err = fmt.Errorf("Options.Limit is %d", o.Limit)
	}
	if err == nil {
		err = n.Inside(inside.Key{}).CheckClustered()
	}
	if err != nil {
		return nil, &nodes.Error{Op: "start pg scope " + scope, Err: err}
	}
	s := &Scope{
		n: n, name: scope, log: n.Logger().With("scope", scope), table: newTable(), self: newOwner(),
		locals: map[ei.Pid]*local{}, byRef: map[ei.Ref]ei.Pid{}, peers: map[ei.Pid]*peer{},
		direct: map[string]bool{}, asked: map[string]bool{}, missed: map[string]bool{}, warned: map[string]bool{},
	}
	limit := o.Limit
	if limit == 0 {
		limit = kept.DefaultLimit(1)
	}
	s.limit, s.parser = kept.NewLimit[ei.Pid](limit, "Options.Limit", s.log), newParser(limit)
	s.process = kept.New(kept.Options{Node: n, Log: s.log, Name: scope, Make: s.make, Begin: s.begin, Lost: s.lost, Over: s.over,
		State: s.state})
	if err := s.process.Start(ctx); err != nil {
		return nil, &nodes.Error{Op: "start pg scope " + scope, Err: err}
	}
	return s, nil
}

// make makes the scope's process.
func (s *Scope) make(_ context.Context, isFirst bool) (*nodes.Mailbox, error) {
	box, err := s.n.Handle(s.name, s.process.Handler(s.take),
		&nodes.MailboxOptions{TrapExit: true, Handover: s.handover, Full: nodes.FullWait}) // a peer's flood holds up that peer only
	if err != nil {
		return nil, err
	}
	if state, ok := box.Inherited(); ok && isFirst {
		if err := s.inherit(state); err != nil {
			box.Close()
			return nil, err
		}
	}
	return box, nil
}

// drain tells the others that there are no members here any more. For this process they stay, so
// that what it does with them goes on.
func (s *Scope) drain(ctx context.Context) error {
	err := s.process.Do(ctx, func() {
		s.drains = true
		box := s.process.Mailbox()
		for pid, p := range s.peers {
			s.tellWhole(box, pid, p)
		}
	})
	if s.Err() != nil { // nor is there a scope
		return nil
	}
	return err
}

// told are the groups that others know of.
func (s *Scope) told() map[string]*members {
	if s.drains {
		return nil
	}
	return s.self.groups
}

// begin is the first thing that the scope's process does.
func (s *Scope) begin(box *nodes.Mailbox, _ bool) {
	s.claims = nil
	if len(s.locals) > 0 {
		s.process.AtDrain(s.drain)
	}
	for pid, l := range s.locals {
		if l.ref.Len == 0 { // the process before was monitoring it
			s.monitorLocal(box, pid, l)
		}
	}
	for pid, p := range s.peers {
		if p.behind {
			s.beginCatchUp(pid, p)
		}
	}
	up, err := box.MonitorNodes(context.Background(), nodes.AllNodes)
	if err != nil {
		return // the process has ended
	}
	clear(s.direct)
	for _, node := range up {
		s.noteUp(node)
	}
	for node := range s.direct {
		if !s.hasPeer(node) {
			s.ask(box, node)
		}
	}
	s.tellWorkers(box)
	s.seek()
}

// lost forgets what the process that somebody has ended knew of others.
func (s *Scope) lost() {
	s.mu.Lock()
	for pid, p := range s.peers {
		p.cancel()
		s.drop(p.owner)
		s.limit.Forget(pid)
		delete(s.peers, pid)
	}
	s.mu.Unlock()
	clear(s.byRef)
	for _, l := range s.locals {
		l.ref = ei.Ref{}
	}
}

// state is what sys:get_state shows: how many processes of this node are members, and the scope's
// processes on other nodes. The members themselves may be very many.
func (s *Scope) state() ei.Term {
	peers := ei.List{}
	for pid := range s.peers {
		peers = append(peers, pid)
	}
	slices.SortFunc(peers, ei.Compare)
	return ei.MapOf(ei.Atom("scope"), ei.Atom(s.name), ei.Atom("local"), ei.Int(len(s.locals)), ei.Atom("peers"), peers)
}

func (s *Scope) over(error) {
	s.process.Running.Lock()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.process.Running.Unlock()
}

// Close ends the scope: other nodes see its members leave. It returns when what it has started has
// ended; the error is nil. The members themselves live on.
func (s *Scope) Close() error {
	s.process.Close()
	return nil
}

// Incomplete is nil if the members are here that all other nodes have told of. If some are left
// out, since they would take more than Options.Limit, it joins a *nodes.Error for each such node,
// with its name as Peer, that wraps ErrIncomplete; what Members, Groups and the monitors show is
// the rest. It does not wait. A node that has told nothing yet, or is not connected, is no error.
func (s *Scope) Incomplete() error {
	return s.limit.Err("know the members of scope "+s.name+" on", ErrIncomplete)
}

// Stats are figures of a Scope.
type Stats struct {
	// LeftOut is how many memberships of other nodes were left out, since they would have taken more
	// than Options.Limit; one that was left out again, after the node was asked again, counts again.
	LeftOut int64
	// Incomplete is of how many scope processes of other nodes something is left out now.
	Incomplete int
}

// Stats takes a snapshot. It does not wait.
func (s *Scope) Stats() (stats Stats) {
	stats.LeftOut, stats.Incomplete = s.limit.Count()
	return stats
}

// Done is closed when the scope has ended: by Close, with its node, or because it goes on in
// another process.
func (s *Scope) Done() <-chan struct{} { return s.process.Done() }

// Err is why the scope has ended: nodes.ErrClosed, nodes.ErrMoved, or what kept its process from
// being made anew; nil while it has not.
func (s *Scope) Err() error { return s.process.Err() }
