package front

import (
	"errors"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

// A kind is how a session is settled.
type kind int

const (
	byTCP  kind = iota // by the kernel's counters
	byPump             // by those of its pump
	never              // it ends with its worker
	ended              // its peer is gone: nothing changes any more
)

// A session is a client's connection, as long as the Keeper has to do with it.
type session struct {
	id     uint64
	kind   kind
	fd     int // the duplicate of what workers get; -1: none, the worker has the only one
	header bind10.Header
	pump   pumper // of byPump
	moves  int

	worker   *worker   // nil: it waits for one
	parked   time.Time // since when no worker has taken it; zero: one has
	waiter   *os.File  // waits for the first bytes, for a plain worker
	taken    bool      // an acceptor of the worker has it
	over     bool      // dropped
	outgoing           // of one that was made for a worker; else its name is nil

	base    counters // when the worker got it
	last    *point   // of its worker; nil: it stands at none. While it waits: what the next worker gets
	before  *point   // the one before: last may announce an answer of which nothing has been written
	preface          // of its worker
}

// look tells how far the session is.
func (s *session) look() (c counters, open bool, err error) {
	switch s.kind {
	case byTCP:
		return look(s.fd)
	case byPump:
		return s.pump.look(s.fd)
	}
	return counters{}, true, nil
}

// hasEnded tells whether the client has ended its side.
func (s *session) hasEnded() bool {
	_, open, err := s.look()
	return err != nil || !open || halfClosed(s.fd)
}

// admit takes in a new session, whose fd it owns. k.mu is held.
func (k *Keeper) admit(s *session) {
	k.pass("admit")
	k.ids++
	s.id, s.last = k.ids, &point{}
	k.sessions[s.id] = s
	k.park(s)
	k.dispatch()
}

// park makes a session wait for a worker. k.mu is held.
func (k *Keeper) park(s *session) {
	s.worker, s.taken = nil, false
	if s.parked.IsZero() { // a worker that has refused it does not count
		s.parked = time.Now()
	}
	if s.name != nil {
		k.keep(s)
		return
	}
	k.queue = append(k.queue, s)
	k.expireLater()
}

// hasPlace tells whether another client may wait. Where all places are taken, it looks whether
// clients that have ended hold some. k.mu is held.
func (k *Keeper) hasPlace() bool {
	has := func() bool { return len(k.queue)+len(k.beginning) < k.o.MaxParked }
	if !has() {
		k.leaveGone()
	}
	return has()
}

// leaveGone drops the clients that have ended while they waited: also those that have ended their
// side after a request, since nothing tells whether anybody still reads. That takes some time if
// many wait, so that it is not done for each client that comes. k.mu is held.
func (k *Keeper) leaveGone() {
	begun := time.Now()
	if begun.Before(k.swept) {
		return
	}
	k.queue = slices.DeleteFunc(k.queue, func(s *session) bool {
		if !s.hasEnded() {
			return false
		}
		k.stats.Gone++
		k.drop(s)
		return true
	})
	now := time.Now()
	k.swept = now.Add(10 * now.Sub(begun))
}

// expireLater sets the timer for the session that waits the longest. k.mu is held.
func (k *Keeper) expireLater() {
	if len(k.queue) == 0 || k.life != serving {
		return
	}
	oldest := slices.MinFunc(k.queue, func(a, b *session) int { return a.parked.Compare(b.parked) })
	after := max(time.Until(oldest.parked.Add(k.o.MaxParkedAge)), time.Millisecond)
	if k.expiry == nil {
		k.expiry = time.AfterFunc(after, func() { k.locked(k.expire) })
	} else {
		k.expiry.Reset(after)
	}
}

// expire closes what has waited for too long. k.mu and the gate are held.
func (k *Keeper) expire() {
	now := time.Now()
	k.queue = slices.DeleteFunc(k.queue, func(s *session) bool {
		if now.Sub(s.parked) < k.o.MaxParkedAge {
			return false
		}
		k.stats.Expired++
		k.drop(s)
		return true
	})
	k.expireLater()
}

// dispatch gives sessions that wait to workers. k.mu is held.
func (k *Keeper) dispatch() {
	if len(k.queue) == 0 || k.life != serving {
		return
	}
	k.views = k.views[:0]
	at, ready := make([]*worker, 0, 8), 0
	for _, w := range k.workers {
		if !w.serves() {
			continue
		}
		v := w.view()
		if v.Ready {
			ready++
		}
		k.views, at = append(k.views, v), append(at, w)
	}
	waiting := k.queue[:0]
	for i, s := range k.queue {
		if ready == 0 {
			waiting = append(waiting, k.queue[i:]...)
			break
		}
		w := k.choose(s, at)
		if w != nil && s.last.isLong() && !w.reads {
			w = nil
		}
		if w == nil || w.plain && !k.speaks(s) {
			waiting = append(waiting, s)
			continue
		}
		if k.give(s, w) {
			c := slices.Index(at, w)
			if k.views[c] = w.view(); !k.views[c].Ready {
				ready--
			}
		}
	}
	clear(k.queue[len(waiting):])
	k.queue = waiting
}

// choose asks the policy for one of the workers, whose views are k.views; nil: the session waits. A
// plain worker cannot be told the state that an earlier one has left. k.mu is held.
func (k *Keeper) choose(s *session, workers []*worker) *worker {
	views := k.views
	if len(s.last.state) > 0 && slices.ContainsFunc(workers, func(w *worker) bool { return w.plain }) {
		workers = slices.DeleteFunc(slices.Clone(workers), func(w *worker) bool { return w.plain })
		views = slices.DeleteFunc(slices.Clone(views), func(v Worker) bool { return v.Plain })
	}
	if len(views) == 0 {
		return nil
	}
	c := k.o.Policy(&Session{ID: s.id, Local: s.header.Local, Remote: s.header.Remote, Moves: s.moves}, views)
	if c < 0 || c >= len(workers) || !views[c].Ready {
		return nil
	}
	return workers[c]
}

// speaks tells whether there are bytes for a plain worker, which gets no session without, and else
// waits for some. k.mu is held.
func (k *Keeper) speaks(s *session) bool {
	switch {
	case len(s.last.rest) > 0:
		return true
	case s.waiter != nil:
		return false
	}
	p := make([]byte, 4<<10)
	if n, ok := readFD(s.fd, p); ok {
		s.last = &point{rest: p[:n], state: s.last.state}
		return true
	}
	k.awaitSpeechOf(s)
	return false
}

// awaitSpeechOf has dispatch called when a session's client has sent something. k.mu is held.
func (k *Keeper) awaitSpeechOf(s *session) {
	fd, err := duplicateFD(s.fd)
	if err != nil {
		return // until the next change
	}
	s.waiter = os.NewFile(uintptr(fd), "session")
	k.wg.Add(1)
	go func() {
		defer k.wg.Done()
		k.awaitSpeech(s, s.waiter)
	}()
}

// awaitSpeech waits until the client of a session has sent something, or ended.
func (k *Keeper) awaitSpeech(s *session, f *os.File) {
	defer f.Close()
	raw, err := f.SyscallConn()
	if err == nil {
		_ = peek(raw, make([]byte, 1), func(n int) bool { return n > 0 })
	}
	if !k.enter() {
		return
	}
	defer k.gate.RUnlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if s.waiter == f {
		s.waiter = nil
	}
	if s.over || s.worker != nil {
		return
	}
	if _, open, err := s.look(); err != nil || !open || endedEmpty(s.fd) {
		k.queue = slices.DeleteFunc(k.queue, func(q *session) bool { return q == s })
		k.stats.Gone++
		k.drop(s)
		return
	}
	k.dispatch()
}

// give puts a session into a worker's queue. k.mu is held, and s is in no queue.
func (k *Keeper) give(s *session, w *worker) bool {
	s.endWaiter()
	base, open, err := s.look()
	if err == nil && s.name != nil {
		if !open && s.kind == byTCP {
			err = s.bury()
			base = counters{}
		}
		if open = true; s.hasEnded() {
			s.How = isEnded
		}
	}
	if err != nil || !open {
		k.stats.Gone++
		k.drop(s)
		return false
	}
	s.base, s.before, s.preface, s.taken, s.worker = base, nil, preface{}, false, w
	s.last = &point{rest: s.last.rest, state: s.last.state}
	w.sessions[s.id] = s
	w.inflight++
	w.out = append(w.out, s)
	k.flush(w)
	return true
}

// settle decides about a session that its worker has no more: its process is gone, or it has
// said so with a kind of packet. k.mu is held.
func (k *Keeper) settle(s *session, said byte) {
	k.pass("settle")
	w := s.worker
	delete(w.sessions, s.id)
	w.arrived(s)
	untouched := said == kindRefused || said == kindNoMore
	now, open, err := s.look()
	now = now.since(s.base)
	at, surplus := settled(now, s.last, s.before, w.takes)
	if err != nil || s.kind == never && !untouched {
		at = nil
	}
	if open && at != nil && surplus > 0 {
		if err := discard(s.fd, surplus); err != nil {
			at = nil
		}
	}
	switch {
	case err == nil && !open && (s.name == nil || at == nil), // what was written still goes out
		s.name != nil && said == kindGivenBack && at != nil && len(at.rest) == 0 && endedEmpty(s.fd): // nothing is left of it
		k.stats.Gone++
		k.drop(s)
	case at != nil:
		if !untouched {
			k.stats.Moved++
			s.moves++
		}
		s.last, s.before, s.preface = at.whole(), nil, preface{}
		k.park(s)
		k.pass("settled")
	case said == kindGivenBack: // its worker ends it, at its own stop: what it has written must arrive
		k.stats.Done++
		k.drop(s)
	default:
		k.stats.Reset++
		k.o.Log.Warn("a session is reset: its worker was at no point", "session", s.id, "client", s.header.Remote, "worker", w.label(),
			"consumed", now.consumed, "written", now.written, "point", pointAt(s.last), "error", err)
		k.reset(s)
	}
}

func pointAt(p *point) any {
	if p == nil {
		return "none"
	}
	return p.at
}

// drop forgets a session and closes the duplicate. If that is the last one, the client sees the end
// of the connection. k.mu is held.
func (k *Keeper) drop(s *session) {
	k.forget(s)
	if s.fd >= 0 {
		closeFD(s.fd)
		s.fd = -1
	}
}

// reset forgets a session and ends the connection so that the client cannot take it for a whole
// answer. k.mu is held.
func (k *Keeper) reset(s *session) {
	k.forget(s)
	if s.pump != nil {
		s.pump.reset()
	}
	if s.fd >= 0 {
		resetFD(s.fd)
		s.fd = -1
	}
}

func (k *Keeper) forget(s *session) {
	s.over = true
	delete(k.sessions, s.id)
	if s.worker != nil {
		delete(s.worker.sessions, s.id)
	}
	s.endWaiter()
	if s.name != nil {
		k.ended(s)
	}
}

// endWaiter ends the wait for the client's first bytes. Keeper.mu is held.
func (s *session) endWaiter() {
	if s.waiter != nil {
		_ = s.waiter.SetReadDeadline(time.Unix(1, 0))
		s.waiter = nil
	}
}

// pumped makes a session of a connection that this process reads and writes.
func (k *Keeper) pumped(client secured, tcp net.Conn, linger time.Duration) (*session, error) {
	here, there, err := streamPair()
	if err != nil {
		return nil, err
	}
	raw, err := here.SyscallConn()
	if err != nil {
		closeFD(there)
		return nil, errors.Join(err, here.Close())
	}
	p := &pump{client: client, tcp: tcp, here: here, raw: raw, linger: linger}
	s := &session{fd: there, kind: byPump, pump: p, header: bind10.Header{Family: syscall.AF_UNIX, Type: syscall.SOCK_STREAM,
		Local: transport.FromNetAddr(tcp.LocalAddr()), Remote: transport.FromNetAddr(tcp.RemoteAddr())}}
	k.mu.Lock()
	k.pumps[p] = struct{}{}
	k.mu.Unlock()
	k.goOn(func() {
		both := make(chan struct{})
		go func() { p.fromClient(); close(both) }()
		p.fromWorker()
		<-both
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.pumps, p)
		k.change()
	})
	return s, nil
}
