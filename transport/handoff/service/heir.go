package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/cnode-go/cnode/transport/handoff"
)

// A besides is what is handed over beside the owner's own state: a last line of JSON behind it,
// since the state may be large and is not copied. Unknown fields are skipped; what must not be
// skipped is a form of its own.
type besides struct {
	Control string // the path of the control socket, which is the last descriptor; "": there is none
}

// An heir makes an owner of what the previous process hands over.
type heir struct {
	s      *Service
	staged handoff.Staged
	owner  Owner
	socket *handoff.Control // the control socket; nil: the previous process had none
}

func (h *heir) stage(_ context.Context, state []byte, fds []int) (handoff.Staged, error) {
	var b besides
	end := bytes.LastIndexByte(state, '\n')
	err := json.Unmarshal(state[end+1:], &b)
	if err == nil && b.Control != "" && len(fds) == 0 {
		err = errors.New("a control socket without a descriptor")
	}
	set, e := handoff.NewFDSet(fds...)
	if err = errors.Join(err, e); err != nil {
		return nil, errors.Join(err, set.Close())
	}
	defer set.Close()
	if b.Control != "" {
		fd, err := set.Steal(len(fds) - 1)
		if err == nil {
			h.socket, err = handoff.ImportControl(fd, b.Control)
		}
		if err != nil {
			return nil, err
		}
	}
	if h.staged, h.owner, err = h.s.maker.Restore(state[:max(end, 0)], set.StealAll()); err != nil {
		return nil, errors.Join(err, h.forget())
	}
	return h, nil
}

func (h *heir) forget() error {
	if h.socket == nil {
		return nil
	}
	return h.socket.Release()
}

// Start makes this process the owner. The service manager is told before the old process, which
// then ends: a manager that sees its main process end before it knows of a new one stops the
// service.
func (h *heir) Start(ctx context.Context) error {
	err := h.staged.Start(ctx)
	h.s.at("heir: runs, and the manager is not told")
	h.s.ready()
	h.s.at("heir: the manager is told")
	return err
}

func (h *heir) Discard() error { return errors.Join(h.staged.Discard(), h.forget()) }

// An estate is a frozen owner, together with what goes with it.
type estate struct {
	handoff.Frozen
	control *control // nil: none goes with it
	fds     []int
	state   []byte
	forget  sync.Once
}

// bequeath adds the control socket to a frozen owner.
func bequeath(f handoff.Frozen, c *control) (handoff.Frozen, error) {
	e := &estate{Frozen: f, fds: f.Descriptors()}
	var b besides
	if c != nil && c.socket != nil {
		raw, err := c.socket.SyscallConn()
		if err == nil && raw.Control(func(fd uintptr) { e.fds = append(e.fds, int(fd)) }) == nil {
			e.control, b.Control = c, c.path
		}
	}
	line, err := json.Marshal(b)
	if err != nil {
		f.Thaw()
		return nil, err
	}
	e.state = append(append(f.State(), '\n'), line...)
	return e, nil
}

func (e *estate) State() []byte      { return e.state }
func (e *estate) Descriptors() []int { return e.fds }

func (e *estate) Thaw() {
	clear(e.state) // there may be a copy of the owner's, with the keys of its TLS sessions
	e.Frozen.Thaw()
}

func (e *estate) Release() error {
	clear(e.state)
	err := e.Frozen.Release()
	if e.control != nil {
		e.forget.Do(func() { err = errors.Join(err, e.control.release()) })
	}
	return err
}
