package nodes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

const (
	// A worker that ends is replaced after the first of these times, which doubles, up to the second one, while its successors end as soon.
	firstPause = 100 * time.Millisecond
	mostPause  = 5 * time.Second
	// maxUntaken bounds the sessions that a worker has not yet taken out of its sockets. One more passes it over.
	maxUntaken = 64
)

// A crewman is one worker as the front sees it.
type crewman struct {
	f    *Front
	slot int
	part int
	cmd  *exec.Cmd
	line *line
	gone chan struct{} // closed when the process has ended and all of its has been dropped

	began chan struct{} // closed when it is ready
	heard atomic.Int64  // when it last said something, in Unix nanoseconds

	// Guarded by f.mu.
	ready    bool
	hangs    bool // it did not answer, and has not been heard of since
	sessions int
	forward  *handoff.Forwarder
	untaken  [2][]*session // in BIND 10's form, and in words
	probes   map[uint64]chan struct{}
	probed   uint64
}

// A session is a socket that was pushed to a worker, until that one has taken it.
type session struct {
	s         *transport.Stream
	timer     *time.Timer
	withdrawn bool
}

func (w *crewman) info() WorkerInfo {
	return WorkerInfo{Slot: w.slot, PID: w.cmd.Process.Pid, Sessions: w.sessions}
}

// man keeps one slot manned until the front ends. first hears how the first start went.
func (f *Front) man(start context.Context, slot int, first chan<- error) {
	pause := firstPause
	for f.ctx.Err() == nil {
		born := time.Now()
		w, err := f.launch(slot)
		if err == nil {
			select {
			case <-w.began:
				if first != nil {
					first <- nil
					first = nil
				}
			case <-w.gone:
				err = fmt.Errorf("the worker ended before it was ready: %v", w.cmd.ProcessState)
			case <-start.Done():
				if first != nil {
					w.kill()
				}
			}
		}
		if err != nil {
			f.n.log.Error("no worker", "slot", slot, "error", err)
			if first != nil {
				first <- err
				return
			}
		} else {
			<-w.gone
			if f.ctx.Err() == nil {
				f.n.log.Error("worker ended", "slot", slot, "pid", w.cmd.Process.Pid, "state", w.cmd.ProcessState)
			}
		}
		if time.Since(born) > 2*mostPause {
			pause = firstPause
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-f.ctx.Done():
			t.Stop()
		}
		pause = min(2*pause, mostPause)
	}
}

// launch starts a worker's process, and introduces it to the others.
func (f *Front) launch(slot int) (*crewman, error) {
	w := &crewman{f: f, slot: slot, gone: make(chan struct{}), began: make(chan struct{}), probes: map[uint64]chan struct{}{}}
	ours, theirs, err := handoff.SocketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	lineConn, err := handoff.FileConn(ours)
	if err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	forward, sessions, err := newForwarder()
	if err != nil {
		return nil, errors.Join(err, lineConn.Close())
	}
	defer closeDescriptor(sessions)
	w.forward = forward
	mc, err := handoff.NewMessageConn(lineConn, nil)
	if err != nil {
		return nil, errors.Join(err, lineConn.Close(), forward.Close())
	}
	w.cmd = f.cfg.Command()
	sessionsFile, err := keptFile(sessions)
	if err != nil {
		return nil, errors.Join(err, mc.Close(), forward.Close())
	}
	defer sessionsFile.Close()
	at := 3 + len(w.cmd.ExtraFiles)
	w.cmd.ExtraFiles = append(w.cmd.ExtraFiles, theirs, sessionsFile)
	w.cmd.Env = append(w.cmd.Environ(), WorkerVariable+"="+strconv.Itoa(at)+","+strconv.Itoa(at+1))
	if err := w.cmd.Start(); err != nil {
		return nil, errors.Join(err, mc.Close(), forward.Close())
	}
	w.line = newLine(mc)
	if err := f.introduce(w); err != nil {
		w.line.close()
		w.kill()
		_ = w.cmd.Wait()
		<-w.line.wrote
		return nil, errors.Join(err, forward.Close())
	}
	f.wg.Go(w.attend)
	return w, nil
}

// keptFile makes a file of a duplicate of a descriptor.
func keptFile(fd int) (*os.File, error) {
	dup, err := duplicate(fd)
	if err != nil {
		return nil, err
	}
	return fileOf(dup), nil
}

// newForwarder makes a Forwarder, and the socket at whose other end its sessions arrive.
func newForwarder() (*handoff.Forwarder, int, error) {
	one, other, err := streamPair()
	if err != nil {
		return nil, -1, err
	}
	file := fileOf(one)
	conn, err := handoff.FileConn(file)
	if err != nil {
		return nil, -1, errors.Join(err, file.Close(), closeDescriptor(other))
	}
	forward, err := handoff.NewForwarderConn(conn)
	if err != nil {
		return nil, -1, errors.Join(err, conn.Close(), closeDescriptor(other))
	}
	return forward, other, nil
}

// introduce gives a worker its number, and the workers ways to each other.
func (f *Front) introduce(w *crewman) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for { // the next number that nobody has
		f.lastPart = f.lastPart%maxPart + 1
		if f.crew[f.lastPart] == nil {
			break
		}
	}
	w.part = f.lastPart
	w.line.say(word{Topic: sayWelcome, Name: f.n.Name(), Creation: f.n.Creation(), Part: w.part})
	for _, other := range f.crew {
		one, two, err := streamPair()
		if err != nil {
			return err
		}
		w.line.say(word{Topic: saySibling, Part: other.part, fd: one})
		other.line.say(word{Topic: saySibling, Part: w.part, fd: two})
	}
	if f.ctx.Err() != nil {
		return ErrClosed
	}
	f.crew[w.part] = w
	return nil
}

// attend takes what a worker says until it has ended, and drops what it had.
func (w *crewman) attend() {
	exited := make(chan struct{})
	go func() { _ = w.cmd.Wait(); close(exited) }() // ProcessState has it
	_ = w.line.read(w.f.takeFrom(w))
	w.line.close()
	<-w.line.wrote
	w.f.discharge(w)
	t := time.NewTimer(farewell + shutdownTime)
	defer t.Stop()
	select {
	case <-exited:
	case <-t.C: // it has closed the line and goes on
		w.kill()
		<-exited
	}
	close(w.gone)
}

// discharge drops what a worker had.
func (f *Front) discharge(w *crewman) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.crew, w.part)
	w.ready = false
	for name, r := range f.routes {
		if delete(r.held, w); len(r.held) == 0 {
			delete(f.routes, name)
		}
	}
	for name, t := range f.names {
		if t.w == w {
			delete(f.names, name)
		}
	}
	for _, list := range w.untaken {
		for _, s := range list {
			s.timer.Stop()
			if !s.withdrawn {
				_ = s.s.Release() // the worker's own descriptor has gone with it
			}
		}
	}
	w.untaken = [2][]*session{}
	for _, c := range w.probes {
		close(c)
	}
	w.probes = map[uint64]chan struct{}{}
	_ = w.forward.Close()
	f.changedLocked()
}

// kill ends the process.
func (w *crewman) kill() { _ = w.cmd.Process.Kill() }

// dismiss ends the worker: by the end of the line, or else by force.
func (w *crewman) dismiss() {
	w.line.close()
	t := time.AfterFunc(farewell, w.kill)
	w.f.wg.Go(func() { <-w.gone; t.Stop() })
}

// hear notes that a worker has said something; f.mu is held.
func (w *crewman) hear() {
	w.heard.Store(time.Now().UnixNano())
	if w.hangs {
		w.hangs = false
		w.f.n.log.Info("worker is back", "slot", w.slot)
		w.f.changedLocked()
	}
}

// took notes that a worker has taken the oldest session of a way.
func (w *crewman) took(way int) {
	if way < 0 || way > 1 || len(w.untaken[way]) == 0 {
		return
	}
	s := w.untaken[way][0]
	w.untaken[way] = w.untaken[way][1:]
	s.timer.Stop()
	if !s.withdrawn {
		_ = s.s.Release()
	}
	if len(w.untaken[way]) == maxUntaken-1 {
		w.f.changedLocked()
	}
}

// takeFrom does what a worker says.
func (f *Front) takeFrom(w *crewman) func(word) {
	return func(m word) {
		f.mu.Lock()
		defer f.mu.Unlock()
		defer m.drop()
		w.hear()
		switch m.Topic {
		case sayReady:
			if !w.ready {
				w.ready = true
				close(w.began)
				f.changedLocked()
			}
		case sayTook:
			w.took(m.Part)
		case sayHere:
			if c := w.probes[m.ID]; c != nil {
				close(c)
				delete(w.probes, m.ID)
			}
		case sayUp:
			f.up(w, m.Key, m.Name)
		case sayOver:
			w.sessions--
			f.leave(w, m.Name)
		case sayClaim:
			f.claim(w, &m)
		case sayRegister:
			_, taken := f.names[m.Name]
			if !taken {
				f.names[m.Name] = tenancy{w, m.Number}
			}
			w.line.say(word{Topic: sayAnswer, ID: m.ID, OK: !taken})
		case sayRelease:
			if f.names[m.Name].w == w {
				delete(f.names, m.Name)
			}
		case sayLookup:
			answer := word{Topic: sayAnswer, ID: m.ID}
			if t, ok := f.names[m.Name]; ok {
				answer.OK, answer.Part, answer.Number = true, t.w.part, t.number
			}
			w.line.say(answer)
		case sayShadow, sayNone:
			to := f.crew[m.Part]
			if to == nil {
				return
			}
			m.Part = w.part
			to.line.say(m)
			m.fd = 0 // the line's
		}
	}
}

// reopen gives a worker another socket for sessions, when the one that it has is broken; f.mu is held.
func (w *crewman) reopen() error {
	forward, other, err := newForwarder()
	if err != nil {
		return err
	}
	w.forward = forward
	w.line.say(word{Topic: saySessions, fd: other})
	return nil
}
