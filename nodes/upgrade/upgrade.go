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
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport/handoff"
)

// defaultShutdownTimeout is that of an Upgrader.
const defaultShutdownTimeout = 10 * time.Second

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
	// Control is the path of a UNIX socket where other processes of the same user reach this one:
	// Ask, which an operator's command calls, and a Start with TakeOver. ControlPath gives the
	// usual one; "": there is none. Nobody but this user may have access to its directory, which is
	// made if need be. The socket goes on with the node, and is made anew if somebody removes it.
	// Without one the node runs all the same, and the log says why: on darwin and windows always.
	Control string
	// TakeOver has Start take the node over from the process that has the Control socket, unless
	// another one has started this process to hand the node over: ErrNobody if there is none,
	// ErrListens if the node does not listen where Config says.
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

	file     string // of this program
	node     whole
	kind     kind
	before   *Predecessor
	took     bool     // the node is taken over from a process that has not started this one
	control  *control // nil: there is none
	crew     *crew    // nil: the node has no workers
	unwatch  func()
	ends     chan os.Signal // Run is to end
	upgrades chan os.Signal
	restarts chan os.Signal // systemd starts the service again
	again    bool           // one of UpgradeOn has come during an upgrade that goes on
	over     context.Context
	end      context.CancelFunc // Upgrade is to give up, or to pass it on

	mu     sync.Mutex
	ending bool
	busy   chan struct{} // closed when the upgrade that goes on is over; nil: there is none
	next   *os.Process   // the node is its now
	beside []*listener   // go on with the node
}

// at tells whoever wants to know to which step this process has come.
func (u *Upgrader) at(step string) {
	if u.Reached != nil {
		u.Reached(step)
	}
}

// endSignals tell a process to end.
var endSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}

// endOn are the signals that tell this process to end.
func (u *Upgrader) endOn() []os.Signal {
	if len(u.EndOn) > 0 {
		return u.EndOn
	}
	return endSignals
}

// upgradeOn are the signals that ask for an upgrade.
func (u *Upgrader) upgradeOn() []os.Signal {
	if u.UpgradeOn == nil {
		return []os.Signal{syscall.SIGHUP}
	}
	return u.UpgradeOn
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
// out of the environment: see Notify.
func (u *Upgrader) Start(ctx context.Context) (*nodes.Node, error) {
	if err := u.run(ctx, alone{}); err != nil {
		return nil, err
	}
	return u.node.(*nodes.Node), nil
}

// StartMaking is Start for package workers, whose StartWith is for programs: k makes the front of a
// node with workers.
func (u *Upgrader) StartMaking(ctx context.Context, _ inside.Key, k inside.Making[nodes.Config, *nodes.Listener]) error {
	return u.run(ctx, k)
}

// run makes the node run, and reachable for others.
func (u *Upgrader) run(ctx context.Context, k kind) error {
	_ = manager() // before the program can start anything else
	u.kind, u.file = k, OwnFile()
	u.ends, u.upgrades, u.restarts = make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signal.Notify(u.ends, u.endOn()...)
	if on := u.upgradeOn(); len(on) > 0 { // none would be all
		signal.Notify(u.upgrades, on...)
	}
	if restartSignal != nil {
		signal.Notify(u.restarts, restartSignal)
	}
	u.over, u.end = context.WithCancel(context.Background())
	w, socket, err := u.begun(ctx)
	if err != nil {
		u.release()
		return err
	}
	c := u.newControl(w, socket)
	u.mu.Lock() // whoever may call Upgrade is there since the node runs
	u.node, u.unwatch, u.control = w, NotifyWatchdog(), c
	u.mu.Unlock()
	if c != nil {
		go c.serve()
	}
	return nil
}

// release leaves the signals to the program again, but for SIGPIPE.
func (u *Upgrader) release() {
	for _, ch := range []chan os.Signal{u.ends, u.upgrades, u.restarts} {
		signal.Stop(ch)
	}
}

// begun is the node, and the control socket if the previous process had one.
func (u *Upgrader) begun(ctx context.Context) (whole, *handoff.Control, error) {
	ch, err := u.channel(ctx)
	if err != nil {
		return nil, nil, err
	}
	if ch != nil {
		return u.takeOver(ctx, ch)
	}
	w, err := u.start(ctx)
	if err != nil {
		return nil, nil, err
	}
	if f, ok := w.(inside.Crewed); ok {
		u.crew = newCrew(f, false)
	}
	u.ready()
	return w, nil, nil
}

// channel is that to the process whose node this one gets; nil: there is none.
func (u *Upgrader) channel(ctx context.Context) (*handoff.Channel, error) {
	ch, err := Coming()
	if err != nil || ch != nil {
		if ch != nil {
			u.before = Succeed(ch.Peer().PID)
		}
		return ch, err
	}
	if !u.TakeOver {
		return nil, nil
	}
	u.took = true
	ch, err = dial(ctx, u.Control)
	if err != nil {
		return nil, fmt.Errorf("take the node over: %w", err)
	}
	return ch, nil
}

// start makes the node anew, or of what systemd has kept.
func (u *Upgrader) start(ctx context.Context) (whole, error) {
	kept, err := takeKept()
	if err != nil {
		u.log().Warn("what systemd has kept of the node is of no use: it starts anew", "error", err)
	}
	if kept != nil {
		n, err := kept.restore(ctx, u.Config)
		if err == nil {
			return n, nil
		}
		u.log().Warn("what systemd has kept of the node cannot go on: it starts anew", "error", err)
	}
	cfg := u.Config
	if err := cfg.Activate(); err != nil {
		return nil, err
	}
	return u.kind.Begin(ctx, cfg)
}

// Listen is net.Listen for what the program listens on beside its node, for probes say: it goes on
// in the process that follows, once that calls Listen with the same network and address, between
// Start and Run. Nobody is refused meanwhile: this process accepts as long as it has the
// node, and who connects later waits for the next one. Once the node has moved, Accept waits for
// Close. Its errors are those of net.Listen, and ErrStarts.
func (u *Upgrader) Listen(network, address string) (net.Listener, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.node == nil {
		return nil, ErrStarts
	}
	l, err := listen(network, address)
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
				l.leave()
			}
		}
	}()
	return l, nil
}

// log is the node's, or before there is one the program's.
func (u *Upgrader) log() *slog.Logger {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.logOf(u.node)
}

func (u *Upgrader) logOf(w whole) *slog.Logger {
	log := cmp.Or(u.Config.Logger, slog.New(slog.DiscardHandler))
	switch w := w.(type) {
	case nil:
		return log
	case *nodes.Node:
		return w.Logger()
	}
	return log.With("node", w.Name())
}

// say logs the outcome of a hand-off, and the process that it was for, if that is known.
func say(log *slog.Logger, h handoff.Handed, err error) {
	if h.Peer.PID > 0 {
		log = log.With("to", h.Peer.PID)
	}
	switch {
	case err != nil && h.Moved:
		log.Warn("node handed over, with trouble", "silence", h.Silence, "error", err)
	case err != nil:
		log.Warn("node not handed over", "silence", h.Silence, "error", err)
	default:
		log.Info("node handed over", "silence", h.Silence)
	}
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
func (u *Upgrader) takeOver(ctx context.Context, ch *handoff.Channel) (whole, *handoff.Control, error) {
	h := &heir{u: u, kind: u.kind, collect: func() {}}
	terms := u.Config.Terms()
	terms.Know = append(terms.Know, u.kind.Form())
	taken, err := (&handoff.Acceptance{Terms: terms, Prepare: h.prepare, Stage: h.stage}).Take(u.watched(ctx), ch)
	err = errors.Join(err, ch.Close())
	h.collect()
	if !taken.Owns {
		return nil, nil, err
	}
	if err != nil { // the node is this process's all the same, and runs
		u.log().Warn("trouble at the end of the hand-off", "error", err)
	}
	if f, ok := h.whole.(inside.Crewed); ok {
		u.crew = newCrew(f, true)
	}
	return h.whole, h.socket, nil
}

// Upgrade starts the new program, and hands the node over to it. If Handed.Moved, the other process
// is the node now, even if an error reports trouble at the end, and this one should end: Run
// returns nil. Otherwise this process goes on as if nothing had happened, and the error says why:
// what Allow returns, ErrBusy of package handoff while another Upgrade goes on, ErrProcessOne,
// ErrStarts, ErrEnds, what the start of the program returns, or a *handoff.Error. If ctx ends, or
// Run is to end, the node does not move; or if it has moved already, the other process is told to
// end.
//
// The node is silent for a fraction of a second, or for 15 s at most with a program that hangs.
// Upgrade returns once no signal that is meant for the node can reach this process any more.
func (u *Upgrader) Upgrade(ctx context.Context) (h handoff.Handed, err error) {
	done, err := u.begin()
	if err != nil {
		return h, err
	}
	defer done()
	return u.replace(ctx)
}

// replace hands over to the usual program.
func (u *Upgrader) replace(ctx context.Context) (handoff.Handed, error) {
	u.at("owner: asked")
	next, h, err := u.handOver(ctx, "")
	if h.Moved {
		err = errors.Join(err, u.follow(ctx, next))
	}
	return h, err
}

// handOver starts the new program (the usual one if program is "") and hands the node over to it.
func (u *Upgrader) handOver(ctx context.Context, program string) (next *Successor, h handoff.Handed, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(u.over, cancel)()
	next = u.successor(program)
	ch, err := next.Begin()
	if err != nil {
		return next, h, err
	}
	defer ch.Close()
	u.at("owner: new process started")
	h, err = u.give(ctx, ch)
	if h.Moved {
		u.mu.Lock()
		u.next = next.Cmd.Process
		u.mu.Unlock()
		return next, h, err
	}
	if how := next.GiveUp(); how != "" {
		err = fmt.Errorf("%w (%s has ended: %s; is it this program? its log may say more)", err, next.Cmd.Path, how)
	}
	return next, h, err
}

// follow ends what this process still has to do for the node that is the new process's.
func (u *Upgrader) follow(ctx context.Context, next *Successor) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(u.over, cancel)()
	u.at("owner: about to leave")
	if err := next.Follow(ctx, u.endOn()...); err != nil {
		return fmt.Errorf("the service manager has not heard of the new process (NOTIFY_SOCKET): %w", err)
	}
	return nil
}

// give hands the node over to the process at the other end.
func (u *Upgrader) give(ctx context.Context, ch *handoff.Channel) (handoff.Handed, error) {
	if u.control != nil {
		u.control.giving.RLock()
		defer u.control.giving.RUnlock()
	}
	o := u.node.Offer()
	freeze := o.Freeze
	o.Freeze = func(ctx context.Context) (handoff.Frozen, error) {
		f, err := freeze(ctx)
		if err != nil {
			return nil, err
		}
		return bequeath(f, u.control)
	}
	o.Terms.Require = append(o.Terms.Require, u.kind.Form())
	sizes := o.Static
	o.Static = func(ctx context.Context) ([]byte, error) {
		p, err := sizes(ctx)
		if x, e := states.ParseSize(p); err == nil && e == nil {
			touch(min(x.Written(), mostTouched))
		}
		return p, err
	}
	defer collectLess()()
	o.Deadlines = handoff.Deadlines{Hello: startLimit, Offer: stepLimit, Stage: stepLimit, Take: stepLimit}
	return o.Give(u.watched(ctx), ch)
}

// begin begins an upgrade, unless there is one, or none can be.
func (u *Upgrader) begin() (done func(), err error) {
	if u.Allow != nil {
		if err := u.Allow(); err != nil {
			return nil, err
		}
	}
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
	return sync.OnceFunc(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.busy = nil
		close(busy)
	}), nil
}

func (u *Upgrader) successor(program string) *Successor {
	cmd := &exec.Cmd{Path: u.file, Args: os.Args}
	if len(u.Command) > 0 {
		cmd = exec.Command(u.Command[0], u.Command[1:]...) // if there is none, its Start says so
	}
	if program != "" {
		cmd = &exec.Cmd{Path: program, Args: cmd.Args}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	u.mu.Lock()
	defer u.mu.Unlock()
	return &Successor{Cmd: cmd, listeners: slices.Clone(u.beside), onMain: func() { u.at("owner: the new process is the main one") }}
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
	defer u.before.Outlive()
	defer u.unwatch()
	defer u.hide()
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
		return u.left()
	}
	limit, cancel := context.WithTimeout(context.Background(), cmp.Or(u.ShutdownTimeout, defaultShutdownTimeout))
	defer cancel()
	shutdown := u.node.Shutdown
	if u.Shutdown != nil {
		shutdown = u.Shutdown
	}
	return errors.Join(trouble, shutdown(limit))
}

// left ends what is left here of a node that is another process's: of a front, what speaks to its
// workers.
func (u *Upgrader) left() error {
	if _, ok := u.node.(inside.Crewed); ok {
		return u.node.Close()
	}
	return nil
}

// hide has this process not be reached any more by its control socket, and waits for who is served.
func (u *Upgrader) hide() {
	u.end()
	if u.control != nil {
		<-u.control.over
	}
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
		say(u.log(), handoff.Handed{}, err)
		_ = errors.Join(notifyReloading(), NotifyReady()) // who has sent the signal waits for both
	default:
		go func() {
			defer done() // only then does Run return, and the program end: the log has the outcome
			h, err := u.replace(ctx)
			say(u.log(), h, err)
		}()
	}
	return nil
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
			return u.left()
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
		_ = u.next.Signal(u.upgradeOn()[0])
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
	err := errors.ErrUnsupported // with workers
	if n, ok := u.node.(*nodes.Node); ok {
		err = keep(ctx, n)
	}
	if err != nil {
		u.log().Warn("the node is not left with the service manager: it ends", "error", err)
		return false
	}
	u.log().Info("the node is left with the service manager, for the next process")
	return true
}
