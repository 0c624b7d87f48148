// Package process starts, watches and ends the processes of workers, whether this process of the
// front has started them or an earlier one.
package process

import (
	"os"
	"os/exec"
	"time"
)

// A Process is a child, or a process that an earlier process of the front has started.
type Process struct {
	PID    int
	Exited chan struct{} // closed when it has ended

	cmd *exec.Cmd // nil: not a child
	// sees its end, and never stands for another process that gets its number; on Linux only
	handle handle
	over   chan struct{} // closed by Release
}

// lookAgain is how often a process that is not a child is checked, on systems without handles.
const lookAgain = 50 * time.Millisecond

// Start starts a command.
func Start(cmd *exec.Cmd) (*Process, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{PID: cmd.Process.Pid, cmd: cmd, Exited: make(chan struct{}), over: make(chan struct{})}
	p.handle.open(p.PID) // the process has not been waited for, so the number is still its own
	p.Watch()
	return p, nil
}

// Adopt makes a Process of one that an earlier process of the front has started. Its end is not
// noticed before Watch. handle is what its Descriptor was, or -1; the Process owns it.
func Adopt(pid, handle int) *Process {
	p := &Process{PID: pid, Exited: make(chan struct{}), over: make(chan struct{})}
	p.handle.adopt(handle)
	return p
}

// Watch closes Exited when the process has ended. It does not wait for that.
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
			_ = p.cmd.Wait() // ProcessState has the outcome
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

// Descriptor is the handle's, for another process of the front; -1 if there is none.
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

// End ends the process by force, and waits until it has ended.
func (p *Process) End() { p.Retire(0) }

// Retire waits for the end of a process that has nothing left to do; after limit it ends the
// process by force. The handle is kept until then, even if the process has died: by its number
// alone another process might be killed.
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

// PassFiles makes a command's process inherit files, and returns the descriptor number that the
// first of them has there; the others follow.
func PassFiles(cmd *exec.Cmd, files ...*os.File) int {
	first := 3 + len(cmd.ExtraFiles)
	cmd.ExtraFiles = append(cmd.ExtraFiles, files...)
	return first
}
