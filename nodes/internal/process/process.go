// Package process starts, watches and ends the processes of workers, whichever process of a front has started them.
package process

import (
	"os"
	"os/exec"
	"time"
)

// A Process is a child, or one that another process of the front has started.
type Process struct {
	PID    int
	Exited chan struct{} // closed when it has ended

	cmd    *exec.Cmd     // nil: not a child
	handle handle        // sees its end, and keeps its number from becoming another one's, where the system has such a thing
	over   chan struct{} // closed by Release
}

// lookAgain is how often one looks after a process that is not a child, where the system tells nothing.
const lookAgain = 50 * time.Millisecond

// Start starts a command.
func Start(cmd *exec.Cmd) (*Process, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{PID: cmd.Process.Pid, cmd: cmd, Exited: make(chan struct{}), over: make(chan struct{})}
	p.handle.open(p.PID) // it has not been waited for: the number is its own
	p.Watch()
	return p, nil
}

// Adopt goes on with a process that another front has started, whose end nobody hears of before Watch. handle is what its Descriptor was,
// or -1; it is owned.
func Adopt(pid, handle int) *Process {
	p := &Process{PID: pid, Exited: make(chan struct{}), over: make(chan struct{})}
	p.handle.adopt(handle)
	return p
}

// Watch notes the end of the process. It comes back at once.
func (p *Process) Watch() {
	go func() {
		ended := p.handle.wait()
		if !ended { // there is no handle, or it was released
			select {
			case <-p.over:
				if p.cmd != nil {
					_ = p.cmd.Process.Release()
				}
				return
			default:
			}
		}
		switch {
		case p.cmd != nil:
			_ = p.cmd.Wait() // ProcessState has it
		case !ended:
			for signalProcess(p.PID, 0) == nil {
				t := time.NewTimer(lookAgain)
				select {
				case <-t.C:
				case <-p.over:
					t.Stop()
					return
				}
			}
		}
		close(p.Exited)
	}()
}

// Descriptor is the handle's, for another front; -1 if there is none.
func (p *Process) Descriptor() int { return p.handle.descriptor() }

// Kill ends the process by force.
func (p *Process) Kill() {
	select {
	case <-p.Exited:
		return
	default:
	}
	switch {
	case p.cmd != nil:
		_ = p.cmd.Process.Kill() // it may have ended
	case p.handle.there():
		p.handle.kill()
	default:
		_ = killProcess(p.PID)
	}
}

// End ends the process by force.
func (p *Process) End() { p.Retire(0) }

// Retire waits for the end of a process that has nothing left to do, or ends it. Until then its handle is there, even of one that has
// died: its number may be another one's.
func (p *Process) Retire(limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-p.Exited:
	case <-t.C:
		p.Kill()
		<-p.Exited
	}
	p.handle.close()
}

// Release lets go of the process, which goes on.
func (p *Process) Release() {
	close(p.over)
	p.handle.close()
}

// Ended says how the process has ended.
func (p *Process) Ended() string {
	select {
	case <-p.Exited:
	default:
		return "it has not ended"
	}
	if p.cmd != nil && p.cmd.ProcessState != nil {
		return p.cmd.ProcessState.String()
	}
	return "it has ended"
}

// PassFiles has a command's process inherit files, and gives the number that the first of them has there; the others follow.
func PassFiles(cmd *exec.Cmd, files ...*os.File) int {
	first := 3 + len(cmd.ExtraFiles)
	cmd.ExtraFiles = append(cmd.ExtraFiles, files...)
	return first
}
