package crew

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

const (
	// pinnedPatience is how many times longer than for another worker the front waits for the
	// worker that has the peer: the connection between them may be alive.
	pinnedPatience = 4
	// retryPause is how long a session waits, at the longest, before all workers are tried again.
	retryPause = 100 * time.Millisecond
	// failedPause is how long a worker that has lost a session gets no others, if another worker
	// can have them. For want of descriptors it may lose all of them, and then it is soon the one
	// with the fewest sessions.
	failedPause = time.Second
)

// ErrNoWorker: no worker has taken the session in the time of a handshake.
var ErrNoWorker = errors.New("no worker takes the session")

// errStill is the error of what cannot begin because the crew is frozen, or its worker moves.
var errStill = errors.New("the front is frozen, or the worker moves")

// A Session is what a peer has opened, on its way to a worker.
type Session struct {
	Stream    *transport.Stream
	Kind      handoff.Socket // the kind of socket that its listener accepts
	Transport states.TransportID
	Default   bool   // that is the transport of which a worker takes a session for granted
	State     []byte // the plug-in's
	Data      []byte // read
}

// Give finds a worker that takes the session, until ctx ends. On success the caller does not own
// the stream any more. The session is counted as peer's; shown is what Choose gets.
func (c *Crew) Give(ctx context.Context, s *Session, shown, peer string) error {
	passed := map[*Worker]bool{}
	for {
		k, change, err := c.pick(shown, peer, passed)
		switch {
		case err != nil:
			return err
		case k == nil: // all workers have been passed over
			t := time.NewTimer(retryPause)
			select {
			case <-change:
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return fmt.Errorf("%w: %w", ErrNoWorker, context.Cause(ctx))
			case <-c.ctx.Done():
				t.Stop()
				return c.cfg.Closed
			}
			t.Stop()
			clear(passed)
			continue
		}
		patience := c.cfg.Patience
		if k.pinned {
			patience *= pinnedPatience
		}
		if k.w.there(ctx, patience) {
			if err = c.push(k, s); err == nil {
				return nil
			}
			if err != errStill {
				c.cfg.Log.Warn("worker passed over", "slot", k.w.slot, "peer", shown, "error", err)
			}
		}
		if c.unpick(k); err == errStill {
			_ = c.still.Pass(ctx) // ctx is checked when no worker is left
			continue
		}
		passed[k.w] = true
	}
}

// A picking is a session that is counted as a worker's, but has not been pushed to it yet.
type picking struct {
	w      *Worker
	peer   string
	pinned bool // the worker has the peer
}

// unpick takes a picking back.
func (c *Crew) unpick(k *picking) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.picked, k)
	k.w.sessions--
	c.leave(k.w, k.peer)
}

// pick chooses a worker for a session, and counts the session as that worker's. The worker that has
// the peer comes first. A worker that is moving to another process gets no sessions meanwhile. If k
// is nil there is no worker just now; change is closed when that may be different.
func (c *Crew) pick(shown, peer string, passed map[*Worker]bool) (k *picking, change <-chan struct{}, err error) {
	c.chosen.Lock()
	defer c.chosen.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return nil, nil, c.cfg.Closed
	}
	choose := func(w *Worker, pinned bool) (*picking, <-chan struct{}, error) {
		k := &picking{w, peer, pinned}
		c.picked[k] = true
		c.enter(w, peer)
		return k, nil, nil
	}
	r := c.routes[peer]
	if peer != "" && r != nil {
		if r.at != nil && r.held[r.at] > 0 && r.at.ready && !passed[r.at] && r.at.burden() < MaxUntaken {
			if r.at.moving != nil {
				return nil, c.change.Next(), nil
			}
			return choose(r.at, true)
		}
	}
	var candidates []*Worker
	for _, c := range c.workers {
		if c.ready && !c.hangs && c.moving == nil && !passed[c] && c.burden() < MaxUntaken {
			candidates = append(candidates, c)
		}
	}
	if len(candidates) == 0 {
		return nil, c.change.Next(), nil
	}
	if good := slices.DeleteFunc(slices.Clone(candidates), (*Worker).hasFailed); len(good) > 0 {
		candidates = good
	}
	infos := make([]Info, len(candidates))
	for i, c := range candidates {
		infos[i] = c.info()
	}
	i, err := c.cfg.Choose(shown, infos)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%w: %w", ErrNoWorker, err)
	case i < 0 || i >= len(candidates):
		return nil, nil, fmt.Errorf("%w: Config.Choose gave %d of %d", ErrNoWorker, i, len(candidates))
	}
	return choose(candidates[i], false)
}

// hasFailed tells whether a worker has lost a session lately; c.mu is held.
func (w *Worker) hasFailed() bool {
	return !w.failed.IsZero() && time.Since(w.failed) < failedPause
}

// push gives a session to a worker. The front keeps a descriptor until the worker has taken the
// session; if the worker does not, the front ends the connection: the peer comes again, and gets
// another worker.
func (c *Crew) push(k *picking, from *Session) error {
	w := k.w
	fd, err := from.Stream.Descriptor()
	if err != nil {
		return err
	}
	via, h := talk.ViaForwarder, bind10.Header{
		Family: from.Kind.Domain, Type: from.Kind.Type, Protocol: max(from.Kind.Protocol, 0),
		Local: from.Stream.LocalAddr(), Remote: from.Stream.RemoteAddr(),
	}
	if !from.isPlain() || h.Local == nil || h.Remote == nil {
		via = talk.ViaLine
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !w.ready || c.ctx.Err() != nil:
		return c.cfg.Closed
	case c.still.IsShut() || w.moving != nil:
		return errStill
	}
	s := &session{s: from.Stream, peer: k.peer}
	if via == talk.ViaForwarder {
		if w.forward == nil {
			if err := w.reopen(); err != nil {
				return err
			}
		}
		s.socket = w.socket
		if err := w.forward.Push(fd, h, from.Data); err != nil {
			return errors.Join(err, w.reopen())
		}
	} else {
		dup, err := descriptor.Duplicate(fd)
		if err != nil {
			return err
		}
		w.Say(&talk.Session{
			Plugin: from.Transport.Plugin, Place: from.Transport.Place, State: from.State, Data: from.Data, FD: dup,
		})
	}
	delete(c.picked, k)
	w.awaitTaken(s)
	w.untaken[via] = append(w.untaken[via], s)
	return nil
}

// isPlain tells whether BIND 10's form can carry a session: it has no place for what says which
// transport it came over, nor for the plug-in's state.
func (s *Session) isPlain() bool {
	return (s.Kind.Domain == syscall.AF_INET || s.Kind.Domain == syscall.AF_INET6) && len(s.State) == 0 && s.Default
}
