package pg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// DefaultScope is the scope that Erlang's kernel starts if its start_pg is true.
const DefaultScope = "pg"

// DefaultLimit is Options.Limit if that is 0.
const DefaultLimit = 64 << 20

// Options adjust a scope. The zero value, and nil, are good.
type Options struct {
	// Limit is how many bytes of memory the members that one other node tells of may take: 64 for
	// each group that a process has joined, and 256 and the group's term for each group. A node
	// that tells of more has no members here until it tells of fewer, all at once; the log has an
	// error. 0: DefaultLimit.
	Limit int
}

// ErrNotJoined is the error of Leave if none of the processes is a member. It is pg's not_joined.
var ErrNotJoined = errors.New("pg: not joined")

// A Scope is a set of groups that scopes of the same name on other nodes take part in. Its methods
// are safe for concurrent use.
type Scope struct {
	n     *nodes.Node
	name  string
	limit int
	log   *slog.Logger

	ctx    context.Context // ends with the scope
	cancel context.CancelFunc
	done   chan struct{}
	work   sync.WaitGroup
	box    atomic.Pointer[nodes.Mailbox] // the scope's process

	ending sync.Mutex
	err    error

	asking   sync.Mutex // guards commands
	commands []*command

	mu sync.RWMutex // guards table
	*table

	// turn is held by the process while it takes a message, and when another process takes its
	// place. It guards what follows.
	turn    sync.Mutex
	self    *owner // this scope's
	parser  *parser
	locals  map[ei.Pid]*local
	byRef   map[ei.Ref]ei.Pid // what is monitored: members here, and scopes elsewhere
	peers   map[ei.Pid]*peer
	direct  map[string]bool // the nodes that this process is connected to
	asked   map[string]bool // nodes to which a discover is on its way
	missed  map[string]bool // nodes that could not be asked, or not be met
	timer   *time.Timer     // of seek
	pause   time.Duration
	warned  map[string]bool // nodes of which the log has heard
	restart time.Time
	deaths  int
	drains  bool   // others are told of no members here any more
	undrain func() // takes back what has the node's Drain set drains; nil: nobody has joined yet
	// The state of the scope before has been taken, and the node goes on only later: Join finds the
	// memberships that there were, those of claims having been found already.
	inheriting atomic.Bool // set while turn is held
	claims     map[membership]int
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

// Start starts a scope, under its name: DefaultScope if that is empty. Call it in Config.Setup, or
// after Node.Start; in a node with workers, or one that moves to another process, in Config.Setup:
// there each worker has the scope, and the scope in a new process goes on as that of the one
// before. A name that is in use is nodes.ErrNameTaken; Options.Limit below 0 is an error, and ctx's
// if that has ended. It does not wait for other nodes, and the scope's life does not end with ctx,
// but by Close or with the node. It is pg:start_link/1.
func Start(ctx context.Context, n *nodes.Node, scope string, o *Options) (*Scope, error) {
	if scope == "" {
		scope = DefaultScope
	}
	if o == nil {
		o = &Options{}
	}
	err := ctx.Err()
	if o.Limit < 0 {
		err = fmt.Errorf("Options.Limit is %d", o.Limit)
	}
	if err != nil {
		return nil, &nodes.Error{Op: "start pg scope " + scope, Err: err}
	}
	s := &Scope{
		n: n, name: scope, limit: o.Limit, log: n.Logger().With("scope", scope), done: make(chan struct{}),
		table: newTable(), self: newOwner(),
		locals: map[ei.Pid]*local{}, byRef: map[ei.Ref]ei.Pid{}, peers: map[ei.Pid]*peer{},
		direct: map[string]bool{}, asked: map[string]bool{}, missed: map[string]bool{}, warned: map[string]bool{},
	}
	if s.limit == 0 {
		s.limit = DefaultLimit
	}
	s.parser = newParser(s.limit)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.open(); err != nil {
		s.cancel()
		return nil, &nodes.Error{Op: "start pg scope " + scope, Err: err}
	}
	go s.watchOver()
	return s, nil
}

// open makes the scope's process.
func (s *Scope) open() error {
	s.turn.Lock()
	defer s.turn.Unlock()
	box, err := s.n.Handle(s.name, s.take, &nodes.MailboxOptions{TrapExit: true, Handover: s.handover})
	if err != nil {
		return err
	}
	if state, ok := box.Inherited(); ok && s.box.Load() == nil {
		if err := s.inherit(state); err != nil {
			box.Close()
			return err
		}
	}
	s.box.Store(box)
	s.asking.Lock()
	s.commands = slices.Insert(s.commands, 0, &command{func() { s.begin(box) }, make(chan struct{})})
	s.asking.Unlock()
	s.ring()
	return nil
}

// joinCluster has the node's Drain take back, from now on, what others know of members here; s.turn
// is held.
func (s *Scope) joinCluster() {
	if s.undrain == nil {
		s.undrain = s.n.OnDrain(s.drain)
	}
}

// drain tells the others that there are no members here any more. For this process they stay, so
// that what it does with them goes on.
func (s *Scope) drain(ctx context.Context) error {
	err := s.do(ctx, func() {
		s.drains = true
		box := s.box.Load()
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
func (s *Scope) begin(box *nodes.Mailbox) {
	s.inheriting.Store(false)
	s.claims = nil
	if len(s.locals) > 0 {
		s.joinCluster()
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
	up, err := box.MonitorNodes(nodes.AllNodes)
	if err != nil {
		return // the process has ended
	}
	clear(s.direct)
	for _, node := range up {
		s.direct[node] = true
	}
	for _, node := range up {
		if !s.hasPeer(node) {
			s.ask(box, node)
		}
	}
	s.tellWorkers(box)
	s.seek()
}

// Close ends the scope: other nodes see its members leave. It returns when what it has started has
// ended. The members themselves live on.
func (s *Scope) Close() error {
	s.finish(nodes.ErrClosed)
	<-s.done
	s.work.Wait()
	return nil
}

// Done is closed when the scope has ended: by Close, with its node, or because it goes on in
// another process.
func (s *Scope) Done() <-chan struct{} { return s.done }

// Err is why the scope has ended: nodes.ErrClosed, nodes.ErrMoved, or what kept its process from
// being made anew; nil while it has not.
func (s *Scope) Err() error {
	s.ending.Lock()
	defer s.ending.Unlock()
	return s.err
}

// finish begins the end of the scope, which watchOver completes.
func (s *Scope) finish(why error) {
	s.ending.Lock()
	if s.err == nil {
		s.err = why
	}
	s.ending.Unlock()
	s.cancel()
}

// watchOver makes the scope's process anew when somebody has ended it, as a supervisor does in
// OTP, and ends the scope when its time has come.
func (s *Scope) watchOver() {
	for {
		box := s.box.Load()
		select {
		case <-box.Done():
		case <-s.ctx.Done():
			box.Exit(ei.Atom("shutdown"))
			<-box.Done()
		}
		if err := s.succeed(box); err != nil {
			s.finish(err)
			s.turn.Lock()
			if s.timer != nil {
				s.timer.Stop()
			}
			undrain := s.undrain
			s.turn.Unlock()
			if undrain != nil {
				undrain()
			}
			close(s.done)
			return
		}
	}
}

// errNoProcess keeps the node from moving to another process.
var errNoProcess = errors.New("the pg scope's process has ended, and is not made anew yet")

// succeed puts another process in the place of one that has ended; the error says why not.
func (s *Scope) succeed(ended *nodes.Mailbox) error {
	err := ended.Err()
	var exit *nodes.ExitError
	switch {
	case s.Err() != nil:
		return s.Err()
	case !errors.As(err, &exit):
		return err
	case s.n.Err() != nil:
		return s.n.Err()
	}
	// Nobody would hand the members over now.
	guard, err := s.n.NewMailbox(&nodes.MailboxOptions{Handover: func() ([]byte, error) { return nil, errNoProcess }})
	if err == nil {
		defer guard.Close()
	}
	s.turn.Lock()
	if time.Since(s.restart) > calm {
		s.deaths = 0
	}
	s.restart = time.Now()
	s.deaths++
	wait := time.Duration(s.deaths-1) * deathPause
	s.mu.Lock()
	for pid, p := range s.peers {
		p.cancel()
		s.drop(p.owner)
		delete(s.peers, pid)
	}
	s.mu.Unlock()
	clear(s.byRef)
	for _, l := range s.locals {
		l.ref = ei.Ref{}
	}
	s.turn.Unlock()
	select {
	case <-time.After(min(wait, calm)):
	case <-s.ctx.Done():
		return s.Err()
	}
	if err = s.open(); err == nil {
		s.log.Warn("the scope's process was ended, and is made anew", "reason", exit.Reason)
	}
	return err
}

const (
	// deathPause is by how much longer each new process waits in which somebody keeps ending it, up
	// to calm.
	deathPause = 100 * time.Millisecond
	calm       = 5 * time.Second
)

// A command is a piece of work for the scope's process.
type command struct {
	f    func()
	done chan struct{}
}

// post has the scope's process do something.
func (s *Scope) post(f func()) *command {
	c := &command{f, make(chan struct{})}
	s.asking.Lock()
	s.commands = append(s.commands, c)
	first := len(s.commands) == 1
	s.asking.Unlock()
	if first {
		s.ring()
	}
	return c
}

// ring has the process look for commands. One that has ended leaves them to the next one.
func (s *Scope) ring() {
	box := s.box.Load()
	ring := func(ctx context.Context) error {
		return box.Send(ctx, box.Pid(), ei.Tuple{ei.Atom("$cnode_pg"), ei.Atom("run")})
	}
	if err := ring(transport.NoWait()); errors.Is(err, os.ErrDeadlineExceeded) { // frozen, or full
		s.begins(func() { _ = ring(s.ctx) })
	}
}

// begins runs f on a goroutine of its own, for which Close waits, unless the scope has ended.
func (s *Scope) begins(f func()) {
	s.ending.Lock()
	defer s.ending.Unlock()
	if s.err == nil {
		s.work.Go(f)
	}
}

// do has the scope's process do something, and waits until that is done. If ctx ends before it has
// begun, it is not done.
func (s *Scope) do(ctx context.Context, f func()) error {
	if err := s.Err(); err != nil {
		return err
	}
	c := s.post(f)
	var err error
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-s.done:
		err = s.Err()
	}
	s.asking.Lock()
	i := slices.Index(s.commands, c)
	if i >= 0 {
		s.commands = slices.Delete(s.commands, i, i+1)
	}
	s.asking.Unlock()
	if i >= 0 {
		return err
	}
	<-c.done // it has begun
	return nil
}

// runCommands does what has been asked for; s.turn is held.
func (s *Scope) runCommands() {
	s.asking.Lock()
	all := s.commands
	s.commands = nil
	s.asking.Unlock()
	for _, c := range all {
		func() {
			defer close(c.done)
			c.f()
		}()
	}
}
