// Package sequences sends the large messages of a connection in fragments, one of each message in
// turn, so that other messages go out between them.
//
// A fragment is given to the connection's queue when the one before is out: what others post waits
// behind one fragment at most. A message is loose if nobody waits until all of it is out: it was
// posted, or its sender's context has ended half-way. Signals of one process keep their order, so
// what the same process sends later waits behind its loose message (AfterLoose).
//
// See erl_ext_dist, "Distribution Header for fragmented messages".
package sequences

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport"
)

// A Sender sends the large messages of one connection. Its methods are safe for concurrent use.
type Sender struct {
	q     queue.Queue
	run   func(func())
	limit int

	loose atomic.Int64 // how many messages are
	whole atomic.Int64 // see Cuts

	mu      sync.Mutex
	open    []*message            // in turn
	lines   map[ei.Pid][]*message // the loose ones by sender, in order; not open: those behind an open one
	bytes   int                   // of the loose ones
	forced  int                   // of those among them that waited for no room
	last    uint64                // sequence id
	sending *message              // a fragment of it is in the queue
	head    []byte                // of that one
	turns   wait.Pausable         // each is a fragment
	running bool
	held    bool
	err     error
	change  wait.Bell // something has ended: a message, a Hold, or the Sender
}

// A message is one that is not out in full.
type message struct {
	from    ei.Pid
	control []byte // as it is encoded
	protocol.Fragments
	frame []byte // in place of control and fragments: it is one frame
	owned bool   // nobody else uses the memory of Rest
	open  bool
	begun bool // bytes of it are out
	began time.Time
	size  int // of the payload
	over  bool

	forced   bool // it waited for no room
	loose    bool
	cost     int           // its part of Sender.bytes
	leaving  bool          // the sender waits for its memory only
	released chan struct{} // closed when it has that back, or at the end
	err      error         // then
}

// New makes a Sender in front of q. run runs a function on a goroutine of its own. limit is how
// many bytes may be loose before those who add to them wait.
func New(q queue.Queue, limit int, run func(func())) *Sender {
	s := &Sender{q: q, limit: limit, run: run, lines: map[ei.Pid][]*message{}}
	s.whole.Store(leastWhole)
	return s
}

// The sizes, in bytes, up to which payloads go out in one frame: over a line of unknown speed, or a
// slow one, and over any.
const (
	leastWhole = 2 * protocol.FragmentSize
	mostWhole  = 4 << 20
)

// quick is how long a frame may keep the line from others, and what a line is measured by.
const (
	quick  = 10 * time.Millisecond
	sample = 512 << 10 // bytes: the system takes less at once without knowing when it will be out
)

// Cuts tells whether a payload of n bytes is to leave in fragments: if it would keep the line for
// long, as far as is known. (A BEAM takes fragments for half of what it takes whole.)
func (s *Sender) Cuts(n int) bool { return n > leastWhole && int64(n) > s.whole.Load() }

// Loose is how many messages are.
func (s *Sender) Loose() int64 { return s.loose.Load() }

// Measures tells whether the line is measured by a message of n bytes.
func (s *Sender) Measures(n int) bool { return n >= sample }

// Measure notes that n bytes, which began to leave at some time, are out.
func (s *Sender) Measure(n int, began time.Time) {
	if s.Measures(n) {
		took := max(time.Since(began), time.Microsecond)
		s.whole.Store(min(max(int64(float64(n)*float64(quick)/float64(took)), leastWhole), mostWhole))
	}
}

// Send sends a message and waits until it is out. If ctx ends before its first byte is out nothing
// is sent, and the error is ctx's; after that the rest goes out all the same, from a copy unless
// owned says that nobody else uses the payload's memory. Other errors are those of the queue and of
// End. Under transport.NoWait it is Post.
func (s *Sender) Send(ctx context.Context, from ei.Pid, control []byte, payload ei.Raw, owned bool) error {
	if transport.IsNoWait(ctx) {
		return s.Post(ctx, from, control, payload, owned, false)
	}
	s.mu.Lock()
	if err := s.admit(ctx, func() bool { return s.lines[from] == nil }); err != nil {
		s.mu.Unlock()
		return err
	}
	m := s.newMessage(from, control, payload, owned)
	s.begin(m)
	s.mu.Unlock()
	select {
	case <-m.released:
		return m.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	m.leaving = true
	if s.sending == m {
		s.turns.Cut()
	} else {
		s.release(m)
	}
	s.mu.Unlock()
	<-m.released
	if m.err == nil && !m.begun {
		return ctx.Err()
	}
	return m.err
}

// Post sends a message and waits for room only, until ctx ends: under transport.NoWait the error is
// os.ErrDeadlineExceeded then. With force it waits for the end of a Hold only; when much more of
// that kind waits than there is room for, the error is transport.ErrQueueFull. The payload is
// copied unless it is owned.
func (s *Sender) Post(ctx context.Context, from ei.Pid, control []byte, payload ei.Raw, owned, force bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admitLoose(ctx, force); err != nil {
		return err
	}
	if !owned {
		payload = slices.Clone(payload)
	}
	m := s.newMessage(from, control, payload, true)
	m.forced = force
	s.loosen(m)
	return nil
}

// AfterLoose sends a frame, of which it makes a copy, if the process has a loose message that the
// frame must not overtake; else it is false, and nothing is sent. It waits as Post does.
func (s *Sender) AfterLoose(ctx context.Context, from ei.Pid, head, body []byte, force bool) (bool, error) {
	if s.loose.Load() == 0 {
		return false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lines[from] == nil {
		return false, nil
	}
	if err := s.admitLoose(ctx, force); err != nil {
		return true, err
	}
	s.last++
	s.loosen(&message{
		from: from, frame: slices.Concat(head, body), Fragments: protocol.Fragments{Sequence: s.last}, forced: force,
	})
	return true, nil
}

// admitLoose is admit for what is to be loose.
func (s *Sender) admitLoose(ctx context.Context, force bool) error {
	if force && s.forced > forcedLimits*s.limit {
		return transport.ErrQueueFull
	}
	return s.admit(ctx, func() bool { return force || s.bytes < s.limit })
}

// forcedLimits is how many times the limit may be taken by what waits for no room before more of it
// fails.
const forcedLimits = 2

// admit waits until something new may begin and ready says so; s.mu is held, but not while it
// waits.
func (s *Sender) admit(ctx context.Context, ready func() bool) error {
	for {
		switch {
		case s.err != nil:
			return s.err
		case ctx.Err() != nil:
			return ctx.Err()
		case !s.held && ready():
			return nil
		}
		if err := s.change.Wait(ctx, &s.mu); err != nil {
			return cmp.Or(s.err, err)
		}
	}
}

func (s *Sender) newMessage(from ei.Pid, control []byte, payload ei.Raw, owned bool) *message {
	s.last++
	return &message{
		from: from, control: control, size: len(payload), owned: owned,
		Fragments: protocol.Cut(s.last, len(control), payload, protocol.FragmentSize),
		began:     time.Now(), released: make(chan struct{}),
	}
}

// begin makes a message one of the open ones; s.mu is held.
func (s *Sender) begin(m *message) {
	m.open = true
	s.open = append(s.open, m)
	s.goOn()
}

// loosen makes a message loose, and opens it if it is a new one that is not behind another; s.mu is
// held.
func (s *Sender) loosen(m *message) {
	m.loose, m.cost = true, len(m.control)+len(m.Rest)+len(m.frame)
	s.bytes += m.cost
	if m.forced {
		s.forced += m.cost
	}
	s.loose.Add(1)
	s.lines[m.from] = append(s.lines[m.from], m)
	if !m.open && len(s.lines[m.from]) == 1 {
		s.begin(m)
	}
}

// release gives the sender, who does not wait for the end, its memory back: if nothing of the
// message is out, the message is taken back. s.mu is held, and nothing of it is in the queue.
func (s *Sender) release(m *message) {
	switch {
	case m.loose || m.over:
	case !m.begun:
		s.end(m, nil)
	default:
		if !m.owned {
			m.Rest, m.owned = slices.Clone(m.Rest), true
		}
		s.loosen(m)
		close(m.released)
	}
}

// end ends a message; s.mu is held.
func (s *Sender) end(m *message, err error) {
	is := func(other *message) bool { return other == m }
	s.open = slices.DeleteFunc(s.open, is)
	m.over = true
	defer s.change.Ring()
	switch {
	case !m.loose: // else its sender has heard already
		m.err = err
		close(m.released)
		return
	case s.err != nil: // fail has let go of it
		return
	}
	s.loose.Add(-1)
	s.bytes -= m.cost
	if m.forced {
		s.forced -= m.cost
	}
	line := slices.DeleteFunc(s.lines[m.from], is)
	if len(line) == 0 {
		delete(s.lines, m.from)
		return
	}
	s.lines[m.from] = line
	if !line[0].open {
		s.begin(line[0])
	}
}

// goOn makes the open messages go out, if they may and do not yet; s.mu is held.
func (s *Sender) goOn() {
	if !s.running && len(s.open) > 0 && !s.turns.Halted() && s.err == nil {
		s.running = true
		s.run(s.send)
	}
}

// send gives one fragment after the other to the queue.
func (s *Sender) send() {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.running = false }()
	for s.err == nil && len(s.open) > 0 && s.turns.Begin() {
		m := s.open[0]
		before := m.Fragments
		head, piece := m.next(s.head[:0])
		s.head = head
		n, cut, err := s.give(m, head, piece)
		if n == int64(len(head)+len(piece)) { // the queue has it: an error concerns the wait for the end only
			if !m.begun { // else whoever has sent it may be looking
				m.begun = true
			}
		} else {
			m.Fragments = before
			if n > 0 || !cut { // else it has been taken back
				s.fail(err)
			}
		}
		s.sending = nil
		s.turn(m)
	}
}

// errExited ends a Sender if a callback of a plug-in ends its goroutine.
var errExited = errors.New("a callback has ended the goroutine that sends")

// give is a turn: it gives a frame of a message to the queue. cut: the wait for its end was cut
// short. s.mu is held, but not meanwhile.
func (s *Sender) give(m *message, head []byte, piece ei.Raw) (n int64, cut bool, err error) {
	s.sending, err = m, errExited
	ctx := s.turns.Context()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.turns.Done()
		if err == errExited {
			s.fail(err)
			s.sending = nil
			s.end(m, err)
		}
	}()
	n, err = s.q.Deliver(ctx, head, piece)
	return n, ctx.Err() != nil, err
}

// next gives the next frame.
func (m *message) next(b []byte) (head []byte, piece ei.Raw) {
	switch {
	case len(m.frame) > 0:
		return append(b, m.frame...), nil
	case !m.begun:
		return m.AppendFirst(b, nil, nil, m.control)
	}
	return m.AppendNext(b)
}

// turn is after a fragment of a message: others have theirs now. s.mu is held.
func (s *Sender) turn(m *message) {
	switch {
	case m.begun && m.Next == 0:
		s.Measure(m.size, m.began)
		s.end(m, nil)
		return
	case s.err != nil:
		s.end(m, s.err)
		return
	}
	if m.leaving {
		s.release(m)
	}
	if len(s.open) > 1 && s.open[0] == m {
		s.open = append(s.open[1:], m)
	}
}

// fail ends all messages, but for one of which a fragment is in the queue, which may be using its
// memory: that one ends after its turn. s.mu is held.
func (s *Sender) fail(err error) {
	if s.err == nil {
		s.err = err
	}
	for _, m := range slices.Clone(s.open) {
		if !m.loose && m != s.sending {
			s.end(m, err)
		}
	}
	s.open, s.lines, s.bytes, s.forced = nil, map[ei.Pid][]*message{}, 0, 0
	s.loose.Store(0)
	s.change.Ring()
}

// Flush waits until the queue has all that was sent so far, or ctx ends. The error is ctx's, that
// of the queue, or that of End.
func (s *Sender) Flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.last
	earlier := func(m *message) bool { return m.Sequence <= last }
	for slices.ContainsFunc(s.open, earlier) { // no line's first is later than the others
		if err := s.change.Wait(ctx, &s.mu); err != nil {
			return err
		}
	}
	return s.err
}

// Bytes is how much of the messages is not out.
func (s *Sender) Bytes() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.each(func(m *message) { n += len(m.Rest) + len(m.frame) })
	return n
}

// each goes through all messages: the open ones in turn, then those behind them; s.mu is held.
func (s *Sender) each(do func(m *message)) {
	for _, m := range s.open {
		do(m)
	}
	for _, line := range s.lines {
		for _, m := range line {
			if !m.open {
				do(m)
			}
		}
	}
}

// Hold stops the Sender, for a hand-off: of no message a fragment is in the queue, unless the queue
// is to send it all the same. What is sent later waits. If ctx ends before that, the error is
// ctx's; in any case Unhold lets the Sender go on.
func (s *Sender) Hold(ctx context.Context) error {
	s.mu.Lock()
	s.held = true
	s.mu.Unlock()
	return s.turns.Pause(ctx, &s.mu)
}

// Unhold lets a held or staged Sender go on.
func (s *Sender) Unhold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = false
	s.turns.Resume()
	s.change.Ring()
	s.goOn()
}

// Held describes what a held Sender has still to send. Of what has not begun, and whose sender
// waits, there is nothing: it fails by End.
func (s *Sender) Held() (list []states.Outgoing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.each(func(m *message) {
		if !m.begun && !m.loose {
			return
		}
		if !m.owned { // its sender may have it back before the state is written
			m.Rest, m.owned = slices.Clone(m.Rest), true
		}
		o := states.Outgoing{
			From: m.from, Begun: m.begun, Control: m.control, Frame: m.frame,
			Sequence: m.Sequence, Next: m.Next, Size: m.Size, Rest: m.Rest,
		}
		if m.begun {
			o.Control = nil
		}
		list = append(list, o)
	})
	return list
}

// Stage puts what another process has described into a new Sender: nothing goes out until Unhold,
// but what is sent is taken, and follows. The memory of list is the Sender's from now on. A message
// that no Sender has described is ErrOutgoing.
func (s *Sender) Stage(list []states.Outgoing) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turns.Halt()
	for i, o := range list {
		if !isSound(&o) {
			return fmt.Errorf("%w: message %d of %d", ErrOutgoing, i, len(list))
		}
		s.last = max(s.last, o.Sequence)
		s.loosen(&message{
			from: o.From, begun: o.Begun, control: o.Control, frame: o.Frame, owned: true,
			Fragments: protocol.Fragments{Sequence: o.Sequence, Next: o.Next, Size: o.Size, Rest: o.Rest},
		})
	}
	return nil
}

// ErrOutgoing: the number of fragments is not that of a message's rest.
var ErrOutgoing = errors.New("a message is not whole")

// isSound tells whether the fragments, or the frame, of a message can be sent.
func isSound(o *states.Outgoing) bool {
	switch {
	case len(o.Frame) > 0:
		return !o.Begun && o.Next == 0
	case o.Size <= 0 || o.Sequence == 0 || o.Next == 0 || len(o.Rest) == 0:
		return false
	case o.Begun:
		return o.Next == uint64((len(o.Rest)-1)/o.Size+1)
	}
	return len(o.Control) > 0 && o.Next == protocol.Cut(o.Sequence, len(o.Control), o.Rest, o.Size).Next
}

// End makes err the result of all that is sent later, and of what waits. moved says that what Held
// has described goes out elsewhere: its senders have no error then.
func (s *Sender) End(err error, moved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range slices.Clone(s.open) {
		if moved && m.begun && !m.loose {
			s.end(m, nil)
		}
	}
	s.fail(err)
}
