package nodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
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

// dispatch reads a peer's name and gives its socket to a worker. On success the caller does not own
// the socket any more.
func (f *Front) dispatch(ctx context.Context, l *Listener, s *transport.Stream, spoke func()) error {
	p, err := newPackets(ctx, s)
	if err != nil {
		return err
	}
	p.spoke = spoke
	who, err := dist.ReadName(p)
	if err != nil {
		return err
	}
	data := make([]byte, 0, p.size+len(p.body)+256)
	data = append(data, p.head[4-p.size:]...) // the packet as it came: length, body
	data = append(data, p.body...)
	state, ahead, err := s.Export()
	if err != nil { // the peer tries again, as a rule in vain
		f.n.log.Error("a session cannot be given to a worker, and is refused", "peer", who.Name, "remote", addrText(s.RemoteAddr()), "error", err)
		return err
	}
	data = append(data, ahead...)
	if len(data) > handoff.MaxSessionData {
		return fmt.Errorf("%w: %d bytes before the answer to the name", dist.ErrMalformed, len(data))
	}
	if err = f.give(ctx, parcel{l, s, state, data}, who); err != nil {
		clear(state) // it may hold keys, and no worker has it
	}
	return err
}

// A parcel is a session on its way to a worker.
type parcel struct {
	from  *Listener
	s     *transport.Stream
	state []byte
	data  []byte
}

// give finds a worker that takes the parcel, until ctx ends.
func (f *Front) give(ctx context.Context, p parcel, who dist.Name) error {
	peer := who.Name
	if who.Dynamic() {
		peer = ""
	}
	passed := map[*workerProcess]bool{}
	for {
		k, change, err := f.pick(who.Name, peer, passed)
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
			case <-f.ctx.Done():
				t.Stop()
				return ErrClosed
			}
			t.Stop()
			clear(passed)
			continue
		}
		patience := f.cfg.Patience
		if k.pinned {
			patience *= pinnedPatience
		}
		if k.w.there(ctx, patience) {
			if err = f.push(k, p); err == nil {
				return nil
			}
			if err != errStill {
				f.n.log.Warn("worker passed over", "slot", k.w.slot, "peer", who.Name, "error", err)
			}
		}
		if f.unpick(k); err == errStill {
			_ = f.still.Pass(ctx) // ctx is checked when no worker is left
			continue
		}
		passed[k.w] = true
	}
}

// A picking is a session that is counted as a worker's, but has not been pushed to it yet.
type picking struct {
	w      *workerProcess
	peer   string
	pinned bool // the worker has the peer
}

// unpick takes a picking back.
func (f *Front) unpick(k *picking) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.picked, k)
	k.w.sessions--
	f.leave(k.w, k.peer)
}

// pick chooses a worker for a session, and counts the session as that worker's. The worker that has
// the peer comes first. A worker that is moving to another process gets no sessions meanwhile. If k
// is nil there is no worker just now; change is closed when that may be different.
func (f *Front) pick(shown, peer string, passed map[*workerProcess]bool) (k *picking, change <-chan struct{}, err error) {
	f.chosen.Lock()
	defer f.chosen.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil {
		return nil, nil, ErrClosed
	}
	choose := func(w *workerProcess, pinned bool) (*picking, <-chan struct{}, error) {
		k := &picking{w, peer, pinned}
		f.picked[k] = true
		f.enter(w, peer)
		return k, nil, nil
	}
	r := f.routes[peer]
	if peer != "" && r != nil {
		if r.at != nil && r.held[r.at] > 0 && r.at.ready && !passed[r.at] && r.at.burden() < maxUntaken {
			if r.at.moving != nil {
				return nil, f.change.Next(), nil
			}
			return choose(r.at, true)
		}
	}
	var candidates []*workerProcess
	for _, c := range f.crew {
		if c.ready && !c.hangs && c.moving == nil && !passed[c] && c.burden() < maxUntaken {
			candidates = append(candidates, c)
		}
	}
	if len(candidates) == 0 {
		return nil, f.change.Next(), nil
	}
	if good := slices.DeleteFunc(slices.Clone(candidates), (*workerProcess).hasFailed); len(good) > 0 {
		candidates = good
	}
	infos := make([]WorkerInfo, len(candidates))
	for i, c := range candidates {
		infos[i] = c.info()
	}
	i := 0
	err = f.n.guarded("FrontConfig.Choose", func() error { i = f.cfg.Choose(shown, infos); return nil })
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%w: %w", ErrNoWorker, err)
	case i < 0 || i >= len(candidates):
		return nil, nil, fmt.Errorf("%w: FrontConfig.Choose gave %d of %d", ErrNoWorker, i, len(candidates))
	}
	return choose(candidates[i], false)
}

// hasFailed tells whether a worker has lost a session lately; f.mu is held.
func (w *workerProcess) hasFailed() bool {
	return !w.failed.IsZero() && time.Since(w.failed) < failedPause
}

// push gives a parcel to a worker. The front keeps a descriptor until the worker has taken the
// parcel; if the worker does not, the front ends the connection: the peer comes again, and gets
// another worker.
func (f *Front) push(k *picking, p parcel) error {
	w := k.w
	fd, err := p.s.Descriptor()
	if err != nil {
		return err
	}
	via, kind := talk.ViaForwarder, f.kinds[p.from]
	h := handoff.Header{
		Family: kind.Domain, Type: kind.Type, Protocol: max(kind.Protocol, 0), Local: p.s.LocalAddr(), Remote: p.s.RemoteAddr(),
	}
	if !f.forwards(p) || h.Local == nil || h.Remote == nil {
		via = talk.ViaLine
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !w.ready || f.ctx.Err() != nil:
		return ErrClosed
	case f.still.IsShut() || w.moving != nil:
		return errStill
	}
	s := &session{s: p.s, peer: k.peer}
	if via == talk.ViaForwarder {
		if w.forward == nil {
			if err := w.reopen(); err != nil {
				return err
			}
		}
		s.socket = w.socket
		if err := w.forward.Push(fd, h, p.data); err != nil {
			return errors.Join(err, w.reopen())
		}
	} else {
		dup, err := descriptor.Duplicate(fd)
		if err != nil {
			return err
		}
		c, _ := f.n.transportIDOf(p.from.tr)
		w.line.Say(&talk.Session{Plugin: c.Plugin, Place: c.Place, State: p.state, Data: p.data, FD: dup})
	}
	delete(f.picked, k)
	w.awaitTaken(s)
	w.untaken[via] = append(w.untaken[via], s)
	return nil
}

// forwards tells whether BIND 10's form can carry a parcel: it has no place for what says which
// transport it came over, nor for the plug-in's state.
func (f *Front) forwards(p parcel) bool {
	kind := f.kinds[p.from].Domain
	return (kind == syscall.AF_INET || kind == syscall.AF_INET6) && len(p.state) == 0 && isSame(p.from.tr, f.n.cfg.Transport)
}
