package upgrade

import (
	"context"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/service"
)

// An Upgrader runs a node that goes on in another process when this one is to be replaced. Start is
// called once, then Run; Upgrade at any time between. It is a service.Service whose Owner is the
// node.
type Upgrader struct {
	// Config is the node's. The new process has one of its own: the same name, the transports in
	// the same order, and a Setup that registers the same names. Start calls Setup twice if what
	// systemd has kept of the node cannot go on: it must not register a thing in a global table.
	Config nodes.Config
	// Command is the new program and its arguments; nil: the file that is now at the path by which
	// this program was started (through a link, where the link leads then), with this one's
	// arguments. It gets this process's environment and standard streams.
	Command []string
	// InPlace has the new program run in this process, and not in a new one: for process 1 of a
	// container, and below a supervisor that takes the end of the process for the end of the node. A
	// program that fails has no way back. Linux only.
	InPlace bool
	// Control is the path of a UNIX socket where other processes of the same user reach this one:
	// service.Ask, which an operator's command calls, and a Start with TakeOver.
	// service.ControlPath gives the usual one; "": there is none. Nobody but this user may have
	// access to its directory, which is made if need be. The socket goes on with the node, and is
	// made anew if somebody removes it. Without one the node runs all the same, and the log says
	// why: on darwin and windows always.
	Control string
	// TakeOver has Start take the node over from the process that has the Control socket, unless
	// another one has started this process to hand the node over: service.ErrNobody if there is
	// none, ErrListens if the node does not listen where Config says.
	TakeOver bool
	// Allow, if not nil, is asked before each hand-off. Its error is why there is none now.
	Allow func() error
	// EndOn are the signals that tell the process to end; nil: SIGTERM and SIGINT.
	EndOn []os.Signal
	// UpgradeOn are the signals on which Run upgrades; nil: SIGHUP; empty, but not nil: none.
	UpgradeOn []os.Signal
	// ShutdownTimeout is how long the node's Shutdown may take when Run ends; DrainGrace of Config
	// is part of it. 0: 10 s.
	ShutdownTimeout time.Duration
	// Shutdown, if not nil, is called in place of the node's, which it calls itself once it has
	// ended what else there is. ctx ends after ShutdownTimeout.
	Shutdown func(ctx context.Context) error
	// Reached is called at each step of an upgrade, in both processes: for logs and tests.
	// Optional.
	Reached func(step string)

	service atomic.Pointer[service.Service] // nil: Start has not been called
	owner   *owner
}

// Start makes this process the node: with what the process that has started it hands over; with
// what the one hands over whose node it takes over (TakeOver); with what systemd has kept for it;
// or anew, on the sockets that systemd has opened for it (see Config.Activate), if there are any.
// Then it tells systemd that the node is ready. It waits as Node.Start does, or for
// handoff.Deadlines, and has the errors of nodes.New, Node.Start, Config.Activate and
// nodes.Restore, or a *handoff.Error.
//
// From the call on SIGHUP, SIGTERM and SIGINT (or UpgradeOn and EndOn) are Run's to answer. SIGPIPE
// is ignored, so that the process does not end when nobody reads its log any more. NOTIFY_SOCKET is
// out of the environment: see service.Notify.
func (u *Upgrader) Start(ctx context.Context) (*nodes.Node, error) {
	if err := u.start(ctx, alone{}); err != nil {
		return nil, err
	}
	return u.owner.whole.(*nodes.Node), nil
}

// StartMaking is Start for package workers, whose StartWith is for programs: k makes the front of a
// node with workers.
func (u *Upgrader) StartMaking(ctx context.Context, _ inside.Key, k inside.Making[nodes.Config, *nodes.Listener]) error {
	return u.start(ctx, k)
}

func (u *Upgrader) start(ctx context.Context, k kind) error {
	s := &service.Service{
		Command: u.Command, InPlace: u.InPlace, Control: u.Control, TakeOver: u.TakeOver, Allow: u.Allow, EndOn: u.EndOn,
		UpgradeOn: u.UpgradeOn, DrainTimeout: u.ShutdownTimeout, Logger: u.Config.Logger, Reached: u.Reached,
	}
	u.service.Store(s)
	m := &maker{u: u, s: s, kind: k, collect: func() {}}
	defer func() { m.collect() }()
	o, err := s.Start(ctx, m)
	if err == nil {
		u.owner = o.(*owner)
	}
	return err
}

// Listen is net.Listen for what the program listens on beside its node, for probes say: it goes on
// in the process that follows, once that calls Listen with the same network and address, between
// Start and Run. Nobody is refused meanwhile: this process accepts as long as it has the
// node, and who connects later waits for the next one. Once the node has moved, Accept waits for
// Close. Its errors are those of net.Listen, and service.ErrStarts.
func (u *Upgrader) Listen(network, address string) (net.Listener, error) {
	if u.owner == nil {
		return nil, service.ErrStarts
	}
	return u.service.Load().Listen(network, address)
}

// Upgrade starts the new program, and hands the node over to it. If Handed.Moved, the other process
// is the node now, even if an error reports trouble at the end, and this one should end: Run
// returns nil. Otherwise this process goes on as if nothing had happened, and the error says why:
// see service.Service.Upgrade.
//
// The node is silent for a fraction of a second, or for 15 s at most with a program that hangs.
// Upgrade returns once no signal that is meant for the node can reach this process any more.
func (u *Upgrader) Upgrade(ctx context.Context) (h handoff.Handed, err error) {
	s := u.service.Load()
	if s == nil {
		return h, service.ErrStarts
	}
	return s.Upgrade(ctx)
}

// Run serves until ctx ends, the process is told to end (SIGTERM, SIGINT), or nobody can connect to
// the node any more; then it is shut down, and Run returns the error of that, or of the listener.
// On SIGHUP it calls Upgrade, and if another process is the node now, it returns nil: so it does
// after any Upgrade, and any other hand-off. A SIGHUP that comes during one is dealt with after it,
// by whichever process is the node then. A second SIGTERM ends the process at once. EndOn and
// UpgradeOn name other signals than these.
//
// Where systemd keeps descriptors (FileDescriptorStoreMax=, since version 254), SIGUSR2 leaves the
// node with it, for the process that it starts next, and Run returns nil: a unit asks for that with
// RestartKillSignal=SIGUSR2. Where it does not, SIGUSR2 is as SIGTERM.
func (u *Upgrader) Run(ctx context.Context) error {
	s := u.service.Load()
	s.DrainTimeout = u.ShutdownTimeout // which may be set after Start
	return s.Run(ctx)
}

// log is the program's.
func (u *Upgrader) log() *slog.Logger {
	if u.Config.Logger != nil {
		return u.Config.Logger
	}
	return slog.New(slog.DiscardHandler)
}
