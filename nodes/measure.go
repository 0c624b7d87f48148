package nodes

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/metrics"
)

// A meter is what a node has while somebody measures it.
type meter struct {
	metrics.Hooks
	of    []*metrics.Hooks
	calls *metrics.Table
}

// Measure has the functions of h called as things happen, beside those of others that measure the
// node, and Stats.Functions filled from now on; &metrics.Hooks{} does only that. stop takes h back.
// Call it before Start, or in Config.Setup, which the workers of a node run, too: connections that
// are up already are not reported. A node that nobody measures spends nothing on it. h must not
// change any more.
func (n *Node) Measure(h *metrics.Hooks) (stop func()) {
	n.remeter(func(of []*metrics.Hooks) []*metrics.Hooks { return append(slices.Clone(of), h) })
	return func() {
		n.remeter(func(of []*metrics.Hooks) []*metrics.Hooks {
			return slices.DeleteFunc(slices.Clone(of), func(other *metrics.Hooks) bool { return other == h })
		})
	}
}

func (n *Node) remeter(change func(of []*metrics.Hooks) []*metrics.Hooks) {
	for {
		was, is := n.meter.Load(), &meter{calls: &n.stats.calls}
		if was != nil {
			is.of = was.of
		}
		if is.of = change(is.of); len(is.of) == 0 {
			is = nil
		} else {
			is.Hooks = *metrics.Join(is.of...)
		}
		if n.meter.CompareAndSwap(was, is) {
			return
		}
	}
}

// measured is the meter for the connection; nil if nobody measures, or it is one between workers.
func (c *Conn) measured() *meter {
	if m := c.env.meter.Load(); m != nil && c.kind() == direct {
		return m
	}
	return nil
}

// tellUp reports that the connection is up, tellDown that it has ended here. Others may have used
// it before.
func (c *Conn) tellUp() {
	if m := c.measured(); m != nil && m.ConnUp != nil {
		m.ConnUp(&c.record)
	}
}

func (c *Conn) tellDown(err error) {
	if m := c.measured(); m != nil && m.ConnDown != nil {
		m.ConnDown(&c.record, endCause(err), err)
	}
}

// tellFull reports that a sender has to wait.
func (c *Conn) tellFull() {
	if m := c.measured(); m != nil && m.QueueFull != nil {
		m.QueueFull(&c.record)
	}
}

// isTemporary tells whether a peer that has connected is there for an occasion: it was given its
// name here, or it is hidden and has a name as net_kernel gives them (1 to 2^64 in the base 36), or
// as tools make theirs.
func isTemporary(p *dist.Peer) bool {
	if p.Status == dist.StatusNamed {
		return true
	}
	if p.Announced.Has(dist.FlagPublished) {
		return false
	}
	alive, _, _ := strings.Cut(p.Name, "@")
	if len(alive) >= 10 && strings.ToUpper(alive) == alive {
		if _, err := strconv.ParseUint(alive, 36, 64); err == nil {
			return true
		}
	}
	// erl_call: c17, or with -r that of a second, modulo 997
	if second, ok := strings.CutPrefix(alive, "c"); ok && len(second) <= 3 && isNumber(second, 10) {
		return true
	}
	for _, prefix := range []string{
		"cnode-demo-",  // and the number of its process
		"rem-", "rpc-", // of Elixir's releases: rem-1f2e-shop
		"remsh", "maint", // of relx
		"rabbitmqcli-", // rabbitmqctl and its kin
	} {
		if rest, ok := strings.CutPrefix(alive, prefix); ok {
			number, _, _ := strings.Cut(rest, "-")
			return isNumber(number, 16)
		}
	}
	return false
}

func isNumber(s string, base int) bool {
	_, err := strconv.ParseUint(s, base, 64)
	return err == nil
}

// endCause is the word for the end of a connection: see metrics.Hooks.
func endCause(err error) string {
	for _, end := range []struct {
		err  error
		word string
	}{
		{ErrMoved, "moved"}, {ErrClosed, "closed"}, {ErrTickTimeout, "tick_timeout"}, {ErrSuperseded, "superseded"},
		{io.EOF, "peer_closed"}, {io.ErrUnexpectedEOF, "peer_closed"}, {syscall.ECONNRESET, "peer_closed"}, {syscall.EPIPE, "peer_closed"},
		{ErrFrameTooLong, "malformed"},
		{dist.ErrTooMuchIncomplete, "malformed"},
	} {
		if errors.Is(err, end.err) {
			return end.word
		}
	}
	control, frame := new(dist.ControlError), new(dist.FrameError)
	if errors.As(err, &control) || errors.As(err, &frame) {
		return "malformed"
	}
	return "error"
}

// tellHandshakeFailed reports a handshake that has failed, unless another one with that peer goes
// on, or it was given up here.
func (n *Node) tellHandshakeFailed(peer string, initiated bool, err error) {
	m := n.meter.Load()
	if m == nil || m.HandshakeFailed == nil || gaveWay(err) || errors.Is(err, context.Canceled) || errors.Is(err, ErrClosed) {
		return
	}
	cause := handshakeCause(err)
	if h := new(dist.HandshakeError); cause == "error" && initiated && !errors.As(err, &h) {
		cause = "unreachable"
	}
	m.HandshakeFailed(metrics.Handshake{Peer: metrics.Clip(peer), Initiated: initiated, Cause: cause, Err: err})
}

// gaveWay tells whether a handshake has ended since another one with the same peer goes on.
func gaveWay(err error) bool {
	return errors.Is(err, dist.ErrNok) || errors.Is(err, ErrSuperseded) || errors.Is(err, ErrConnected)
}

// handshakeCause is the word for why a handshake has failed: see metrics.Handshake.
func handshakeCause(err error) string {
	for _, cause := range []struct {
		word string
		errs []error
	}{
		{"cookie", []error{dist.ErrBadCookie, dist.ErrNoProof, dist.ErrReflected}},
		{"timeout", []error{context.DeadlineExceeded, os.ErrDeadlineExceeded}},
		{"crowded", []error{errCrowded}},
		{"refused", []error{dist.ErrRefused, dist.ErrNotAllowed, dist.ErrAlive}},
		{"incompatible", []error{dist.ErrMissingFlags, dist.ErrMalformed, dist.ErrUnexpected, dist.ErrWrongPeer, dist.ErrInvalidName}},
	} {
		if slices.ContainsFunc(cause.errs, func(e error) bool { return errors.Is(err, e) }) {
			return cause.word
		}
	}
	return "error"
}

// countReceived counts a message that has come, in a last frame of so many bytes.
func (c *Conn) countReceived(m *Message, frame int64) {
	c.messages.Add(1)
	if c.env.meter.Load() != nil {
		c.tellReceived(m, frame)
	}
}

// countSent counts messages that were given to the queue, each of so many bytes.
func (c *Conn) countSent(messages int64, bytes int) {
	c.sentCount.Add(messages)
	if c.env.meter.Load() != nil {
		c.tellSent(messages, bytes)
	}
}

func (c *Conn) tellReceived(m *Message, frame int64) {
	if h := c.measured(); h != nil && h.MessageIn != nil {
		h.MessageIn(&c.record, max(int(frame), len(m.Payload)))
	}
}

func (c *Conn) tellSent(messages int64, bytes int) {
	if h := c.measured(); h != nil && h.MessageOut != nil {
		for range messages {
			h.MessageOut(&c.record, bytes)
		}
	}
}

// A measuring is a call in progress; nil: nobody measures.
type measuring struct {
	m     *meter // nil: it has ended
	ctx   context.Context
	call  metrics.Call
	began time.Time
}

// measure begins a call. What belongs to it gets the context.
func (m *meter) measure(ctx context.Context, call metrics.Call) (context.Context, *measuring) {
	call.Peer, call.Module, call.Function = metrics.Clip(call.Peer), metrics.Clip(call.Module), metrics.Clip(call.Function)
	r := &measuring{m: m, ctx: ctx, call: call, began: time.Now()}
	if m.CallBegun != nil {
		r.ctx = m.CallBegun(ctx, &r.call)
	}
	return r.ctx, r
}

// measureServer begins a run of a Server's function.
func (b *Mailbox) measureServer(ctx context.Context, c *Conn, function string) (context.Context, *measuring) {
	m := b.n.meter.Load()
	if m == nil {
		return ctx, nil
	}
	b.n.procs.mu.RLock()
	name := ""
	if len(b.names) > 0 {
		name = string(b.names[0])
	}
	b.n.procs.mu.RUnlock()
	return m.measure(ctx, metrics.Call{Peer: c.peerName(), Kind: metrics.KindServer, Module: name, Function: function})
}

// measureFunction begins a run of an exposed function; fn is nil if there is none of that name.
func (n *Node) measureFunction(ctx context.Context, c *Conn, f function, fn Func) (context.Context, *measuring) {
	m := n.meter.Load()
	if m == nil {
		return ctx, nil
	}
	if fn == nil {
		f = function{}
	}
	return m.measure(ctx, metrics.Call{Peer: c.peerName(), Kind: metrics.KindFunction, Module: string(f.module), Function: string(f.name)})
}

// measureMade begins a call that this node makes.
func (n *Node) measureMade(ctx context.Context, kind metrics.Kind, node, module, function string) (context.Context, *measuring) {
	m := n.meter.Load()
	if m == nil {
		return ctx, nil
	}
	if node == n.Name() {
		node = ""
	}
	return m.measure(ctx, metrics.Call{Out: true, Peer: node, Kind: kind, Module: module, Function: function})
}

// peerName is the name of the other node; "" for a caller of this one.
func (c *Conn) peerName() string {
	if c = c.toOthers(); c != nil {
		return c.peer.Name
	}
	return ""
}

func (r *measuring) end(outcome metrics.Outcome, err error) {
	if r == nil || r.m == nil {
		return
	}
	m := r.m
	r.m = nil
	r.call.Duration, r.call.Outcome, r.call.Err = time.Since(r.began), outcome, err
	m.calls.Add(&r.call)
	if m.CallEnded != nil {
		m.CallEnded(r.ctx, &r.call)
	}
}

// endReturned ends a measured run of a function that has returned err.
func (r *measuring) endReturned(err error) {
	wrong, refused := err.(*argumentError)
	switch {
	case r == nil:
	case refused:
		r.end(metrics.OutcomeRefused, wrong)
	case err != nil:
		r.end(metrics.OutcomeFailed, err)
	case r.ctx.Err() != nil:
		r.end(metrics.OutcomeAbandoned, r.ctx.Err())
	default:
		r.end(metrics.OutcomeOK, nil)
	}
}

// endMade ends a call that this node has made.
func (r *measuring) endMade(err error) {
	switch {
	case r == nil:
	case err == nil:
		r.end(metrics.OutcomeOK, nil)
	case errors.Is(err, ErrNoConnection) || errors.Is(err, ErrMoved):
		r.end(metrics.OutcomeLost, err)
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded):
		r.end(metrics.OutcomeAbandoned, err)
	default:
		r.end(metrics.OutcomeFailed, err)
	}
}

// endApplied ends the measured run of an exposed function.
func (r *measuring) endApplied(outcome metrics.Outcome, exception *Raise) {
	switch {
	case r == nil:
	case outcome == metrics.OutcomeOK && r.ctx.Err() != nil:
		r.end(metrics.OutcomeAbandoned, r.ctx.Err())
	case exception != nil:
		r.end(outcome, exception)
	default:
		r.end(outcome, nil)
	}
}
