package move

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/cli"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/steps"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/spf13/pflag"
)

const (
	// StateFeature and FrontFeature are the forms of what serve hands over, without workers and
	// with workers. A process that does not know the form refuses, or is refused, before anything
	// stops. The node's own state has a form of its own: nodes.StateFeatures.
	StateFeature = "cnode-demo-state-1"
	FrontFeature = "cnode-demo-front-1"
)

// Succession says whether serve begins anew or takes a node over from another process.
type Succession struct {
	takeover bool
	// the user wants that, by --takeover; not set by upgrade, which starts the program with the
	// previous process's flags
	asked  bool
	before *upgrade.Predecessor // has started this one by upgrade, or cannot be watched: nil
}

func (s *Succession) AddTo(f *pflag.FlagSet) {
	f.BoolVar(&s.takeover, "takeover", false, "take over the running node of that name from its process")
}

// Coming reports whether another process is to hand the node over.
func (s *Succession) Coming() bool { return s.takeover || os.Getenv(upgrade.Variable) != "" }

// Channel gives the channel to the previous process; nil: there is none.
func (s *Succession) Channel(ctx context.Context, name string) (*handoff.Channel, error) {
	if os.Getenv(upgrade.Variable) != "" {
		cli.SurviveTerminal()
		ch, err := upgrade.Coming()
		if err != nil {
			return nil, cli.Usagef("%v", err)
		}
		s.before = upgrade.Succeed(ch.Peer().PID)
		return ch, nil
	}
	if !s.takeover {
		return nil, nil
	}
	ch, err := dialControl(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("--takeover: %w", err)
	}
	s.asked = true
	return ch, nil
}

// take makes this process the owner of what the process at the other end of the channel has, or
// fails.
func (h *heir) take(ctx context.Context, ch *handoff.Channel) error {
	taken, err := h.acceptance().Take(watched(ctx), ch)
	err = errors.Join(err, ch.Close())
	if taken.Owns && err != nil { // the node is this process's now, and runs
		fmt.Fprintln(h.errOut, "serve:", err)
		err = nil
	}
	return err
}

// ErrListens: the addresses of a running node cannot be changed.
var ErrListens = errors.New("--takeover does not change where a node listens")

// listens checks that the node that --takeover takes over listens as the flags say.
func (s *Succession) listens(cfg nodes.Config, listeners []*nodes.Listener) error {
	if !s.asked {
		return nil
	}
	for i, at := range endpoints(cfg) {
		there := listeners
		if i == 0 {
			there = listeners[:min(1, len(listeners))]
		}
		if !slices.ContainsFunc(there, func(l *nodes.Listener) bool { return serves(at, l) }) {
			var all []string
			for _, l := range listeners {
				all = append(all, fmt.Sprintf("%v (%s)", l.Addr(), l.Transport().Name()))
			}
			asked := at.Transport.Name()
			if at.Addr != nil {
				asked = fmt.Sprintf("%v (%s)", at.Addr, asked)
			}
			return fmt.Errorf("%w: it listens at %s, not at %s", ErrListens, strings.Join(all, ", "), asked)
		}
	}
	return nil
}

// serves reports whether a listener is the one asked for.
func serves(at nodes.Endpoint, l *nodes.Listener) bool {
	return at.Transport.Name() == l.Transport().Name() && at.IsAt(l.Addr())
}

// An heir makes a node, or a front, from what the previous process hands over.
type heir struct {
	whole      Whole
	succession *Succession
	errOut     io.Writer
	staged     handoff.Staged
	control    *handoff.Control // nil: the previous process had none
}

func (h *heir) acceptance() *handoff.Acceptance {
	terms := h.whole.Config().Terms()
	terms.Know = append(terms.Know, h.whole.Knows()...)
	return &handoff.Acceptance{Terms: terms, Stage: h.stage}
}

// endpoints are where a node listens: at its own address, and at others besides.
func endpoints(cfg nodes.Config) []nodes.Endpoint {
	return append([]nodes.Endpoint{{Addr: cfg.Listen, Transport: cfg.Transport}}, cfg.Also...)
}

// A serveState is what is handed over besides the node's own state: a line of JSON before it.
// Unknown fields are skipped; what must not be skipped is a feature.
type serveState struct {
	Control bool // the last descriptor is the control socket
}

func (h *heir) stage(_ context.Context, state []byte, fds []int) (handoff.Staged, error) {
	var s serveState
	head, rest, _ := bytes.Cut(state, []byte("\n"))
	err := json.Unmarshal(head, &s)
	if err == nil && s.Control && len(fds) == 0 {
		err = errors.New("a control socket without a descriptor")
	}
	set, e := handoff.NewFDSet(fds...)
	if err = errors.Join(err, e); err != nil {
		return nil, errors.Join(err, set.Close())
	}
	defer set.Close()
	if s.Control {
		last := len(fds) - 1
		path, err := controlPath(h.whole.Config().Name)
		if err == nil {
			var fd int
			if fd, err = set.Steal(last); err == nil {
				h.control, err = handoff.ImportControl(fd, path)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if h.staged, err = h.restore(rest, set.StealAll()); err != nil {
		return nil, errors.Join(err, h.forget())
	}
	return h, nil
}

// restore makes the node, or the front, if it listens where the flags say.
func (h *heir) restore(state []byte, fds []int) (handoff.Staged, error) {
	staged, err := h.whole.Restore(state, fds)
	if err != nil {
		return nil, err
	}
	if err := h.succession.listens(*h.whole.Config(), h.whole.Listeners()); err != nil {
		return nil, errors.Join(err, staged.Discard())
	}
	return staged, nil
}

func (h *heir) forget() error {
	if h.control == nil {
		return nil
	}
	return h.control.Release()
}

// Start makes this process the node. The service manager is told before the old process, which then
// ends: a manager that sees its main process end before it knows of a new one stops the service.
func (h *heir) Start(ctx context.Context) error {
	err := h.staged.Start(ctx)
	steps.Reached("heir: runs, and the manager is not told")
	NotifyManager(h.errOut)
	steps.Reached("heir: the manager is told")
	return err
}

func (h *heir) Discard() error { return errors.Join(h.staged.Discard(), h.forget()) }

// NotifyManager tells systemd that the node is ready. A manager that hears nothing ends the service
// after a while, so a failure is reported on errOut.
func NotifyManager(errOut io.Writer) {
	if err := upgrade.NotifyReady(); err != nil {
		fmt.Fprintf(errOut, "serve: the service manager was not told that the node is ready (NOTIFY_SOCKET): %v\n", err)
	}
}

// An estate is a frozen node or front, together with serve's own state.
type estate struct {
	handoff.Frozen
	control *handoff.Control
	fds     []int
	state   []byte
	forget  sync.Once
}

// freeze stops the node.
func (c *Control) freeze(ctx context.Context) (handoff.Frozen, error) {
	f, err := c.halt(ctx)
	if err != nil {
		return nil, err
	}
	e := &estate{Frozen: f, control: c.socket, fds: f.Descriptors()}
	var s serveState
	if c.socket != nil {
		if raw, err := c.socket.SyscallConn(); err == nil {
			s.Control = raw.Control(func(fd uintptr) { e.fds = append(e.fds, int(fd)) }) == nil
		}
	}
	head, err := json.Marshal(s)
	if err != nil {
		f.Thaw()
		return nil, err
	}
	e.state = append(append(head, '\n'), f.State()...)
	return e, nil
}

func (e *estate) State() []byte      { return e.state }
func (e *estate) Descriptors() []int { return e.fds }

func (e *estate) Thaw() {
	clear(e.state) // a copy of the node's, with the keys of its TLS sessions
	e.Frozen.Thaw()
}

func (e *estate) Release() error {
	clear(e.state)
	err := e.Frozen.Release()
	if e.control != nil {
		e.forget.Do(func() { err = errors.Join(err, e.control.Release()) })
	}
	return err
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
