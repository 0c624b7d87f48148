package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// A Strategy says which children are started again when one has ended.
type Strategy int

const (
	// OneForOne: that one.
	OneForOne Strategy = iota
	// OneForAll: all; the others are terminated first.
	OneForAll
	// RestForOne: that one and those after it, which are terminated first.
	RestForOne
)

// A Restart says when a child that has ended is started again.
type Restart int

const (
	// Permanent: always.
	Permanent Restart = iota
	// Transient: unless the exit reason is normal, shutdown or {shutdown, _}.
	Transient
	// Temporary: never; the supervisor forgets it.
	Temporary
)

// An AutoShutdown says when the supervisor ends because significant children have ended by
// themselves, and are not started again.
type AutoShutdown int

const (
	// Never: it does not.
	Never AutoShutdown = iota
	// AnySignificant: when the first of them has.
	AnySignificant
	// AllSignificant: when the last of them has.
	AllSignificant
)

// Values of Child.Shutdown.
const (
	// BrutalKill ends the child with kill at once.
	BrutalKill time.Duration = -1
	// Infinity waits for the child as long as it takes.
	Infinity time.Duration = -2
)

// defaultShutdown is how long a child that is no supervisor may take to end, if it does not say.
const defaultShutdown = 5 * time.Second

// NoRestarts as Options.Intensity ends the supervisor with the first child that would be started
// again.
const NoRestarts = -1

// Options say what a supervisor does. The zero value, and nil, are OTP's: one for one, one restart
// in 5 s.
type Options struct {
	// Strategy says which children are started again when one has ended. The zero value is
	// OneForOne.
	Strategy Strategy
	// Intensity is how many restarts there may be within Period; with one more the supervisor
	// terminates its children and ends with reason shutdown. 0 is 1; for none there is NoRestarts.
	Intensity int
	Period    time.Duration // 0 is 5 s
	// Delay is how long to wait before a start that has failed is tried again, which counts as a
	// restart unless the child's node is away. 0, as in OTP: not at all.
	Delay time.Duration
	// AutoShutdown says whether the end of significant children ends the supervisor. The zero value
	// is Never.
	AutoShutdown AutoShutdown
	// Parent is the process that starts the supervisor and is linked with it: see
	// nodes.MailboxOptions.
	Parent ei.Pid
}

// A Child is what a supervisor starts: see stdlib's supervisor, child_spec(). Server, Sub and
// Remote make some.
type Child struct {
	ID string // unique in its supervisor; an atom to other nodes
	// Start starts the process, and gives its pid: that of a nodes.Mailbox, or of a process of
	// another node. The supervisor links with it; a Mailbox better begins so, with
	// nodes.MailboxOptions.Parent: s.Pid(). A zero pid, as ignore in OTP, is a child that does not
	// run. The supervisor waits for Start, so ctx should have an end if it waits for others. The loss
	// of the process's node does not count as a restart, nor does a Start that fails with
	// nodes.ErrNoConnection: it is called again after Options.Delay or, without one, Period.
	Start   func(ctx context.Context, s *Supervisor) (ei.Pid, error)
	Restart Restart
	// Shutdown is how long the process may take to end once it has got the exit signal shutdown;
	// after that it is killed. 0 is 5 s, as in OTP, or, for a supervisor, Infinity.
	Shutdown    time.Duration
	Supervisor  bool // its type is supervisor, not worker
	Significant bool // see Options.AutoShutdown; not for Permanent

	behaves bool // of another node, and takes the messages of module sys
}

// A StartError says which child could not be started.
type StartError struct {
	Supervisor, Child string
	Err               error
}

func (e *StartError) Error() string {
	return fmt.Sprintf("supervisor %s: starting %s: %v", e.Supervisor, e.Child, e.Err)
}

// Unwrap is what Child.Start has returned.
func (e *StartError) Unwrap() error { return e.Err }

// A Supervisor is a process that supervises others.
type Supervisor struct {
	n    *nodes.Node
	name string
	o    Options
	box  *nodes.Mailbox

	// mu is held by Start, and then by one function of the process at a time.
	mu       sync.Mutex
	children childList
	gone     []string // the IDs of those that are forgotten
	restarts []time.Time
	over     bool // the children are terminated, or being so
}

// Start starts a supervisor under a name, and its children in their order; with an empty name it is
// reached only by its pid, and does not move. When a child cannot be started, those before it are
// terminated, and the error is a *StartError, as it is for a Child that is not well formed. The
// errors for the name, and when to call it, are as for nodes.Node.Serve. It waits for Child.Start
// of each, whose first context ends with ctx; the supervisor's life does not. nil options are
// OTP's. It is supervisor:start_link/3.
//
// The supervisor ends, its children before it in reverse order, by Shutdown and Close, the end of
// its Parent, and as Options say. When the node ends all end at once: to have an order, Shutdown
// before nodes.Node.Shutdown.
func Start(ctx context.Context, n *nodes.Node, name string, o *Options, children ...Child) (*Supervisor, error) {
	s := &Supervisor{n: n, name: name, o: o.withDefaults()}
	for _, spec := range children {
		if err := s.check(spec); err != nil {
			return nil, err
		}
		s.children.add(&child{Child: spec.withDefaults()})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	box, err := n.Serve(name, s.server(), &nodes.MailboxOptions{
		TrapExit: true, Parent: s.o.Parent, Handover: s.handOver, Full: nodes.FullWait, // no flood of a peer's is to end the tree
	})
	if err != nil {
		return nil, err
	}
	s.box = box
	if name == "" {
		s.name = box.Pid().String()
	}
	before, err := s.inherited()
	if err == nil {
		err = s.begin(ctx, before)
	}
	if err != nil {
		box.Exit(ei.Atom("shutdown"))
		return nil, err
	}
	return s, nil
}

// Supervise starts a Server under a name and, whenever it ends, again, with what newServer then
// returns: it is Start of a supervisor that has the name NAME_sup and this child only.
func Supervise(ctx context.Context, n *nodes.Node, name string, newServer func() nodes.Server, o *Options) (*Supervisor, error) {
	return Start(ctx, n, name+"_sup", o, Server(name, newServer, nil))
}

// withDefaults is a copy with the defaults in place.
func (given *Options) withDefaults() Options {
	var o Options
	if given != nil {
		o = *given
	}
	switch {
	case o.Intensity == 0:
		o.Intensity = 1
	case o.Intensity < 0:
		o.Intensity = 0
	}
	if o.Period <= 0 {
		o.Period = 5 * time.Second
	}
	return o
}

func (c Child) withDefaults() Child {
	switch {
	case c.Shutdown == 0 && c.Supervisor:
		c.Shutdown = Infinity
	case c.Shutdown == 0:
		c.Shutdown = defaultShutdown
	}
	return c
}

// check tells what is wrong with a child.
func (s *Supervisor) check(c Child) error {
	what := ""
	switch {
	case s.children.find(c.ID) != nil:
		what = "two children have the ID"
	case c.ID == "":
		what = "the ID is empty"
	case c.Start == nil:
		what = "Start is nil"
	case c.Significant && (c.Restart == Permanent || s.o.AutoShutdown == Never):
		what = "it cannot be significant"
	default:
		return nil
	}
	return &StartError{s.name, c.ID, errors.New(what)}
}

// Pid is the supervisor's process identifier.
func (s *Supervisor) Pid() ei.Pid { return s.box.Pid() }

// Node is the node that the supervisor is of.
func (s *Supervisor) Node() *nodes.Node { return s.n }

// Mailbox is the supervisor's process: to start processes of other nodes from, say.
func (s *Supervisor) Mailbox() *nodes.Mailbox { return s.box }

// Done is closed when the supervisor has ended.
func (s *Supervisor) Done() <-chan struct{} { return s.box.Done() }

// Err is why the supervisor has ended, as nodes.Mailbox.Err says it; nil while it lives.
func (s *Supervisor) Err() error { return s.box.Err() }

// Close is Shutdown without an end to the wait, which is bounded by Child.Shutdown of the children:
// not for a child with Infinity that does not end, nor if a child's own function calls it.
func (s *Supervisor) Close() error { return s.Shutdown(context.Background()) }

// Shutdown terminates the children in reverse order and ends the supervisor, with reason shutdown.
// It waits for that until ctx ends, with ctx's error; called by a child's own function, that long.
// A supervisor that has ended already is no error. Other errors are those of nodes.Mailbox.Send. It
// is gen_server:stop, with reason shutdown.
func (s *Supervisor) Shutdown(ctx context.Context) error {
	ask := ei.Tuple{ei.Atom("system"), ei.Tuple{s.Pid(), ei.Atom("stop")}, ei.Tuple{ei.Atom("terminate"), ei.Atom("shutdown")}}
	if err := s.box.Send(ctx, s.Pid(), ask); err != nil && s.box.Err() == nil {
		return err
	}
	select {
	case <-s.box.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
