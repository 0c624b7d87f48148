package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport/handoff"
)

// Variable is the environment variable with the number of the descriptor by which a process that is
// to go on as the node gets everything.
const Variable = "CNODE_UPGRADE_FD"

// A Successor is a process that is started to go on in place of this one. Programs that have a form
// of their own for what they hand over use it, with transport/handoff, in place of a Service: Give
// starts the process, and Follow is next.
type Successor struct {
	// Cmd is what is started; its Wait is the Successor's affair.
	Cmd *exec.Cmd

	// onMain, if not nil, is called by Follow when the service manager takes the successor for the
	// main process.
	onMain func()
	// listeners go on in the successor, where listen finds them.
	listeners []*listener
	// sibling: it is no child of this process, but of this one's parent.
	sibling bool
}

// Begin starts the process, and gives the channel by which it is to get everything: it has the
// other end, whose descriptor Variable names in its environment. That is this process's, unless Cmd
// has one, but for what systemd says to this process only.
//
// A service manager hears that a reload begins (RELOADING=1, with MONOTONIC_USEC). Under one the
// process is a sibling of this one, where the system allows it (Linux 5.4): the manager learns the
// end of its own children only, and kills a main process that is none as soon as it is told to stop
// it.
func (s *Successor) Begin() (*handoff.Channel, error) {
	ch, theirs, err := handoff.ChannelPair()
	if err != nil {
		return nil, err
	}
	if s.Cmd.Env == nil {
		s.Cmd.Env = os.Environ()
	}
	s.Cmd.Env = append(succeeding(s.Cmd.Env), fmt.Sprintf("%s=%d", Variable, firstExtra+len(s.Cmd.ExtraFiles)))
	s.Cmd.ExtraFiles = append(s.Cmd.ExtraFiles, theirs)
	files := s.passOn()
	_ = notifyReloading() // a manager that does not hear this is told by Follow, which says so
	err = errors.Join(s.start(), theirs.Close())
	for _, f := range files {
		_ = f.Close() // the process has its own
	}
	if err != nil {
		_ = NotifyReady()
		return nil, errors.Join(fmt.Errorf("start %s: %w", s.Cmd.Path, err), ch.Close())
	}
	return ch, nil
}

// firstExtra is the descriptor that the first of Cmd.ExtraFiles is in the process.
const firstExtra = 3

func (s *Successor) start() error {
	s.sibling = manager() != "" && makeSibling(s.Cmd)
	return s.Cmd.Start()
}

// exitDelay is how long a process may take to end by itself once it is refused. If it is killed
// before, a service manager may find what it has just started.
const exitDelay = time.Second

// Give begins, and has give hand over to the process. One that does not take over is ended, and the
// error tells how it has ended before that by itself. Then a service manager hears that this
// process serves on.
func (s *Successor) Give(
	ctx context.Context, give func(context.Context, *handoff.Channel) (handoff.Handed, error),
) (h handoff.Handed, err error) {
	if os.Getpid() == 1 {
		return h, ErrProcessOne
	}
	ch, err := s.Begin()
	if err != nil {
		return h, err
	}
	defer ch.Close()
	if h, err = give(ctx, ch); h.Moved {
		return h, err
	}
	if how := s.giveUp(); how != "" {
		err = fmt.Errorf("%w (%s has ended: %s; is it this program? its log may say more)", err, s.Cmd.Path, how)
	}
	return h, err
}

// giveUp ends a process that has not become the node, by force, and tells how it has ended before
// that by itself; "": it had not.
func (s *Successor) giveUp() string {
	defer func() { _ = NotifyReady() }()
	if s.sibling { // only the parent learns the exit status
		ended := hasEnded(s.Cmd.Process, exitDelay)
		_ = s.Cmd.Process.Kill()
		hasEnded(s.Cmd.Process, -1)
		if ended {
			return "the service manager has its status"
		}
		return ""
	}
	_ = s.Cmd.Process.Kill() // the process may have ended by itself
	state, err := s.Cmd.Process.Wait()
	if err != nil || killed(state) {
		return ""
	}
	return state.String()
}

// lastSignal is how long a signal that has come may take to its handler.
const lastSignal = 200 * time.Millisecond

// Follow ends what this process still has to do for the node that is the successor's: it passes on,
// as SIGTERM, that it is told to end, as ctx is or by one of these signals (none: SIGTERM, SIGINT;
// SIGUSR2 is passed on as it is, see Upgrader.Run). Under a service manager
// it makes the successor the main process, and ends before it: what is left when the main process
// ends is killed. Anybody else waits for this process, which therefore ends after the one that it
// has told to end. An error says that the manager has not heard of the successor.
//
// The manager has sent all that it sends to this process when Follow returns: end then.
func (s *Successor) Follow(ctx context.Context, ends ...os.Signal) (err error) {
	if len(ends) == 0 {
		ends = endSignals
	}
	if restartSignal != nil {
		ends = append(slices.Clone(ends), restartSignal)
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, ends...)
	if s.sibling {
		err = makeMain(s.Cmd.Process.Pid)
	}
	if s.onMain != nil {
		s.onMain()
	}
	select {
	case <-ctx.Done():
	case <-time.After(lastSignal):
	}
	handlePending()
	signal.Stop(told) // which waits for what is handled
	var pass os.Signal = syscall.SIGTERM
	select {
	case first := <-told:
		if first == restartSignal {
			pass = first
		}
	default:
		if ctx.Err() == nil {
			return err
		}
	}
	if s.Cmd.Process.Signal(pass) == nil && !s.sibling {
		_ = s.Cmd.Wait() // how it ends is its own affair
	}
	return err
}

// A predecessor is the process whose node this one gets.
type predecessor struct{ p *os.Process }

// succeed is told which process this one is started in place of; outlive ends what it begins. Who
// tells that process to end may have told this one, too: until it has ended, a second SIGTERM is no
// reason to end at once.
func succeed(pid int) *predecessor {
	p, err := os.FindProcess(pid)
	if err != nil || pid <= 0 { // it cannot be watched
		return nil
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	go func() {
		hasEnded(p, -1)
		signal.Stop(told)
	}()
	return &predecessor{p}
}

// outliveLimit is more than that process still needs.
const outliveLimit = 2 * mainLimit

// outlive waits for the end of the process whose node this one has got, if that does not wait for
// this one: a service manager kills what is left when its main process has ended. It is the last
// that a process does; of nil it does nothing.
func (b *predecessor) outlive() {
	if b != nil && b.p.Pid != os.Getppid() && manager() != "" {
		hasEnded(b.p, outliveLimit)
	}
}

// Coming gives the channel to the process that has started this one by Begin; nil: none has. What
// this process starts does not see Variable any more, nor the NOTIFY_SOCKET of systemd: a program
// calls Coming before it starts any other.
func Coming() (*handoff.Channel, error) {
	_, _ = manager(), inherited()
	text := os.Getenv(Variable)
	if text == "" {
		return nil, nil
	}
	_ = os.Unsetenv(Variable)
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s is %q: want the number of a descriptor", Variable, text)
	}
	f := os.NewFile(uintptr(fd), "upgrade")
	ch, err := handoff.FileChannel(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Variable, errors.Join(err, f.Close()))
	}
	return ch, nil
}

// forOneProcess are the variables that are for this process only.
var forOneProcess = []string{Variable, watchdogProcess, takenVariable, passedVariable, againVariable}

// succeeding is an environment for a successor: without Variable and the variables by which systemd
// addresses one process only, and with the address at which systemd hears of it.
func succeeding(all []string) (env []string) {
	at, named := manager(), false
	for _, v := range all {
		name, _, _ := strings.Cut(v, "=")
		named = named || name == notifyVariable
		if !slices.Contains(forOneProcess, name) && !strings.HasPrefix(name, "LISTEN_") {
			env = append(env, v)
		}
	}
	if at != "" && !named {
		env = append(env, notifyVariable+"="+at)
	}
	return env
}

func killed(state *os.ProcessState) bool {
	ws, ok := state.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// OwnFile is the path by which this program was started, if the path still leads to it: if the path
// is a link that is changed later, the new target is used. Otherwise it is the program's own file.
// A program asks at its start, when the path is not changed yet.
func OwnFile() string {
	called, err := exec.LookPath(os.Args[0])
	if err == nil {
		called, err = filepath.Abs(called)
	}
	self, unknown := os.Executable() // without /proc it is
	switch {
	case unknown != nil && err != nil:
		return os.Args[0]
	case unknown != nil:
		return called
	case err != nil:
		return self
	}
	one, err1 := os.Stat(self)
	other, err2 := os.Stat(called)
	if err1 != nil || err2 != nil || !os.SameFile(one, other) {
		return self
	}
	return called
}
