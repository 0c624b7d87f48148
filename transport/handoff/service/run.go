package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/transport/handoff"
)

const (
	// defaultDrainTimeout is that of a Service.
	defaultDrainTimeout = 10 * time.Second
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

// ErrProcessOne: this is process 1 of a container, with whose end all other processes end. Use
// InPlace, replace the container, or have a process 1 that stays: cnode-demo stay is one.
var ErrProcessOne = errors.New("this is process 1, with which its successor would end")

// ErrEnds: the process is about to end, so nothing is handed over.
var ErrEnds = errors.New("the program is about to end")

// ErrStarts: the start is not over, so there is nothing to hand over yet.
var ErrStarts = errors.New("the program is about to start")

// ErrMoved: another process goes on with it.
var ErrMoved = errors.New("it goes on in another process")

// at tells whoever wants to know to which step this process has come.
func (s *Service) at(step string) {
	if s.Reached != nil {
		s.Reached(step)
	}
}

// endSignals tell a process to end.
var endSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}

// endOn are the signals that tell this process to end.
func (s *Service) endOn() []os.Signal {
	if len(s.EndOn) > 0 {
		return s.EndOn
	}
	return endSignals
}

// upgradeOn are the signals that ask for an upgrade.
func (s *Service) upgradeOn() []os.Signal {
	if s.UpgradeOn == nil {
		return []os.Signal{syscall.SIGHUP}
	}
	return s.UpgradeOn
}

// start makes the program run, and reachable for others.
func (s *Service) start(ctx context.Context, m Maker) error {
	s.hear()
	s.maker = m
	s.over, s.end = context.WithCancel(context.Background())
	o, socket, err := s.begun(ctx)
	if err != nil {
		s.release()
		return err
	}
	c := s.newControl(o, socket)
	s.mu.Lock() // whoever may call Upgrade is there since the owner runs
	s.owner, s.unwatch, s.control = o, NotifyWatchdog(), c
	s.mu.Unlock()
	if c != nil {
		go c.serve()
	}
	if s.OnReady != nil {
		s.OnReady()
	}
	return nil
}

// hear notes what the environment says, before the program can start anything else, and has signals
// wait for Run.
func (s *Service) hear() {
	_ = manager()
	if s.ends != nil {
		return
	}
	s.file, s.broken = OwnFile(), make(chan error, 1)
	s.ends, s.upgrades, s.restarts = make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan os.Signal, 1)
	s.heard = make(chan os.Signal, 1)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signal.Notify(s.ends, s.endOn()...)
	if on := s.upgradeOn(); len(on) > 0 { // none would be all
		if os.Getenv(againVariable) != "" {
			s.upgrades <- on[0] // before one that comes now has taken the place
		}
		signal.Notify(s.upgrades, on...)
		signal.Notify(s.heard, on...)
	}
	if restartSignal != nil {
		signal.Notify(s.restarts, restartSignal)
	}
	_ = os.Unsetenv(againVariable)
}

// againVariable is the environment variable that tells a program which runs in place of another one
// that a signal of UpgradeOn has come meanwhile.
const againVariable = "CNODE_UPGRADE_AGAIN"

// release leaves the signals to the program again, but for SIGPIPE.
func (s *Service) release() {
	for _, ch := range []chan os.Signal{s.ends, s.upgrades, s.heard, s.restarts} {
		signal.Stop(ch)
	}
}

// begun is the owner, and the control socket if the previous process had one.
func (s *Service) begun(ctx context.Context) (Owner, *handoff.Control, error) {
	ch, err := s.channel(ctx)
	if err != nil {
		return nil, nil, err
	}
	if ch != nil {
		return s.takeOver(ctx, ch)
	}
	kept, err := takeKept()
	if err != nil {
		s.logOf(nil).Warn("what was kept is of no use: all begins anew", "error", err)
	}
	o, err := s.maker.Begin(ctx, kept)
	if err != nil {
		return nil, nil, err
	}
	s.ready()
	return o, nil, nil
}

// channel is that to the process that hands over to this one; nil: there is none.
func (s *Service) channel(ctx context.Context) (*handoff.Channel, error) {
	ch, err := Coming()
	if err != nil || ch != nil {
		if ch != nil {
			s.before = succeed(ch.Peer().PID)
		}
		return ch, err
	}
	if !s.TakeOver {
		return nil, nil
	}
	s.taking = true
	ch, err = dial(ctx, s.Control)
	if err != nil {
		return nil, fmt.Errorf("take the %s over: %w", s.maker.What(), err)
	}
	return ch, nil
}

// TakesOver reports whether Start takes over from a process that has not started this one.
func (s *Service) TakesOver() bool { return s.taking }

// log is the owner's, or before there is one the program's.
func (s *Service) log() *slog.Logger {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logOf(s.owner)
}

func (s *Service) logOf(o Owner) *slog.Logger {
	if o != nil {
		return o.Logger()
	}
	return cmp.Or(s.Logger, slog.New(slog.DiscardHandler))
}

// say logs the outcome of a hand-off, and the process that it was for, if that is known.
func (s *Service) say(h handoff.Handed, err error) { say(s.log(), s.maker.What(), h, err) }

func say(log *slog.Logger, what string, h handoff.Handed, err error) {
	if h.Peer.PID > 0 {
		log = log.With("to", h.Peer.PID)
	}
	switch {
	case err != nil && h.Moved:
		log.Warn(what+" handed over, with trouble", "silence", h.Silence, "error", err)
	case err != nil:
		log.Warn(what+" not handed over", "silence", h.Silence, "error", err)
	default:
		log.Info(what+" handed over", "silence", h.Silence)
	}
}

func (s *Service) ready() {
	if err := NotifyReady(); err != nil {
		s.log().Warn("the service manager was not told that this process is ready (NOTIFY_SOCKET)", "error", err)
	}
}

// watched is ctx under which a hand-off tells what points it passes.
func (s *Service) watched(ctx context.Context) context.Context {
	return handoffpoint.With(ctx, func(p handoffpoint.Point) { s.at(string(p)) })
}

// takeOver makes this process the owner in place of the one at the other end.
func (s *Service) takeOver(ctx context.Context, ch *handoff.Channel) (Owner, *handoff.Control, error) {
	h := &heir{s: s}
	taken, err := (&handoff.Acceptance{Terms: s.maker.Terms(), Prepare: s.maker.Prepare, Stage: h.stage}).Take(s.watched(ctx), ch)
	err = errors.Join(err, ch.Close())
	if !taken.Owns {
		return nil, nil, err
	}
	if err != nil { // it is this process's all the same, and runs
		s.log().Warn("trouble at the end of the hand-off", "error", err)
	}
	return h.owner, h.socket, nil
}

// Upgrade starts the new program, and hands over to it. If Handed.Moved, the other process serves
// now, even if an error reports trouble at the end, and this one should end: Run returns nil.
// Otherwise this process goes on as if nothing had happened, and the error says why: what Allow
// returns, ErrBusy of package handoff while another Upgrade goes on, ErrProcessOne, ErrStarts,
// ErrEnds, what the start of the program returns, or a *handoff.Error. If ctx ends, or Run is to
// end, nothing moves; or if it has moved already, the other process is told to end. With InPlace it
// returns only if it fails.
//
// Upgrade returns once no signal that is meant for the service can reach this process any more.
func (s *Service) Upgrade(ctx context.Context) (h handoff.Handed, err error) {
	done, err := s.begin()
	if err != nil {
		return h, err
	}
	defer done()
	return s.replace(ctx)
}

// replace hands over to the usual program.
func (s *Service) replace(ctx context.Context) (handoff.Handed, error) {
	s.at("owner: asked")
	if s.InPlace {
		return handoff.Handed{}, s.replaceInPlace(ctx)
	}
	next, h, err := s.handOver(ctx, "")
	if h.Moved {
		err = errors.Join(err, s.follow(ctx, next))
	}
	return h, err
}

// handOver starts the new program (the usual one if program is "") and hands over to it.
func (s *Service) handOver(ctx context.Context, program string) (next *Successor, h handoff.Handed, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.over, cancel)()
	next = s.successor(program)
	h, err = next.Give(ctx, func(ctx context.Context, ch *handoff.Channel) (handoff.Handed, error) {
		s.at("owner: new process started")
		return s.give(ctx, ch)
	})
	if h.Moved {
		s.mu.Lock()
		s.next = next.Cmd.Process
		s.mu.Unlock()
	}
	return next, h, err
}

// follow ends what this process still has to do for what is the new process's.
func (s *Service) follow(ctx context.Context, next *Successor) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.over, cancel)()
	s.at("owner: about to leave")
	if err := next.Follow(ctx, s.endOn()...); err != nil {
		return fmt.Errorf("the service manager has not heard of the new process (NOTIFY_SOCKET): %w", err)
	}
	return nil
}

// give hands over to the process at the other end.
func (s *Service) give(ctx context.Context, ch *handoff.Channel) (handoff.Handed, error) {
	if s.control != nil {
		s.control.giving.RLock()
		defer s.control.giving.RUnlock()
	}
	o, done := s.owner.Offer()
	defer done()
	freeze := o.Freeze
	o.Freeze = func(ctx context.Context) (handoff.Frozen, error) {
		f, err := freeze(ctx)
		if err != nil {
			return nil, err
		}
		return bequeath(f, s.control)
	}
	o.Deadlines = handoff.Deadlines{Hello: startLimit, Offer: stepLimit, Stage: stepLimit, Take: stepLimit}
	return o.Give(s.watched(ctx), ch)
}

// begin begins an upgrade, unless there is one, or none can be.
func (s *Service) begin() (done func(), err error) {
	if s.Allow != nil {
		if err := s.Allow(); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case os.Getpid() == 1 && !s.InPlace:
		return nil, ErrProcessOne
	case s.ending:
		return nil, ErrEnds
	case s.owner == nil:
		return nil, ErrStarts
	case s.busy != nil:
		return nil, handoff.ErrBusy
	}
	busy := make(chan struct{})
	s.busy = busy
	// what has come before is what this upgrade is for; what is not yet in heard asks for one more
	_ = s.hungUp()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.busy == busy {
			s.busy = nil
			close(busy)
		}
	}, nil
}

func (s *Service) successor(program string) *Successor {
	cmd := &exec.Cmd{Path: s.file, Args: os.Args}
	if len(s.Command) > 0 {
		cmd = exec.Command(s.Command[0], s.Command[1:]...) // if there is none, its Start says so
	}
	if program != "" {
		cmd = &exec.Cmd{Path: program, Args: cmd.Args}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Successor{Cmd: cmd, listeners: slices.Clone(s.beside), onMain: func() { s.at("owner: the new process is the main one") }}
}

// run is Run once there is an owner.
func (s *Service) run(ctx context.Context) error {
	defer s.before.outlive()
	defer s.unwatch()
	defer s.hide()
	dropInherited() // what this program does not listen on any more
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(ctx, s.end)()
	var trouble error
	var busy <-chan struct{} // closed when an upgrade is over, after which there is to be another one
	for ctx.Err() == nil {
		select {
		case <-s.owner.Done():
			return s.leave(stop)
		case err := <-s.broken:
			return err
		case trouble = <-s.owner.Failed():
			stop()
		case <-s.ends:
			stop()
		case <-ctx.Done():
		case <-s.upgrades:
			busy = s.hangUp(ctx)
		case <-busy:
			busy = s.hangUp(ctx)
		case <-s.restarts:
			if s.leaveWithManager(ctx) {
				return s.left()
			}
			stop()
		}
	}
	// from now on a signal ends the program at once
	time.AfterFunc(sameSignal, func() { signal.Stop(s.ends) })
	<-s.last()
	if s.hasMoved() {
		return s.left()
	}
	limit, cancel := context.WithTimeout(context.Background(), s.drainTimeout())
	defer cancel()
	return errors.Join(trouble, s.owner.Shutdown(limit))
}

// hasMoved reports whether another process has what was here.
func (s *Service) hasMoved() bool { return errors.Is(s.owner.Err(), ErrMoved) }

// left ends what is left here of what is another process's.
func (s *Service) left() error {
	limit, cancel := context.WithTimeout(context.Background(), s.drainTimeout())
	defer cancel()
	go func() { // who ends a process that only drains has to say so twice, as always
		select {
		case <-s.ends:
			time.AfterFunc(sameSignal, func() { signal.Stop(s.ends) })
		case <-limit.Done():
		}
	}()
	s.at("owner: leaves")
	defer func() { // what has come meanwhile
		hearPending(s.upgradeOn())
		s.passHangUp()
	}()
	return s.owner.Leave(limit)
}

// hide has this process not be reached any more by its control socket, and waits for who is served.
func (s *Service) hide() {
	s.end()
	if s.control != nil {
		<-s.control.over
	}
}

// hangUp is what SIGHUP asks for. If an upgrade goes on, it gives what is closed when that is over.
func (s *Service) hangUp(ctx context.Context) (busy <-chan struct{}) {
	done, err := s.begin()
	s.mu.Lock()
	busy = s.busy
	s.again = errors.Is(err, handoff.ErrBusy)
	s.mu.Unlock()
	switch {
	case s.again && busy == nil: // it is over just now
		return s.hangUp(ctx)
	case s.again:
		return busy
	case err != nil:
		s.say(handoff.Handed{}, err)
		_ = errors.Join(notifyReloading(), NotifyReady()) // who has sent the signal waits for both
	default:
		go func() {
			defer done() // only then does Run return, and the program end: the log has the outcome
			h, err := s.replace(ctx)
			s.say(h, err)
		}()
	}
	return nil
}

// last is closed when no upgrade goes on, and none begins any more.
func (s *Service) last() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	if s.busy != nil {
		return s.busy
	}
	over := make(chan struct{})
	close(over)
	return over
}

// leave waits until an upgrade is over by which this process's part has ended. Meanwhile it passes
// on that this process is to end, or to leave all with the manager.
func (s *Service) leave(stop func()) error {
	for over := s.last(); ; {
		select {
		case <-over:
			<-s.owner.Done()
			s.passHangUp()
			if !s.hasMoved() {
				return s.owner.Err()
			}
			return s.left()
		case <-s.ends:
			stop()
		case <-s.upgrades:
			s.again = true
		case <-s.restarts:
			<-over
			s.passRestart()
		}
	}
}

// passHangUp has the process that serves now answer a SIGHUP that came during the upgrade.
func (s *Service) passHangUp() {
	select {
	case <-s.upgrades:
		s.again = true
	default:
	}
	if s.again && s.next != nil {
		_ = s.next.Signal(s.upgradeOn()[0])
		s.again = false
	}
}

// hearPending has the signals that have come in the channels that are for them.
func hearPending(signals []os.Signal) {
	if len(signals) == 0 {
		return
	}
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, signals...)
	handlePending()
	signal.Stop(heard) // which waits for what is handled
}

// hungUp reports whether a signal of UpgradeOn has come since the upgrade that goes on has begun.
// Run may have taken it from upgrades, and not have looked at it yet.
func (s *Service) hungUp() bool {
	select {
	case <-s.heard:
		return true
	default:
		return false
	}
}

// successorListeners go on in the program that follows.
func (s *Service) successorListeners() []*listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.beside)
}

// passRestart tells the process that serves now to leave all with the manager.
func (s *Service) passRestart() {
	if s.next != nil {
		_ = s.next.Signal(restartSignal)
	}
}

// leaveWithManager leaves all with the service manager; false: it is still here.
func (s *Service) leaveWithManager(ctx context.Context) bool {
	<-s.last()
	s.passRestart()
	if s.owner.Err() != nil {
		return s.hasMoved()
	}
	if err := keep(ctx, s.owner); err != nil {
		s.log().Warn("nothing is left with the service manager: the process ends", "error", err)
		return false
	}
	s.log().Info("the " + s.maker.What() + " is left with the service manager, for the next process")
	return true
}
