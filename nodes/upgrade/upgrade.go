package upgrade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport/handoff"
)

// DefaultShutdownTimeout is that of an Upgrader.
const DefaultShutdownTimeout = 10 * time.Second

const (
	// startLimit bounds the start of a new process, and its greeting, during which the old one
	// still serves.
	startLimit = 10 * time.Second
	// stepLimit bounds each step during which neither process serves. Callers wait this long if the
	// new process hangs; most have longer time-outs.
	stepLimit = 3 * time.Second
	// sameSignal is how long further signals count as the first one: timeout(1), and others that
	// signal both a process and its group, send it twice.
	sameSignal = 200 * time.Millisecond
)

// ErrProcessOne: this is process 1 of a container, with whose end all other processes end. Replace
// the container, or have a process 1 that stays: cnode-demo stay is one.
var ErrProcessOne = errors.New("this is process 1, with which its successor would end")

// ErrEnds: the process is about to end, so nothing is handed over.
var ErrEnds = errors.New("the node is about to end")

// ErrStarts: Start has not returned, so there is nothing to hand over yet.
var ErrStarts = errors.New("the node is about to start")

// An Upgrader runs a node that goes on in another process when this one is to be replaced. Start is
// called once, then Run; Upgrade at any time between.
type Upgrader struct {
	// Config is the node's. The new process has one of its own: the same name, the transports in
	// the same order, and a Setup that registers the same names. Start calls Setup twice if what
	// systemd has kept of the node cannot go on: it must not register a thing in a global table.
	Config nodes.Config
	// Command is the new program and its arguments; nil: the file that is now at the path by which
	// this program was started (through a link, where the link leads then), with this one's
	// arguments. It gets this process's environment and standard streams.
	Command []string
	// ShutdownTimeout is how long the node's Shutdown may take when Run ends; DrainGrace of Config
	// is part of it. 0: DefaultShutdownTimeout.
	ShutdownTimeout time.Duration

	file     string // of this program
	node     *nodes.Node
	before   *Predecessor
	unwatch  func()
	ends     chan os.Signal // Run is to end
	upgrades chan os.Signal
	restarts chan os.Signal // systemd starts the service again
	again    bool           // SIGHUP has come during an upgrade that goes on
	over     context.Context
	end      context.CancelFunc // Upgrade is to give up, or to pass it on

	mu     sync.Mutex
	ending bool
	busy   chan struct{} // closed when the upgrade that goes on is over; nil: there is none
	next   *os.Process   // the node is its now
	beside []*Listener   // go on with the node

	reached func(step string) // for tests: called at each step of an upgrade, on both sides; nil: nobody is
}

// at tells a test to which step this process has come.
func (u *Upgrader) at(step string) {
	if u.reached != nil {
		u.reached(step)
	}
}

// endSignals tell this process to end.
var endSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}

// Start makes this process the node: with what the process that has started it hands over; with
// what systemd has kept for it; or anew, on the sockets that systemd has opened for it (see
// Config.Activate), if there are any. Then it tells systemd that the node is ready. It waits as
// Node.Start does, or for handoff.Deadlines, and has the errors of nodes.New, Node.Start,
// Config.Activate and nodes.Restore, or a *handoff.Error.
//
// From the call on SIGHUP, SIGTERM and SIGINT are Run's to answer. SIGPIPE is ignored, so that the
// process does not end when nobody reads its log any more. NOTIFY_SOCKET is out of the environment:
// see Notify.
func (u *Upgrader) Start(ctx context.Context) (*nodes.Node, error) {
	_ = manager() // before the program can start anything else
	u.file = OwnFile()
	u.ends, u.upgrades, u.restarts = make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signal.Notify(u.ends, endSignals...)
	signal.Notify(u.upgrades, syscall.SIGHUP)
	if restartSignal != nil {
		signal.Notify(u.restarts, restartSignal)
	}
	u.over, u.end = context.WithCancel(context.Background())
	n, err := u.start(ctx)
	if err != nil {
		u.release()
		return nil, err
	}
	u.mu.Lock() // whoever may call Upgrade is there since the node runs
	u.node, u.unwatch = n, NotifyWatchdog()
	u.mu.Unlock()
	return n, nil
}

// release leaves the signals to the program again, but for SIGPIPE.
func (u *Upgrader) release() {
	for _, ch := range []chan os.Signal{u.ends, u.upgrades, u.restarts} {
		signal.Stop(ch)
	}
}

func (u *Upgrader) start(ctx context.Context) (*nodes.Node, error) {
	ch, err := Coming()
	if err != nil {
		return nil, err
	}
	if ch != nil {
		defer ch.Close()
		u.before = Succeed(ch.Peer().PID)
		return u.takeOver(ctx, ch)
	}
	kept, err := takeKept()
	if err != nil {
		u.log().Warn("what systemd has kept of the node is of no use: it starts anew", "error", err)
	}
	if kept != nil {
		n, err := kept.restore(ctx, u.Config)
		if err == nil {
			u.ready()
			return n, nil
		}
		u.log().Warn("what systemd has kept of the node cannot go on: it starts anew", "error", err)
	}
	cfg := u.Config
	if err := cfg.Activate(); err != nil {
		return nil, err
	}
	n, err := nodes.New(cfg)
	if err != nil {
		return nil, err
	}
	if err := n.Start(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	u.ready()
	return n, nil
}

// Listen is net.Listen for what the program listens on beside its node, for probes say, between
// Start and Run: it goes on in the process that follows, once that calls Listen with the same
// network and address. Nobody is refused meanwhile: this process accepts as long as it has the
// node, and who connects later waits for the next one. Once the node has moved, Accept waits for
// Close. Its errors are those of net.Listen, and ErrStarts.
func (u *Upgrader) Listen(network, address string) (net.Listener, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.node == nil {
		return nil, ErrStarts
	}
	l, err := Listen(network, address)
	if err != nil {
		return nil, err
	}
	u.beside = append(u.beside, l)
	n := u.node
	go func() {
		select {
		case <-l.closed:
		case <-n.Done():
			if errors.Is(n.Err(), nodes.ErrMoved) {
				l.Leave()
			}
		}
	}()
	return l, nil
}

// log is the node's, or before there is one the program's.
func (u *Upgrader) log() *slog.Logger {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.node != nil {
		return u.node.Logger()
	}
	return cmp.Or(u.Config.Logger, slog.New(slog.DiscardHandler))
}

func (u *Upgrader) ready() {
	if err := NotifyReady(); err != nil {
		u.log().Warn("the service manager was not told that the node is ready (NOTIFY_SOCKET)", "error", err)
	}
}

// watched is ctx under which a hand-off tells what points it passes.
func (u *Upgrader) watched(ctx context.Context) context.Context {
	return handoffpoint.With(ctx, func(p handoffpoint.Point) { u.at(string(p)) })
}

// takeOver makes this process the node of the one at the other end.
func (u *Upgrader) takeOver(ctx context.Context, ch *handoff.Channel) (*nodes.Node, error) {
	var node *nodes.Node
	taken, err := (&handoff.Acceptance{
		Terms: u.Config.Terms(),
		Stage: func(_ context.Context, state []byte, fds []int) (handoff.Staged, error) {
			staged, err := nodes.Restore(u.Config, state, fds)
			if err != nil {
				return nil, err
			}
			node = staged.Node()
			return &heir{staged, u}, nil
		},
	}).Take(u.watched(ctx), ch)
	if !taken.Owns {
		return nil, err
	}
	if err != nil { // the node is this process's all the same, and runs
		node.Logger().Warn("trouble at the end of the hand-off", "error", err)
	}
	return node, nil
}

// An heir starts a node that was handed over. The service manager is told before the old process,
// which then ends: a manager that sees its main process end before it knows of a new one stops the
// service.
type heir struct {
	*nodes.Staged
	u *Upgrader
}

func (h *heir) Start(ctx context.Context) error {
	err := h.Staged.Start(ctx)
	h.u.at("heir: runs, and the manager is not told")
	h.u.ready()
	h.u.at("heir: the manager is told")
	return err
}

// Upgrade starts the new program, and hands the node over to it. If Handed.Moved, the other process
// is the node now, even if an error reports trouble at the end, and this one should end: Run
// returns nil. Otherwise this process goes on as if nothing had happened, and the error says why:
// ErrBusy of package handoff while another Upgrade goes on, ErrProcessOne, ErrStarts, ErrEnds, what
// the start of the program returns, or a *handoff.Error. If ctx ends, or Run is to end, the
// node does not move; or if it has moved already, the other process is told to end.
//
// The node is silent for a fraction of a second, or for 15 s at most with a program that hangs.
// Upgrade returns once no signal that is meant for the node can reach this process any more.
func (u *Upgrader) Upgrade(ctx context.Context) (h handoff.Handed, err error) {
	done, err := u.begin()
	if err != nil {
		return h, err
	}
	defer done()
	return u.handOver(ctx)
}

func (u *Upgrader) handOver(ctx context.Context) (h handoff.Handed, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(u.over, cancel)()
	next := u.successor()
	u.at("owner: asked")
	ch, err := next.Begin()
	if err != nil {
		return h, err
	}
	defer ch.Close()
	u.at("owner: new process started")
	o := u.node.Offer()
	o.Deadlines = handoff.Deadlines{Hello: startLimit, Offer: stepLimit, Stage: stepLimit, Take: stepLimit}
	h, err = o.Give(u.watched(ctx), ch)
	if h.Moved {
		u.mu.Lock()
		u.next = next.Cmd.Process
		u.mu.Unlock()
		u.at("owner: about to leave")
		return h, errors.Join(err, next.Follow(ctx, endSignals...))
	}
	if how := next.GiveUp(); how != "" {
		err = fmt.Errorf("%w (%s has ended: %s; its log may say more)", err, next.Cmd.Path, how)
	}
	return h, err
}

// begin begins an upgrade, unless there is one, or none can be.
func (u *Upgrader) begin() (done func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case os.Getpid() == 1:
		return nil, ErrProcessOne
	case u.ending:
		return nil, ErrEnds
	case u.node == nil:
		return nil, ErrStarts
	case u.busy != nil:
		return nil, handoff.ErrBusy
	}
	busy := make(chan struct{})
	u.busy = busy
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.busy = nil
		close(busy)
	}, nil
}

func (u *Upgrader) successor() *Successor {
	cmd := &exec.Cmd{Path: u.file, Args: os.Args}
	if len(u.Command) > 0 {
		cmd = exec.Command(u.Command[0], u.Command[1:]...) // if there is none, its Start says so
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	u.mu.Lock()
	defer u.mu.Unlock()
	return &Successor{Cmd: cmd, Listeners: slices.Clone(u.beside), OnMain: func() { u.at("owner: the new process is the main one") }}
}

// Run serves until ctx ends, the process is told to end (SIGTERM, SIGINT), or nobody can connect to
// the node any more; then it is shut down, and Run returns the error of that, or of the listener.
// On SIGHUP it calls Upgrade, and if another process is the node now, it returns nil: so it does
// after any Upgrade. A SIGHUP that comes during one is dealt with after it, by whichever process is
// the node then. A second SIGTERM ends the process at once.
//
// Where systemd keeps descriptors (FileDescriptorStoreMax=, since version 254), SIGUSR2 leaves the
// node with it, for the process that it starts next, and Run returns nil: a unit asks for that with
// RestartKillSignal=SIGUSR2. Where it does not, SIGUSR2 is as SIGTERM.
func (u *Upgrader) Run(ctx context.Context) error {
	defer u.before.Outlive()
	defer u.unwatch()
	dropInherited() // what this program does not listen on any more
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(ctx, u.end)()
	listener := u.node.Listeners()[0]
	var trouble error
	var busy <-chan struct{} // closed when an upgrade is over, after which there is to be another one
	for ctx.Err() == nil {
		select {
		case <-u.node.Done():
			return u.leave(stop)
		case <-listener.Done():
			if errors.Is(listener.Err(), nodes.ErrMoved) {
				return u.leave(stop)
			}
			trouble = listener.Err()
			stop()
		case <-u.ends:
			stop()
		case <-ctx.Done():
		case <-u.upgrades:
			busy = u.hangUp(ctx)
		case <-busy:
			busy = u.hangUp(ctx)
		case <-u.restarts:
			if u.leaveWithManager(ctx) {
				return nil
			}
			stop()
		}
	}
	// from now on a signal ends the program at once
	time.AfterFunc(sameSignal, func() { signal.Stop(u.ends) })
	<-u.last()
	if errors.Is(u.node.Err(), nodes.ErrMoved) {
		return nil
	}
	limit, cancel := context.WithTimeout(context.Background(), cmp.Or(u.ShutdownTimeout, DefaultShutdownTimeout))
	defer cancel()
	return errors.Join(trouble, u.node.Shutdown(limit))
}

// hangUp is what SIGHUP asks for. If an upgrade goes on, it gives what is closed when that is over.
func (u *Upgrader) hangUp(ctx context.Context) (busy <-chan struct{}) {
	done, err := u.begin()
	u.mu.Lock()
	busy = u.busy
	u.mu.Unlock()
	u.again = errors.Is(err, handoff.ErrBusy)
	switch {
	case u.again && busy == nil: // it is over just now
		return u.hangUp(ctx)
	case u.again:
		return busy
	case err != nil:
		u.log().Error("upgrade", "moved", false, "error", err)
		_ = errors.Join(notifyReloading(), NotifyReady()) // who has sent the signal waits for both
	default:
		go func() {
			defer done() // only then does Run return, and the program end: the log has the outcome
			u.upgrade(ctx)
		}()
	}
	return nil
}

func (u *Upgrader) upgrade(ctx context.Context) {
	h, err := u.handOver(ctx)
	switch {
	case err != nil:
		u.log().Error("upgrade", "moved", h.Moved, "error", err)
	case h.Moved:
		u.log().Info("upgraded", "process", h.Peer.PID)
	}
}

// last is closed when no upgrade goes on, and none begins any more.
func (u *Upgrader) last() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ending = true
	if u.busy != nil {
		return u.busy
	}
	over := make(chan struct{})
	close(over)
	return over
}

// leave waits until an upgrade is over by which the node has ended here. Meanwhile that passes on
// that this process is to end, or to leave the node with the manager.
func (u *Upgrader) leave(stop func()) error {
	for over := u.last(); ; {
		select {
		case <-over:
			<-u.node.Done()
			u.passHangUp()
			if err := u.node.Err(); !errors.Is(err, nodes.ErrMoved) {
				return err
			}
			return nil
		case <-u.ends:
			stop()
		case <-u.upgrades:
			u.again = true
		case <-u.restarts:
			<-over
			u.passRestart()
		}
	}
}

// passHangUp has the process that is the node now answer a SIGHUP that came during the upgrade.
func (u *Upgrader) passHangUp() {
	select {
	case <-u.upgrades:
		u.again = true
	default:
	}
	if u.again && u.next != nil {
		_ = u.next.Signal(syscall.SIGHUP)
	}
}

// passRestart tells the process that is the node now to leave it with the manager.
func (u *Upgrader) passRestart() {
	if u.next != nil {
		_ = u.next.Signal(restartSignal)
	}
}

// leaveWithManager leaves the node with the service manager; false: it is still here.
func (u *Upgrader) leaveWithManager(ctx context.Context) bool {
	<-u.last()
	u.passRestart()
	if u.node.Err() != nil {
		return errors.Is(u.node.Err(), nodes.ErrMoved)
	}
	err := keep(ctx, u.node)
	if err != nil {
		u.log().Warn("the node is not left with the service manager: it ends", "error", err)
		return false
	}
	u.log().Info("the node is left with the service manager, for the next process")
	return true
}
