package gate

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// A session is a connection of two nodes through the gate.
type session struct {
	g          *Gate
	names      [2]string // outside, inside
	fromInside bool
	moved      bool // has come from another process
	flags      dist.Flags
	since      time.Time
	known      *acquaintance
	ends       [2]*end
	filter     *filter

	passed, refused atomic.Int64
	head            []byte // memory for the head of a frame
	moving          atomic.Bool
	pumps           sync.WaitGroup
	closing         sync.Once
}

// An end is the connection to one of the two nodes.
type end struct {
	s      *transport.Stream
	q      queue.Queue
	reader *protocol.Reader // of what comes from there
	begun  map[uint64]bool  // messages of which pieces have passed already
	buf    []byte
	ahead  int // bytes of buf that are there

	given  []byte       // what the reader got last
	size   atomic.Int64 // its part of Gate.memory
	wrote  atomic.Int64 // when, in ns
	staged bool         // q has what another process still had to write

	mu     sync.Mutex
	due    []time.Time // when what is being written has to be out: both nodes' messages may be
	spare  []byte      // memory for the next message in fragments
	used   bool        // spare was, since watch has looked
	paused bool        // for a hand-off: what is still to be written
	unsent []byte      // is here
}

func newEnd(s *transport.Stream) *end {
	return &end{s: s, q: s.Posts(nil), begun: map[uint64]bool{}, buf: make([]byte, startBuffer)}
}

// newReader makes the reader of what comes from e.
func (e *end) newReader(x *session) *protocol.Reader {
	r := protocol.NewReader(x.flags, protocol.Limits{Message: x.g.limits.Message, Incomplete: x.g.limits.Held}, nil)
	r.SetAlloc(func(n int) []byte {
		e.mu.Lock()
		b := e.spare
		e.spare = nil
		e.mu.Unlock()
		if cap(b) < n {
			b = make([]byte, n)
		}
		e.given = b
		return b[:n]
	})
	return r
}

// weigh counts what the messages that come from an end take, of all that the gate may.
func (x *session) weigh(e *end) error {
	size := int64(e.ahead + e.reader.Held())
	grows := size - e.size.Swap(size)
	x.g.memory.Add(grows)
	for grows > 0 && x.g.memory.Load() > int64(x.g.limits.Memory) {
		largest := x.g.largest(x)
		if largest == x {
			return errMemory
		}
		largest.close(errMemory)
		largest.unload()
	}
	return nil
}

var errMemory = errors.New("the messages of all connections take too much, and of this one most: Limits.Memory")

// largest is the session whose messages take most; x, if none takes more.
func (g *Gate) largest(x *session) *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	for other := range g.sessions {
		if other.load() > x.load() && !other.moving.Load() {
			x = other
		}
	}
	return x
}

func (x *session) load() int64 { return x.ends[0].size.Load() + x.ends[1].size.Load() }

// unload gives up the session's part of Gate.memory.
func (x *session) unload() {
	for _, e := range x.ends {
		x.g.memory.Add(-e.size.Swap(0))
	}
}

// maxSpare is the largest memory, in bytes, that is kept for another message.
const maxSpare = 4 << 20

const (
	startBuffer = 64 << 10
	maxBuffer   = 256 << 10 // what is read at once, unless a frame is larger
)

// put writes to an end, and waits until the system has it.
func (e *end) put(ctx context.Context, v ...[]byte) error {
	due := time.Now().Add(writeTime + time.Duration(total(v))*writeByte)
	e.mu.Lock()
	paused := e.paused
	if !paused {
		e.due = append(e.due, due)
	}
	e.mu.Unlock()
	var n int64
	err := transport.ErrPaused
	if !paused {
		n, err = e.q.Deliver(ctx, v...)
		e.mu.Lock()
		i := slices.Index(e.due, due)
		e.due = slices.Delete(e.due, i, i+1)
		e.mu.Unlock()
	}
	if !errors.Is(err, transport.ErrPaused) {
		e.wrote.Store(time.Now().UnixNano())
		return err
	}
	var rest []byte
	for _, p := range v {
		skip := min(int(n), len(p))
		rest, n = append(rest, p[skip:]...), n-int64(skip)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.paused = true; n < 0 || err == nil {
		return err
	}
	if isPart := len(rest) < total(v); isPart {
		e.unsent = append(rest, e.unsent...) // of what is partly out nothing may come before the rest
	} else {
		e.unsent = append(e.unsent, rest...)
	}
	return nil
}

const (
	// writeTime is how long a node may take nothing of what is sent to it. The processes of the other
	// node that write to it stand still meanwhile.
	writeTime = 30 * time.Second
	writeByte = 20 * time.Microsecond // 50 KB/s
)

// watch ends sessions of which a node takes nothing any more, and gives up memory that is not used.
func (g *Gate) watch() {
	again, nodes := time.NewTicker(writeTime/10), time.NewTicker(nodesTime)
	defer again.Stop()
	defer nodes.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-nodes.C:
			g.forgetNodes()
		case now := <-again.C:
			g.mu.Lock()
			sessions := slices.Collect(maps.Keys(g.sessions))
			g.mu.Unlock()
			for _, x := range sessions {
				for i, e := range x.ends {
					e.mu.Lock()
					if !e.used {
						e.spare = nil
					}
					e.used = false
					isLate := e.isLate(now)
					e.mu.Unlock()
					if isLate && !x.moving.Load() {
						g.work.Go(func() { x.close(fmt.Errorf("%s takes nothing of what is sent to it", x.names[i])) })
					}
				}
			}
		}
	}
}

// isLate tells whether anything that is being written should be out. e.mu is held.
func (e *end) isLate(now time.Time) bool {
	return slices.ContainsFunc(e.due, func(due time.Time) bool { return now.After(due) })
}

func total(v [][]byte) (n int) {
	for _, p := range v {
		n += len(p)
	}
	return n
}

// run passes messages in both directions until the session ends, or moves.
func (g *Gate) run(x *session) {
	if x.filter == nil {
		x.filter = x.newFilter()
	}
	for _, e := range x.ends {
		if e.reader == nil {
			e.reader = e.newReader(x)
		}
	}
	g.mu.Lock()
	var err error
	switch {
	case g.closed:
		err = ErrClosed
	case len(g.sessions) >= g.limits.Sessions && !x.moved:
		err = errSessions
	default:
		g.sessions[x] = struct{}{}
	}
	g.mu.Unlock()
	if err != nil {
		x.close(err)
		return
	}
	if !x.moved {
		g.log.Info("connected", "outside", x.names[outside], "inside", x.names[inside], "flags", x.flags.String())
	}
	x.start()
}

func (x *session) newFilter() *filter {
	return &filter{g: x.g, outer: x.names[outside], inner: x.names[inside], flags: x.flags, known: x.known}
}

// start begins to pump.
func (x *session) start() {
	for i := range x.ends {
		x.pumps.Add(1)
		x.g.work.Go(func() {
			defer x.pumps.Done()
			err := x.pump(x.g.ctx, i)
			x.g.memory.Add(-x.ends[i].size.Swap(0))
			if !x.moving.Load() || !errors.Is(err, transport.ErrPaused) {
				x.close(fmt.Errorf("%s: %w", x.names[i], err))
			}
		})
	}
}

// close ends a session.
func (x *session) close(reason error) {
	x.closing.Do(func() {
		x.g.mu.Lock()
		delete(x.g.sessions, x) // first: a move that finds a stream closed finds the session ended
		x.g.mu.Unlock()
		_, _ = x.ends[0].s.Close(), x.ends[1].s.Close()
		x.g.log.Info("disconnected", "outside", x.names[outside], "inside", x.names[inside], "reason", reason)
	})
}

func (x *session) info() SessionInfo {
	x.known.mu.Lock()
	defer x.known.mu.Unlock()
	return SessionInfo{
		Outside: x.names[outside], Inside: x.names[inside], FromInside: x.fromInside, Since: x.since,
		Passed: x.passed.Load(), Refused: x.refused.Load(), Atoms: len(x.known.brought[keptAtoms].seen),
	}
}

// pump passes what comes from an end on to the other one.
func (x *session) pump(ctx context.Context, i int) error {
	e, to := x.ends[i], x.ends[1-i]
	fresh := e.ahead > 0 // what has come before a move
	for {
		if !fresh {
			n, err := e.s.Read(ctx, e.buf[e.ahead:])
			if err != nil {
				return err
			}
			e.ahead += n
		}
		fresh = false
		full := e.ahead == len(e.buf)
		used, err := x.pass(ctx, i, e, to)
		if err != nil {
			return err
		}
		e.ahead = copy(e.buf, e.buf[used:e.ahead])
		switch {
		case full && len(e.buf) < maxBuffer:
			e.buf = append(e.buf, make([]byte, len(e.buf))...)
		case len(e.buf) > maxSpare && e.ahead < startBuffer:
			e.buf = append(make([]byte, 0, startBuffer), e.buf[:e.ahead]...)[:startBuffer]
		}
		if err := x.weigh(e); err != nil {
			return err
		}
	}
}

// pass deals with what is in the buffer of an end: whole frames. It gives their length.
func (x *session) pass(ctx context.Context, i int, e, to *end) (used int, err error) {
	if x.g.cfg.Unfiltered {
		return e.ahead, to.put(ctx, e.buf[:e.ahead])
	}
	start, at := 0, 0 // what passes begins at start
	send := func() error {
		if at == start {
			return nil
		}
		return to.put(ctx, e.buf[start:at])
	}
	for e.ahead-at >= 4 {
		size := int(binary.BigEndian.Uint32(e.buf[at:]))
		if size > x.g.limits.Message+maxOverhead {
			return 0, fmt.Errorf("a frame of %d bytes: Limits.Message", size)
		}
		next := at + 4 + size
		if next > e.ahead {
			if 4+size > len(e.buf) && e.ahead == len(e.buf) { // as much comes as is there, not as a peer announces
				e.buf = append(e.buf, make([]byte, len(e.buf))...)
			}
			break
		}
		if size == 0 {
			at = next
			continue
		}
		f, err := x.look(i, e.buf[at+4:next])
		if err != nil {
			return 0, err
		}
		if f.passes {
			at = next
			e.keep(f.memory)
			continue
		}
		if err := send(); err != nil {
			return 0, err
		}
		if len(f.instead) > 0 {
			err = to.put(ctx, f.instead...)
		} else if time.Since(time.Unix(0, to.wrote.Load())) > tickAfter { // else the node would take the sender for dead
			err = to.put(ctx, []byte{0, 0, 0, 0})
		}
		if err == nil && len(f.answer) > 0 {
			err = e.put(ctx, f.answer)
		}
		if err != nil {
			return 0, err
		}
		e.keep(f.memory)
		at = next
		start = at
	}
	return at, send()
}

// keep keeps the memory of a message for another one.
func (e *end) keep(memory []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.used = e.used || memory != nil
	if cap(memory) > cap(e.spare) && cap(memory) <= maxSpare {
		e.spare = memory
	}
}

const (
	// maxOverhead is what a frame takes beside the payload.
	maxOverhead = 64 << 10
	// tickAfter is how long a node hears nothing before a refused message becomes a tick: less
	// than a quarter of the least net_ticktime, which is 4 s.
	tickAfter = 500 * time.Millisecond
)

// A fate is what becomes of a frame.
type fate struct {
	passes  bool
	instead [][]byte // what goes out in its place
	memory  []byte   // where that is
	answer  []byte   // to who has sent it
}

// look deals with a frame.
func (x *session) look(i int, frame []byte) (fate, error) {
	e := x.ends[i]
	var ctl dist.Control
	a, err := e.reader.ReadFrame(frame, &ctl)
	if err != nil {
		return fate{}, err
	}
	if i == inside { // trusted: pieces pass as they come
		switch {
		case a.Complete:
			x.filter.learn(&ctl, a.Payload)
		case a.Kind == protocol.KindFirstFragment:
			if m, ok := e.reader.Begun(a.Sequence); ok && !m.Discarded {
				x.filter.learn(&m.Control, m.Payload)
				e.reader.Discard(a.Sequence)
				e.keep(e.given)
			}
		}
		return fate{passes: true}, nil
	}
	switch {
	case a.Sequence == 0 && a.Kind != protocol.KindHeader && a.Kind != protocol.KindPassThrough:
		return fate{}, errors.New("a message in pieces without a number") // a BEAM takes the first for all of it
	case !a.Complete && a.Kind == protocol.KindFirstFragment:
		return x.begin(e, a.Sequence, frame)
	case !a.Complete: // pieces wait for the last one, unless the first has passed
		return fate{passes: e.begun[a.Sequence]}, nil
	case e.begun[a.Sequence]: // all but its atoms was known
		delete(e.begun, a.Sequence)
		if err := x.filter.admitAll(&ctl, a.Payload); err != nil {
			return fate{}, fmt.Errorf("a message of which pieces have passed: %w", err)
		}
		x.count(false)
		return fate{passes: true, memory: a.Memory}, nil
	}
	v, err := x.filter.judge(&ctl, a.Payload)
	if err != nil {
		return fate{}, err
	}
	x.count(v.stops && !v.d.Allowed)
	if v.stops {
		return fate{answer: v.answer, instead: v.instead, memory: a.Memory}, nil
	}
	plainly(&ctl, len(a.Payload) > maxPriority)
	f := fate{memory: a.Memory}
	if len(a.Payload) > protocol.FragmentSize && a.Memory != nil {
		f.instead, err = cut(a.Sequence, &ctl, a.Payload)
		return f, err
	}
	// What a BEAM would write, so that nothing passes that nobody has looked at.
	if x.head, err = protocol.AppendFrameHead(x.head[:0], x.flags, &ctl, len(a.Payload)); err != nil {
		return fate{}, err
	}
	f = x.written(frame, a.Payload)
	f.memory = a.Memory
	return f, nil
}

// maxPriority is how many bytes a message in one frame may have that keeps its priority. OTP 28 and
// 29 before erts 16.4.0.6 and 17.0.6 read beyond memory for one in several frames, as those of more
// than 32 KiB may be: erlang/otp#11416.
const maxPriority = 32 << 10

// plainly takes from a control message what is for traces: a BEAM takes any term for a trace token,
// and does not survive each. A message that is long, or in several frames, has no priority.
func plainly(ctl *dist.Control, long bool) {
	ctl.Op, ctl.Token = ctl.Op.Base(), nil
	if ctl.Op != dist.OpAltactSigSend {
		return
	}
	ctl.Flags &^= dist.AltactToken
	if long && ctl.Flags&dist.AltactExit == 0 {
		ctl.Flags &^= dist.AltactPrio
	}
}

// begin deals with the first piece of a message. Where that tells all that a rule asks, the pieces
// pass as they come, but for the last: that waits until all of the message has been read.
func (x *session) begin(e *end, sequence uint64, frame []byte) (fate, error) {
	m, ok := e.reader.Begun(sequence)
	// a BEAM takes memory for as many pieces as the first one announces
	if !ok || m.Discarded || m.Next > uint64(x.g.limits.Message/protocol.FragmentSize)+1 || !x.filter.tells(&m.Control, m.Payload) {
		return fate{}, nil
	}
	v, err := x.filter.decide(&m.Control, m.Payload)
	if err != nil {
		return fate{}, err
	}
	if v.stops {
		e.reader.Discard(sequence)
		x.count(!v.d.Allowed)
		return fate{answer: v.answer}, nil
	}
	if x.filter.admitHead(&m.Control) != nil { // a BEAM reads it with the first piece: all of it is refused
		return fate{}, nil
	}
	e.begun[sequence] = true
	ctl := m.Control
	plainly(&ctl, true)
	control, err := protocol.AppendControl(nil, &ctl)
	if err != nil {
		return fate{}, err
	}
	f := protocol.Fragments{Sequence: sequence, Next: m.Next + 1, Size: len(control) + len(m.Payload), Rest: m.Payload}
	var piece ei.Raw
	x.head, piece = f.AppendFirst(x.head[:0], nil, nil, control)
	return x.written(frame, piece), nil
}

// written is the fate of a frame in whose place x.head and the payload are to go out: mostly the
// frame is the same.
func (x *session) written(frame []byte, payload ei.Raw) fate {
	if head := x.head[4:]; len(head)+len(payload) == len(frame) && bytes.Equal(head, frame[:len(head)]) {
		return fate{passes: true}
	}
	return fate{instead: [][]byte{bytes.Clone(x.head), payload}}
}

func (x *session) count(refused bool) {
	if refused {
		x.refused.Add(1)
		return
	}
	x.passed.Add(1)
	x.g.passed.Add(1)
}

// cut makes the frames of a message anew that has come in several.
func cut(sequence uint64, ctl *dist.Control, payload ei.Raw) ([][]byte, error) {
	control, err := protocol.AppendControl(nil, ctl)
	if err != nil {
		return nil, err
	}
	f := protocol.Cut(sequence, len(control), payload, protocol.FragmentSize)
	head, piece := f.AppendFirst(nil, nil, nil, control)
	v := [][]byte{head, piece}
	for f.Next > 0 {
		head, piece := f.AppendNext(nil)
		v = append(v, head, piece)
	}
	return v, nil
}
