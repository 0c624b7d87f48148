//go:build unix

package sequences

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport"
)

// A said is something that a process of the model has sent.
type said struct {
	number int
	err    error // nil: it was reported as sent
}

// A process sends one message after the other.
type process struct {
	id     int
	cancel context.CancelFunc
	doing  int // the number of what it is sending; -1: nothing
	done   chan said
	sent   []int // in order
	unsent map[int]bool
	next   int
}

// A senderModel is a Sender that moves from stream to stream, processes that send with it, and a
// peer that reads what it is allowed to.
type senderModel struct {
	t     *rapid.T
	outer *testing.T
	f     *fixture
	procs []*process
	held  bool

	mu      sync.Mutex
	change  sync.Cond
	allowed int64 // how much the peer may read; -1: all
	stopped bool
	failed  error
	o       *output
	reader  chan struct{} // closed when the reader of the stream has ended
}

func newSenderModel(t *rapid.T, outer *testing.T) *senderModel {
	m := &senderModel{t: t, outer: outer, o: newOutput()}
	m.change.L = &m.mu
	for i := range 4 {
		m.procs = append(m.procs, &process{id: i, doing: -1, done: make(chan said, 1), unsent: map[int]bool{}})
	}
	m.connect()
	return m
}

func (m *senderModel) connect() {
	c, peer := memoryPair(m.outer)
	m.f = newFixture(m.outer, c, peer)
	m.reader = make(chan struct{})
	go m.read(peer, m.reader)
}

// read is the peer.
func (m *senderModel) read(s *transport.Stream, over chan struct{}) {
	defer close(over)
	b := make([]byte, 48<<10)
	for {
		m.mu.Lock()
		for m.allowed >= 0 && m.o.read >= m.allowed && !m.stopped {
			m.change.Wait()
		}
		room := int64(len(b))
		if m.allowed >= 0 && !m.stopped {
			room = min(room, m.allowed-m.o.read)
		}
		m.mu.Unlock()
		n, err := s.Read(context.Background(), b[:room])
		m.mu.Lock()
		m.o.take(b[:n])
		if m.failed == nil {
			m.failed = m.o.err
		}
		m.change.Broadcast()
		m.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (m *senderModel) allow(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	m.change.Broadcast()
}

// note takes the result of what a process was doing, if it has one; false: it is still at it.
func (p *process) note(r said) {
	p.doing = -1
	if r.err == nil {
		p.sent = append(p.sent, r.number)
	} else {
		p.unsent[r.number] = true
	}
}

func (p *process) isIdle() bool {
	select {
	case r := <-p.done:
		p.note(r)
	default:
	}
	return p.doing < 0
}

// await waits for a process that has to come to an end.
func (m *senderModel) await(p *process, why string) {
	if p.doing < 0 {
		return
	}
	select {
	case r := <-p.done:
		p.note(r)
	case <-time.After(tooLong):
		m.t.Fatalf("process %d is still at message %d: %s", p.id, p.doing, why)
	}
}

// start makes a process send something: in fragments, waiting for it or not, or in one frame.
func (m *senderModel) start(p *process, kind string, size int, owned bool) {
	number, f := p.next, m.f
	p.next, p.doing = p.next+1, number
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	if kind == "nowait" {
		ctx = transport.NoWait()
	}
	b, ctl := payload(p.id, number, size), control(m.outer, p.id)
	go func() {
		defer cancel()
		var err error
		switch kind {
		case "post", "force":
			err = f.s.Post(ctx, pid(p.id), ctl, b, owned, kind == "force")
		case "small":
			head, body := small(m.outer, p.id, number, size)
			var follows bool
			if follows, err = f.s.AfterLoose(ctx, pid(p.id), head, body, false); !follows {
				err = f.q.Post(ctx, head, body, 0)
			}
			clear(body)
		default:
			err = f.s.Send(ctx, pid(p.id), ctl, b, owned)
		}
		if !owned {
			clear(b)
		}
		p.done <- said{number, err}
	}()
}

// move hands everything over to another Sender, as a connection does.
func (m *senderModel) move() {
	if err := m.f.s.Hold(soon(m.outer)); err != nil {
		m.t.Fatal("hold: ", err)
	}
	if err := m.f.q.Hold(soon(m.outer)); err != nil {
		m.t.Fatal("hold the queue: ", err)
	}
	list, rest := m.f.s.Held(), m.f.q.Held()
	var copied []states.Outgoing
	for _, o := range list {
		o.Control, o.Frame, o.Rest = slices.Clone(o.Control), slices.Clone(o.Frame), slices.Clone(o.Rest)
		copied = append(copied, o)
	}
	old := m.f
	old.s.End(errElsewhere, true)
	old.q.End(errElsewhere)
	for _, p := range m.procs {
		m.await(p, "its Sender has moved")
	}
	old.wg.Wait()
	m.stop() // the peer reads what is out, to the end
	m.connect()
	if err := m.f.s.Stage(copied); err != nil {
		m.t.Fatal("stage: ", err)
	}
	if err := m.f.q.Stage(soon(m.outer), rest); err != nil {
		m.t.Fatal("stage the queue: ", err)
	}
	m.held = true
}

// stop ends the stream, and waits until the peer has read what is out.
func (m *senderModel) stop() {
	m.allow(func() { m.stopped = true })
	_ = m.f.c.CloseWrite()
	<-m.reader
	m.allow(func() { m.stopped = false })
}

func (m *senderModel) unhold() {
	m.f.q.Unhold()
	m.f.s.Unhold()
	m.held = false
}

// check looks at what has arrived: each message whole and once, those of a process in order, and
// none that was reported as not sent. With all, every message that was reported as sent is there.
func (m *senderModel) check(all bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed != nil {
		m.t.Fatal(m.failed)
	}
	got := make([][]int, len(m.procs))
	for _, a := range m.o.arrived {
		p := m.procs[a[0]]
		p.isIdle()
		if list := got[p.id]; len(list) > 0 && list[len(list)-1] >= a[1] {
			m.t.Fatalf("message %d of %d came after %d", a[1], p.id, list[len(list)-1])
		}
		if p.unsent[a[1]] {
			m.t.Fatalf("message %d of %d arrived, which was not sent", a[1], p.id)
		}
		got[p.id] = append(got[p.id], a[1])
	}
	if !all {
		return
	}
	for _, p := range m.procs {
		if !slices.Equal(got[p.id], p.sent) {
			m.t.Fatalf("of %d arrived %v, sent were %v", p.id, got[p.id], p.sent)
		}
	}
	if len(m.o.rest) > 0 {
		m.t.Fatal("half a frame has arrived")
	}
}

// settle lets everything go out, and waits for it.
func (m *senderModel) settle() {
	if m.held {
		m.unhold()
	}
	m.allow(func() { m.allowed = -1 })
	for _, p := range m.procs {
		m.await(p, "the peer reads")
	}
	if err := errors.Join(m.f.s.Flush(soon(m.outer)), m.f.q.Flush(soon(m.outer))); err != nil {
		m.t.Fatal("flush: ", err)
	}
	m.f.wg.Wait()
	if n := m.f.s.Bytes(); n != 0 || m.f.s.bytes != 0 || m.f.s.forced != 0 || m.f.s.loose.Load() != 0 || len(m.f.s.lines) > 0 {
		m.t.Fatalf("%d bytes are left, loose: %d bytes", n, m.f.s.bytes)
	}
}

func TestSenderModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newSenderModel(rt, t)
		defer func() { // also of a run that fails
			m.f.s.End(errGone, false)
			m.allow(func() { m.stopped = true })
			_ = m.f.c.Close()
			<-m.reader
		}()
		process := func(rt *rapid.T) *process { return m.procs[rapid.IntRange(0, len(m.procs)-1).Draw(rt, "process")] }
		start := func(kind string, least, most int) func(*rapid.T) {
			return func(rt *rapid.T) {
				p := process(rt)
				size := rapid.IntRange(least, most).Draw(rt, "size")
				owned := rapid.Bool().Draw(rt, "owned")
				if !p.isIdle() {
					return
				}
				m.start(p, kind, size, owned)
				if kind == "nowait" {
					m.await(p, "it does not wait")
				}
				if kind == "force" && !m.held {
					m.await(p, "it waits for no room")
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"send":   start("send", 12, 400<<10),
			"send2":  start("send", 12, 400<<10),
			"post":   start("post", 12, 400<<10),
			"force":  start("force", 12, 200<<10),
			"nowait": start("nowait", 12, 400<<10),
			"small":  start("small", 12, 2000),
			"small2": start("small", 12, 100<<10),
			"cancel": func(rt *rapid.T) {
				if p := process(rt); !p.isIdle() {
					p.cancel()
					m.await(p, "its context has ended")
				}
			},
			"read": func(rt *rapid.T) {
				n := rapid.Int64Range(1, 300<<10).Draw(rt, "bytes")
				m.allow(func() {
					if m.allowed >= 0 {
						m.allowed = m.o.read + n
					}
				})
			},
			"hold": func(rt *rapid.T) {
				if m.held {
					return
				}
				if err := errors.Join(m.f.s.Hold(soon(t)), m.f.q.Hold(soon(t))); err != nil {
					rt.Fatal(err)
				}
				m.held = true
				if err := m.f.s.Send(transport.NoWait(), pid(9), control(t, 9), ei.Raw{1}, true); !errors.Is(err, os.ErrDeadlineExceeded) {
					rt.Fatal("it is held: ", err)
				}
				m.f.s.Held()
			},
			"unhold": func(*rapid.T) {
				if m.held {
					m.unhold()
				}
			},
			"move": func(*rapid.T) {
				if m.held {
					m.unhold()
				}
				m.move()
			},
			"flush": func(rt *rapid.T) {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				if err := m.f.s.Flush(ctx); err != nil && !errors.Is(err, context.Canceled) {
					rt.Fatal(err)
				}
			},
			"settle": func(*rapid.T) {
				m.settle()
				m.allow(func() { m.allowed = m.o.read })
			},
			"": func(*rapid.T) { m.check(false) },
		})
		if rapid.Bool().Draw(rt, "ends") { // at any moment
			m.f.s.End(errGone, false)
			if m.held {
				m.unhold()
			}
			m.allow(func() { m.allowed = -1 })
			for _, p := range m.procs {
				m.await(p, "the Sender has ended")
			}
			m.f.wg.Wait()
			m.stop()
			m.check(false)
			return
		}
		m.settle()
		m.stop()
		m.check(true)
	})
}
