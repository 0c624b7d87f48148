package upgrade

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A whole is what others see as one node: a *nodes.Node, or a *nodes.Front with its workers.
type whole interface {
	Name() string
	Listeners() []*nodes.Listener
	Offer() *handoff.Offer
	Done() <-chan struct{}
	Err() error
	Shutdown(ctx context.Context) error
	Close() error
}

// A kind makes a whole: anew, or of what another process hands over.
type kind interface {
	// form is that of the state beside the node's own, which has forms of its own. A process that does
	// not know it refuses, or is refused, before anything stops.
	form() string
	begin(ctx context.Context, cfg nodes.Config) (whole, error)
	restore(cfg nodes.Config, state []byte, fds []int) (handoff.Staged, whole, error)
}

// alone is the kind of a node in this process alone.
type alone struct{}

func (alone) form() string { return "cnode-upgrade-node-2" }

func (alone) begin(ctx context.Context, cfg nodes.Config) (whole, error) {
	n, err := nodes.New(cfg)
	if err != nil {
		return nil, err
	}
	if err := n.Start(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (alone) restore(cfg nodes.Config, state []byte, fds []int) (handoff.Staged, whole, error) {
	staged, err := nodes.Restore(cfg, state, fds)
	if err != nil {
		return nil, nil, err
	}
	return staged, staged.Node(), nil
}

// crewed is the kind of a node with workers.
type crewed struct{ cfg nodes.FrontConfig }

func (crewed) form() string { return "cnode-upgrade-front-2" }

func (k crewed) begin(ctx context.Context, cfg nodes.Config) (whole, error) {
	k.cfg.Node = cfg
	f, err := nodes.StartFront(ctx, k.cfg)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (k crewed) restore(cfg nodes.Config, state []byte, fds []int) (handoff.Staged, whole, error) {
	k.cfg.Node = cfg
	staged, err := nodes.RestoreFront(k.cfg, state, fds)
	if err != nil {
		return nil, nil, err
	}
	return staged, staged.Front(), nil
}

// A besides is what is handed over beside the node's own state: a last line of JSON behind it,
// since the state may be large and is not copied. Unknown fields are skipped; what must not be
// skipped is a form of its own.
type besides struct {
	Control string // the path of the control socket, which is the last descriptor; "": there is none
}

// An heir makes a node of what the previous process hands over.
type heir struct {
	u      *Upgrader
	kind   kind
	staged handoff.Staged
	whole  whole
	socket *handoff.Control // the control socket; nil: the previous process had none
	// collect has the collector run as usual again
	collect func()
}

func (h *heir) stage(_ context.Context, state []byte, fds []int) (handoff.Staged, error) {
	var s besides
	end := bytes.LastIndexByte(state, '\n')
	err := json.Unmarshal(state[end+1:], &s)
	if err == nil && s.Control != "" && len(fds) == 0 {
		err = errors.New("a control socket without a descriptor")
	}
	set, e := handoff.NewFDSet(fds...)
	if err = errors.Join(err, e); err != nil {
		return nil, errors.Join(err, set.Close())
	}
	defer set.Close()
	if s.Control != "" {
		fd, err := set.Steal(len(fds) - 1)
		if err == nil {
			h.socket, err = handoff.ImportControl(fd, s.Control)
		}
		if err != nil {
			return nil, err
		}
	}
	if h.staged, h.whole, err = h.kind.restore(h.u.Config, state[:max(end, 0)], set.StealAll()); err != nil {
		return nil, errors.Join(err, h.forget())
	}
	if err := h.u.listens(h.whole.Listeners()); err != nil {
		return nil, errors.Join(err, h.Discard())
	}
	return h, nil
}

func (h *heir) forget() error {
	if h.socket == nil {
		return nil
	}
	return h.socket.Release()
}

// Start makes this process the node. The service manager is told before the old process, which then
// ends: a manager that sees its main process end before it knows of a new one stops the service.
func (h *heir) Start(ctx context.Context) error {
	err := h.staged.Start(ctx)
	h.u.at("heir: runs, and the manager is not told")
	h.u.ready()
	h.u.at("heir: the manager is told")
	return err
}

func (h *heir) Discard() error { return errors.Join(h.staged.Discard(), h.forget()) }

// ErrListens: where a node listens does not change when it is taken over (see Upgrader.TakeOver).
var ErrListens = errors.New("a node that is taken over listens where it did")

// listens checks that a node that is taken over listens where Config says.
func (u *Upgrader) listens(listeners []*nodes.Listener) error {
	if !u.took {
		return nil
	}
	for i, at := range append([]nodes.Endpoint{{Addr: u.Config.Listen, Transport: u.Config.Transport}}, u.Config.Also...) {
		there := listeners
		if i == 0 {
			there = listeners[:min(1, len(listeners))]
		}
		if !slices.ContainsFunc(there, func(l *nodes.Listener) bool { return serves(at, l) }) {
			var all []string
			for _, l := range listeners {
				all = append(all, fmt.Sprintf("%v (%s)", l.Addr(), l.Transport().Name()))
			}
			asked := "an address of its choice"
			if at.Addr != nil {
				asked = at.Addr.String()
			}
			if at.Transport != nil {
				asked += fmt.Sprintf(" (%s)", at.Transport.Name())
			}
			return fmt.Errorf("%w: at %s, not at %s", ErrListens, strings.Join(all, ", "), asked)
		}
	}
	return nil
}

// serves reports whether a listener is the one that Config means.
func serves(at nodes.Endpoint, l *nodes.Listener) bool {
	return (at.Transport == nil || at.Transport.Name() == l.Transport().Name()) && at.IsAt(l.Addr())
}

// An estate is a frozen node, together with what goes with it.
type estate struct {
	handoff.Frozen
	control *control // nil: none goes with it
	fds     []int
	state   []byte
	forget  sync.Once
}

// bequeath adds the control socket to a frozen node.
func bequeath(f handoff.Frozen, c *control) (handoff.Frozen, error) {
	e := &estate{Frozen: f, fds: f.Descriptors()}
	var s besides
	if c != nil && c.socket != nil {
		raw, err := c.socket.SyscallConn()
		if err == nil && raw.Control(func(fd uintptr) { e.fds = append(e.fds, int(fd)) }) == nil {
			e.control, s.Control = c, c.path
		}
	}
	line, err := json.Marshal(s)
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
	clear(e.state) // there may be a copy of the node's, with the keys of its TLS sessions
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
