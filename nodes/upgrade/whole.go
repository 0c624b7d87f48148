package upgrade

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/service"
)

// A whole is what others see as one node: a *nodes.Node, or a front with its workers, of package
// workers.
type whole = inside.Whole[*nodes.Listener]

// A kind makes a whole: anew, or of what another process hands over.
type kind = inside.Making[nodes.Config, *nodes.Listener]

// alone is the kind of a node in this process alone.
type alone struct{}

func (alone) Form() string { return "cnode-upgrade-node-2" }

func (alone) Begin(ctx context.Context, cfg nodes.Config) (whole, error) {
	n, err := nodes.New(cfg)
	if err != nil {
		return nil, err
	}
	if err := n.Start(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (alone) Restore(cfg nodes.Config, state []byte, fds []int) (handoff.Staged, whole, error) {
	staged, err := nodes.Restore(cfg, state, fds)
	if err != nil {
		return nil, nil, err
	}
	return staged, staged.Node(), nil
}

// A maker makes the owner that a node is.
type maker struct {
	u    *Upgrader
	s    *service.Service
	kind kind
	// collect has the collector run as usual again
	collect func()
}

func (*maker) What() string { return "node" }

func (m *maker) Terms() handoff.Terms {
	terms := m.u.Config.Terms()
	terms.Know = append(terms.Know, m.kind.Form())
	return terms
}

func (m *maker) Begin(ctx context.Context, kept *service.Kept) (service.Owner, error) {
	if kept != nil {
		n, err := m.goOn(ctx, kept)
		if err == nil {
			return m.owns(n).runs(false), nil
		}
		m.u.log().Warn("the node that was kept cannot go on: it starts anew", "error", err)
	}
	cfg := m.u.Config
	if err := cfg.Activate(); err != nil {
		return nil, err
	}
	w, err := m.kind.Begin(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return m.owns(w).runs(false), nil
}

// goOn makes the node of what was kept.
func (m *maker) goOn(ctx context.Context, kept *service.Kept) (*nodes.Node, error) {
	staged, err := nodes.Restore(m.u.Config, kept.State, kept.FDs)
	if err != nil {
		return nil, errors.Join(err, kept.Forget())
	}
	if err := kept.Forget(); err != nil {
		return nil, errors.Join(err, staged.Discard())
	}
	if err := staged.Start(ctx); err != nil {
		return nil, err
	}
	return staged.Node(), nil
}

func (m *maker) Restore(state []byte, fds []int) (handoff.Staged, service.Owner, error) {
	staged, w, err := m.kind.Restore(m.u.Config, state, fds)
	if err != nil {
		return nil, nil, err
	}
	if err := m.listens(w.Listeners()); err != nil {
		return nil, nil, errors.Join(err, staged.Discard())
	}
	o := m.owns(w)
	return heir{staged, o}, o, nil
}

func (m *maker) owns(w whole) *owner {
	o := &owner{whole: w, kind: m.kind, u: m.u, log: m.u.log().With("node", w.Name()), failed: make(chan error, 1)}
	if n, ok := w.(*nodes.Node); ok {
		o.log = n.Logger()
	}
	return o
}

// An heir is a node that is ready to start, with its workers.
type heir struct {
	handoff.Staged
	o *owner
}

func (h heir) Start(ctx context.Context) error {
	err := h.Staged.Start(ctx)
	h.o.runs(true)
	return err
}

// ErrListens: where a node listens does not change when it is taken over (see Upgrader.TakeOver).
var ErrListens = errors.New("a node that is taken over listens where it did")

// listens checks that a node that is taken over listens where Config says.
func (m *maker) listens(listeners []*nodes.Listener) error {
	if !m.s.TakesOver() {
		return nil
	}
	cfg := &m.u.Config
	for i, at := range append([]nodes.Endpoint{{Addr: cfg.Listen, Transport: cfg.Transport}}, cfg.Also...) {
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

// An owner is a node, as a service.Service sees it.
type owner struct {
	whole
	kind   kind
	u      *Upgrader
	log    *slog.Logger
	crew   *crew // nil: the node has no workers
	failed chan error
}

// runs is called once the node runs; inherited: its workers are another process's until they are
// upgraded.
func (o *owner) runs(inherited bool) *owner {
	if f, ok := o.whole.(inside.Crewed); ok {
		o.crew = newCrew(f, inherited)
	}
	if l := o.whole.Listeners(); len(l) > 0 { // else it has been told to end already
		go o.watch(l[0])
	}
	return o
}

// Crew waits for the upgrade of the workers, and says which have failed; nil: there are none.
func (o *owner) Crew() func(ctx context.Context) ([]string, error) {
	if o.crew == nil {
		return nil
	}
	return func(ctx context.Context) ([]string, error) {
		select {
		case <-o.crew.done:
			return o.crew.failures(), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (o *owner) Offer() (*handoff.Offer, func()) {
	offer := o.whole.Offer()
	offer.Terms.Require = append(offer.Terms.Require, o.kind.Form())
	sizes := offer.Static
	offer.Static = func(ctx context.Context) ([]byte, error) {
		p, err := sizes(ctx)
		if x, e := states.ParseSize(p); err == nil && e == nil {
			touch(min(x.Written(), mostTouched))
		}
		return p, err
	}
	return offer, collectLess()
}

// Park stops the node for a later process. Workers are processes of their own, which would go on.
func (o *owner) Park(ctx context.Context) (handoff.Frozen, error) {
	if _, ok := o.whole.(*nodes.Node); !ok {
		return nil, fmt.Errorf("a node with workers: %w", errors.ErrUnsupported)
	}
	return o.whole.Offer().Freeze(ctx)
}

func (o *owner) Err() error {
	if err := o.whole.Err(); err != nil && errors.Is(err, nodes.ErrMoved) {
		return fmt.Errorf("%w: %w", service.ErrMoved, err)
	} else {
		return err
	}
}

// Failed gives the listener's error, when nobody can connect any more.
func (o *owner) Failed() <-chan error { return o.failed }

func (o *owner) watch(l *nodes.Listener) {
	select {
	case <-l.Done():
		if err := l.Err(); !errors.Is(err, nodes.ErrMoved) {
			o.failed <- err
		}
	case <-o.whole.Done():
	}
}

func (o *owner) Shutdown(ctx context.Context) error {
	if o.u.Shutdown != nil { // which may be set after Start
		return o.u.Shutdown(ctx)
	}
	return o.whole.Shutdown(ctx)
}

// Leave ends, of a front, what speaks to its workers.
func (o *owner) Leave(context.Context) error {
	if _, ok := o.whole.(inside.Crewed); ok {
		return o.whole.Close()
	}
	return nil
}

func (o *owner) Logger() *slog.Logger { return o.log }
