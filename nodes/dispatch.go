package nodes

import (
	"context"
	"encoding/binary"
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
	// heardLately: a worker that was heard of within this time is not asked whether it is there.
	heardLately = 50 * time.Millisecond
	// pinnedPatience is how many times longer than for another one the front waits for the worker that has the peer: its connection may be
	// alive.
	pinnedPatience = 4
	// retryPause is how long a session waits, at the longest, before all workers are tried again.
	retryPause = 100 * time.Millisecond
)

// ErrNoWorker: no worker has taken the session in the time of a handshake.
var ErrNoWorker = errors.New("no worker takes the session")

// A route says which workers have something to do with a peer: connections, and handshakes in progress.
type route struct {
	held   map[*crewman]int
	at     *crewman // the one that has the connection, or else the latest handshake
	proven bool     // at has, or had, a connection: sessions elsewhere have only said the peer's name, as any stranger may
}

// lose takes a worker off the route.
func (r *route) lose(w *crewman) {
	delete(r.held, w)
	if r.at == w {
		r.at, r.proven = nil, false
		for other := range r.held {
			r.at = other
		}
	}
}

// dispatch reads a peer's name and gives its socket to a worker. On success the socket is not the caller's any more.
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
	data = append(data, p.head[4-p.size:]...) // as they came
	data = append(data, p.body...)
	state, ahead, err := s.Export()
	if err != nil { // the peer comes again, and in vain as a rule
		f.n.log.Error("a session cannot be given to a worker, and is refused", "peer", who.Name, "remote", addrText(s.RemoteAddr()), "error", err)
		return err
	}
	data = append(data, ahead...)
	if len(data) > handoff.MaxSessionData {
		return fmt.Errorf("%w: %d bytes before the answer to the name", dist.ErrMalformed, len(data))
	}
	if err = f.give(ctx, parcel{l, s, state, data}, who); err != nil {
		clear(state) // it may hold keys, and is nobody's
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

// peerOf is the name that a parcel's data begins with, under which it is counted: "" of a peer that asks for one.
func peerOf(data []byte) string {
	for _, size := range []int{2, 4} { // the header's; in one of 4 bytes the first two are zero
		if len(data) < size {
			break
		}
		n := uint64(binary.BigEndian.Uint16(data))
		if size == 4 {
			n = uint64(binary.BigEndian.Uint32(data))
		}
		if n == 0 || n > uint64(len(data)-size) {
			continue
		}
		who, err := dist.ParseName(data[size : size+int(n)])
		if err != nil || who.Dynamic() {
			break
		}
		return who.Name
	}
	return ""
}

// give finds a worker that takes the parcel, until ctx ends.
func (f *Front) give(ctx context.Context, p parcel, who dist.Name) error {
	peer := who.Name
	if who.Dynamic() {
		peer = ""
	}
	passed := map[*crewman]bool{}
	for {
		k, change, err := f.pick(who.Name, peer, passed)
		switch {
		case err != nil:
			return err
		case k == nil: // everybody has been passed over
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
			_ = f.still.Pass(ctx) // ctx is looked at when there is nobody
			continue
		}
		passed[k.w] = true
	}
}

// A picking is a session that has been counted as a worker's, and not been pushed yet.
type picking struct {
	w      *crewman
	peer   string
	pinned bool // the worker has the peer
}

// unpick takes it back.
func (f *Front) unpick(k *picking) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.picked, k)
	k.w.sessions--
	f.leave(k.w, k.peer)
}

// pick chooses a worker, and counts the session as its. The worker that has the peer comes first. One that is going over to another
// process gets none meanwhile.
func (f *Front) pick(shown, peer string, passed map[*crewman]bool) (k *picking, change <-chan struct{}, err error) {
	f.chosen.Lock()
	defer f.chosen.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil {
		return nil, nil, ErrClosed
	}
	choose := func(w *crewman, pinned bool) (*picking, <-chan struct{}, error) {
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
	var candidates []*crewman
	for _, c := range f.crew {
		if c.ready && !c.hangs && c.moving == nil && !passed[c] && c.burden() < maxUntaken {
			candidates = append(candidates, c)
		}
	}
	if len(candidates) == 0 {
		return nil, f.change.Next(), nil
	}
	infos := make([]WorkerInfo, len(candidates))
	for i, c := range candidates {
		infos[i] = c.info()
	}
	i := f.cfg.Choose(shown, infos)
	if i < 0 || i >= len(candidates) {
		return nil, nil, fmt.Errorf("%w: FrontConfig.Choose gave %d of %d", ErrNoWorker, i, len(candidates))
	}
	return choose(candidates[i], false)
}

// enter counts a session of a peer; f.mu is held.
func (f *Front) enter(w *crewman, peer string) {
	w.sessions++
	if peer == "" {
		return
	}
	r := f.routes[peer]
	if r == nil {
		r = &route{held: map[*crewman]int{}}
		f.routes[peer] = r
	}
	r.held[w]++
	if !r.proven {
		r.at = w
	}
}

// leave is the end of what enter, or claim, has counted; f.mu is held.
func (f *Front) leave(w *crewman, peer string) {
	r := f.routes[peer]
	if r == nil || r.held[w] == 0 {
		return
	}
	if r.held[w]--; r.held[w] > 0 {
		return
	}
	if r.lose(w); len(r.held) == 0 {
		delete(f.routes, peer)
	}
}

// up notes that a worker has the connection to a peer, which has proven its cookie. Connections that other workers have are over, as the
// peer sees it; f.mu is held.
func (f *Front) up(w *crewman, key, peer string) {
	if key != peer {
		w.sessions--
		f.enter(w, peer)
	}
	r := f.routes[peer]
	if r == nil {
		return
	}
	r.at, r.proven = w, true
	for other := range r.held {
		if other != w {
			other.line.Say(talk.Word{Topic: talk.Drop, Name: peer})
		}
	}
}

// claim answers a worker that wants to connect to a peer; f.mu is held.
func (f *Front) claim(w *crewman, m *talk.Word) {
	if r := f.routes[m.Name]; r != nil && r.at != nil && r.at != w {
		r.at.line.Say(talk.Word{Topic: talk.Meet, Name: m.Name, Part: w.number})
		w.line.Say(talk.Word{Topic: talk.Answer, ID: m.ID, Part: r.at.number})
		return
	}
	f.enter(w, m.Name)
	w.line.Say(talk.Word{Topic: talk.Answer, ID: m.ID, Part: w.number})
}

// there tells whether a worker answers, if it has not been heard of just now.
func (w *crewman) there(ctx context.Context, patience time.Duration) bool {
	if time.Now().UnixNano()-w.heard.Load() < int64(heardLately) {
		return true
	}
	answer := make(chan struct{})
	w.f.mu.Lock()
	w.probed++
	id := w.probed
	if w.ready {
		w.probes[id] = answer
	} else {
		close(answer)
	}
	w.f.mu.Unlock()
	w.line.Say(talk.Word{Topic: talk.Probe, ID: id})
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-answer:
		w.f.mu.Lock()
		defer w.f.mu.Unlock()
		return w.ready
	case <-ctx.Done():
	case <-t.C:
	}
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	if delete(w.probes, id); ctx.Err() == nil {
		w.hang()
	}
	return false
}

// hang notes that a worker does not answer; f.mu is held.
func (w *crewman) hang() {
	if !w.hangs && w.ready {
		w.hangs = true
		w.f.n.log.Warn("worker hangs", "slot", w.slot, "pid", w.proc.PID)
	}
}

// push gives a parcel to a worker. The front keeps a descriptor until the worker has taken it, to end the connection where that does not
// happen: the peer comes again, and gets another worker.
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
		c, _ := f.n.carriageOf(p.from.tr)
		w.line.Say(talk.Word{Topic: talk.Session, Plugin: c.Plugin, Place: c.Place, State: p.state, Data: p.data, FD: dup})
	}
	delete(f.picked, k)
	w.awaitTaken(s)
	w.untaken[via] = append(w.untaken[via], s)
	return nil
}

// forwards tells whether BIND 10's form can carry a parcel: it has no place for what says which transport it came over, nor for the
// plug-in's state.
func (f *Front) forwards(p parcel) bool {
	kind := f.kinds[p.from].Domain
	return (kind == syscall.AF_INET || kind == syscall.AF_INET6) && len(p.state) == 0 && isSame(p.from.tr, f.n.cfg.Transport)
}

// awaitTaken bounds the time in which a worker takes a session; f.mu is held.
func (w *crewman) awaitTaken(s *session) {
	s.due = time.Now().Add(w.f.cfg.Patience)
	s.timer = time.AfterFunc(w.f.cfg.Patience, func() { w.recall(s) })
}

// recall ends a session that its worker has not taken in time.
func (w *crewman) recall(s *session) {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	switch {
	case w.f.still.IsShut() || w.moving != nil: // it may be taken there
		s.due = time.Now().Add(w.f.cfg.Patience)
		s.timer.Reset(w.f.cfg.Patience)
		return
	case !s.late && time.Since(s.due) > talk.Lull: // that it was taken may wait to be read
		s.late = true
		s.timer.Reset(4 * talk.Lull)
		return
	}
	if !s.withdrawn && (slices.Contains(w.untaken[talk.ViaForwarder], s) || slices.Contains(w.untaken[talk.ViaLine], s)) {
		w.hang()
		s.withdraw()
	}
}
