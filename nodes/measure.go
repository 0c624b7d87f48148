package nodes

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/handshake"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/meter"
	"github.com/cnode-go/cnode/nodes/metrics"
)

// meters are the Hooks of those that measure the node. What is called while anybody does are the
// Hooks that join them: link.Env.Meter.
type meters struct {
	n  *Node
	mu sync.Mutex
	of []*metrics.Hooks
}

// Measure has the functions of h called as things happen, beside those of others that measure the
// node, and Stats.Functions filled from now on; &metrics.Hooks{} does only that. stop takes h back.
// Call it before Start, or in Config.Setup, which the workers of a node run, too: connections that
// are up already are not reported. A node that nobody measures spends nothing on it. h must not
// change any more.
func (n *Node) Measure(h *metrics.Hooks) (stop func()) {
	n.meters.change(func(of []*metrics.Hooks) []*metrics.Hooks { return append(of, h) })
	return func() {
		n.meters.change(func(of []*metrics.Hooks) []*metrics.Hooks {
			return slices.DeleteFunc(of, func(other *metrics.Hooks) bool { return other == h })
		})
	}
}

func (s *meters) change(change func(of []*metrics.Hooks) []*metrics.Hooks) {
	s.n.meters.mu.Lock()
	defer s.n.meters.mu.Unlock()
	s.n.meters.of = change(s.n.meters.of)
	if len(s.n.meters.of) == 0 {
		s.n.links.Meter.Store(nil)
		return
	}
	s.n.links.Meter.Store(meter.Join(s.n.meters.of...))
}

// reportUp reports that the connection is up, reportDown that it has ended here. Others may have
// used it before.
func (c *Conn) reportUp() {
	if m := c.n.links.Meter.Load(); m != nil && m.ConnUp != nil && c.kind() == inside.Direct {
		m.ConnUp(c.l.Record())
	}
}

func (c *Conn) reportDown(err error) {
	if m := c.n.links.Meter.Load(); m != nil && m.ConnDown != nil && c.kind() == inside.Direct {
		word, _ := endOf(err)
		m.ConnDown(c.l.Record(), word, err)
	}
}

// An ending is a way in which connections end.
type ending struct {
	word string // see metrics.Hooks
	text string // of why
	why  DownReason
	errs []error
}

// endings has the ways. The first that fits is that of an error which wraps several.
func endings() []ending {
	return []ending{
		{"tick_timeout", "tick time-out", DownTickTimeout, []error{ErrTickTimeout}}, // it may wrap why nothing could be sent
		{"superseded", "superseded", DownSuperseded, []error{ErrSuperseded}},
		{"moved", "moved to another process", DownMoved, []error{ErrMoved}},
		{"closed", "closed here", DownClosedHere, []error{ErrClosed}},
		{"peer_closed", "closed by the peer", DownClosedThere, []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE}},
		{"malformed", "broken", DownBroken, []error{ErrFrameTooLong, dist.ErrTooMuchIncomplete}},
	}
}

// endOf sorts the error with which a connection has ended: the word for it, and what whoever
// watches nodes hears.
func endOf(err error) (word string, why DownReason) {
	for _, end := range endings() {
		if slices.ContainsFunc(end.errs, func(e error) bool { return errors.Is(err, e) }) {
			return end.word, end.why
		}
	}
	control, frame := new(dist.ControlError), new(dist.FrameError)
	if errors.As(err, &control) || errors.As(err, &frame) {
		return "malformed", DownBroken
	}
	return "error", DownBroken
}

// tellHandshakeFailed reports a handshake that has failed, unless another one with that peer goes
// on, or it was given up here.
func (s *meters) tellHandshakeFailed(peer string, initiated bool, err error) {
	m := s.n.links.Meter.Load()
	if m == nil || m.HandshakeFailed == nil || gaveWay(err) || errors.Is(err, context.Canceled) || errors.Is(err, ErrClosed) {
		return
	}
	cause := handshake.Cause(err)
	if h := new(dist.HandshakeError); cause == "error" && initiated && !errors.As(err, &h) {
		cause = "unreachable"
	}
	m.HandshakeFailed(metrics.Handshake{Peer: metrics.Clip(peer), Initiated: initiated, Cause: cause, Err: err})
}

// gaveWay tells whether a handshake has ended since another one with the same peer goes on.
func gaveWay(err error) bool {
	return errors.Is(err, dist.ErrNok) || errors.Is(err, ErrSuperseded) || errors.Is(err, ErrConnected)
}

// measureServer begins a run of a Server's function.
func (b *Mailbox) measureServer(ctx context.Context, c *Conn, function string) (context.Context, *meter.Run) {
	m := b.n.links.Meter.Load()
	if m == nil {
		return ctx, nil
	}
	b.n.procs.mu.RLock()
	name := ""
	if len(b.names) > 0 {
		name = string(b.names[0])
	}
	b.n.procs.mu.RUnlock()
	return b.n.stats.calls.Begin(ctx, m, metrics.CallInfo{Peer: c.peerName(), Kind: metrics.KindServer, Module: name, Function: function})
}

// measureFunction begins a run of an exposed function; fn is nil if there is none of that name.
func (s *meters) measureFunction(ctx context.Context, c *Conn, f function, fn Func) (context.Context, *meter.Run) {
	m := s.n.links.Meter.Load()
	if m == nil {
		return ctx, nil
	}
	if fn == nil {
		f = function{}
	}
	return s.n.stats.calls.Begin(ctx, m, metrics.CallInfo{
		Peer: c.peerName(), Kind: metrics.KindFunction, Module: string(f.module), Function: string(f.name),
	})
}

// measureMade begins a call that this node makes.
func (s *meters) measureMade(ctx context.Context, kind metrics.Kind, node, module, function string) (context.Context, *meter.Run) {
	m := s.n.links.Meter.Load()
	if m == nil {
		return ctx, nil
	}
	if node == s.n.Name() {
		node = ""
	}
	return s.n.stats.calls.Begin(ctx, m, metrics.CallInfo{Out: true, Peer: node, Kind: kind, Module: module, Function: function})
}

// peerName is the name of the other node; "" for a caller of this one.
func (c *Conn) peerName() string {
	if c = c.toOthers(); c != nil {
		return c.Name()
	}
	return ""
}

// endMade ends a call that this node has made.
func endMade(r *meter.Run, err error) {
	switch {
	case err == nil:
		r.End(metrics.OutcomeOK, nil)
	case errors.Is(err, ErrNoConnection) || errors.Is(err, ErrMoved):
		r.End(metrics.OutcomeLost, err)
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded):
		r.End(metrics.OutcomeAbandoned, err)
	default:
		r.End(metrics.OutcomeFailed, err)
	}
}

// endApplied ends the run of an exposed function.
func endApplied(r *meter.Run, outcome metrics.Outcome, exception *Raise) {
	switch {
	case outcome == metrics.OutcomeOK:
		r.EndWell()
	case exception != nil:
		r.End(outcome, exception)
	default:
		r.End(outcome, nil)
	}
}
