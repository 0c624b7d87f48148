package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// inPlaceVariable is the environment variable with the descriptors that a program finds which runs
// in place of another one, in the same process: the first is the state's.
const inPlaceVariable = "CNODE_UPGRADE_IN_PLACE"

// replaceInPlace runs the new program in this process. It returns if that fails: before anything
// has stopped, or with the end of all.
func (s *Service) replaceInPlace(ctx context.Context) error {
	next := s.successor("").Cmd
	program, err := exec.LookPath(next.Path)
	if err = errors.Join(err, next.Err); err != nil {
		return err
	}
	_ = notifyReloading()
	frozen, err := s.owner.Park(ctx)
	if err != nil {
		return errors.Join(err, NotifyReady())
	}
	state, err := memoryFile(frozen.State())
	if err != nil {
		frozen.Thaw()
		return errors.Join(err, NotifyReady())
	}
	fds := append([]int{int(state.Fd())}, frozen.Descriptors()...)
	gone, cancel := context.WithCancel(context.Background())
	cancel() // Park has waited for what was in progress
	if err := s.owner.Leave(gone); err != nil {
		s.log().Warn("trouble with what was in progress", "error", err)
	}
	env := succeeding(os.Environ())
	text, err := json.Marshal(fds)
	env = append(env, inPlaceVariable+"="+string(text))
	if s.plain == nil { // whose listeners are not in the state
		all := []passed{}
		for _, l := range s.successorListeners() {
			if f := l.file(); f != nil {
				defer f.Close()
				fds = append(fds, int(f.Fd()))
				all = append(all, passed{FD: int(f.Fd()), Network: l.network, Address: l.address})
			}
		}
		text, e := json.Marshal(all)
		err = errors.Join(err, e)
		env = append(env, passedVariable+"="+string(text))
	}
	for _, fd := range fds {
		_, e := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		err = errors.Join(err, e)
	}
	if on := s.upgradeOn(); len(on) > 0 {
		hearPending(on)
		signal.Ignore(on...) // until the new program hears them, they would end it
	}
	if err == nil {
		s.at("owner: about to run the new program")
		if s.hungUp() {
			env = append(env, againVariable+"=yes")
		}
		err = syscall.Exec(program, next.Args, env)
	}
	err = fmt.Errorf("run %s in place: %w", program, err)
	s.broken <- err // what was served has stopped, and this program does not know it any more
	return err
}

// takeInPlace takes what the program has left that ran here before.
func takeInPlace(text string) (*Kept, error) {
	_ = os.Unsetenv(inPlaceVariable)
	var fds []int
	if err := json.Unmarshal([]byte(text), &fds); err != nil || len(fds) == 0 {
		return nil, fmt.Errorf("%s is %q: want the numbers of descriptors", inPlaceVariable, text)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	state, err := contents(fds[0])
	return &Kept{State: state, FDs: fds[1:]}, err
}
