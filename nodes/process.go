package nodes

import (
	"errors"
	"os"
	"os/exec"
	"time"
)

// A workerProcess is that of a worker: a child, or one that another process of the front has started.
type workerProcess struct {
	pid    int
	cmd    *exec.Cmd     // nil: not a child
	handle processHandle // sees its end, and keeps its number from becoming another one's, where the system has such a thing
	exited chan struct{} // closed when it has ended
	over   chan struct{} // closed by release
}

// lookAgain is how often one looks after a process that is not a child, where the system tells nothing.
const lookAgain = 50 * time.Millisecond

// startProcess starts a command.
func startProcess(cmd *exec.Cmd) (*workerProcess, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &workerProcess{pid: cmd.Process.Pid, cmd: cmd, exited: make(chan struct{}), over: make(chan struct{})}
	p.handle.open(p.pid) // it has not been waited for: the number is its own
	p.watch()
	return p, nil
}

// adoptProcess goes on with a process that another front has started. handle is the process's, or -1; it is owned.
func adoptProcess(pid, handle int) *workerProcess {
	p := &workerProcess{pid: pid, exited: make(chan struct{}), over: make(chan struct{})}
	p.handle.adopt(handle)
	return p
}

// watch notes the end of the process. It comes back at once.
func (p *workerProcess) watch() {
	go func() {
		ended := p.handle.wait()
		if !ended { // there is no handle, or it was released
			select {
			case <-p.over:
				return
			default:
			}
		}
		switch {
		case p.cmd != nil:
			_ = p.cmd.Wait() // ProcessState has it
		case !ended:
			for signalProcess(p.pid, 0) == nil {
				t := time.NewTimer(lookAgain)
				select {
				case <-t.C:
				case <-p.over:
					t.Stop()
					return
				}
			}
		}
		close(p.exited)
	}()
}

// descriptor is the handle's, for another front; -1 if there is none.
func (p *workerProcess) descriptor() int { return p.handle.descriptor() }

// kill ends the process by force.
func (p *workerProcess) kill() {
	select {
	case <-p.exited:
		return
	default:
	}
	switch {
	case p.cmd != nil:
		_ = p.cmd.Process.Kill() // it may have ended
	case p.handle.there():
		p.handle.kill()
	default:
		_ = killProcess(p.pid)
	}
}

// end ends the process by force.
func (p *workerProcess) end() { p.retire(0) }

// retire waits for the end of a process that has nothing left to do, or ends it. Until then its handle is there, even of one that has
// died: its number may be another one's.
func (p *workerProcess) retire(limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-p.exited:
	case <-t.C:
		p.kill()
		<-p.exited
	}
	p.handle.close()
}

// release lets go of the process, which goes on.
func (p *workerProcess) release() {
	close(p.over)
	p.handle.close()
}

// ended says how the process has ended.
func (p *workerProcess) ended() string {
	select {
	case <-p.exited:
	default:
		return "it has not ended"
	}
	if p.cmd != nil && p.cmd.ProcessState != nil {
		return p.cmd.ProcessState.String()
	}
	return "it has ended"
}

// passFiles has a command's process inherit files, and gives the number that the first of them has there; the others follow.
func passFiles(cmd *exec.Cmd, files ...*os.File) int {
	first := 3 + len(cmd.ExtraFiles)
	cmd.ExtraFiles = append(cmd.ExtraFiles, files...)
	return first
}

// keptFile makes a file of a duplicate of a descriptor.
func keptFile(fd int) (*os.File, error) {
	dup, err := duplicate(fd)
	if err != nil {
		return nil, err
	}
	f := fileOf(dup)
	if f == nil {
		return nil, errors.ErrUnsupported
	}
	return f, nil
}
