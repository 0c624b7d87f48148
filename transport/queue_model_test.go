//go:build unix

package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/queue"
	"pgregory.net/rapid"
)

// A grantCarrier is a carrier that takes the bytes it is granted, and no more.
type grantCarrier struct {
	carrier
	slow    bool
	mu      sync.Mutex
	cond    sync.Cond
	got     []byte
	room    int
	portion int
	halted  bool
	failure error
	calls   int
}

func newGrantCarrier(slow bool, portion int) *grantCarrier {
	k := &grantCarrier{slow: slow, portion: portion}
	k.cond.L = &k.mu
	return k
}

func (k *grantCarrier) takesItsTime() bool { return k.slow }
func (k *grantCarrier) prepare(bool) error { return nil }
func (k *grantCarrier) keepsPackets() bool { return false }

func (k *grantCarrier) halt(bool)   { k.set(func() { k.halted = true }) }
func (k *grantCarrier) resume(bool) { k.set(func() { k.halted = false }) }

func (k *grantCarrier) set(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
	k.cond.Broadcast()
}

func (k *grantCarrier) write(ctx context.Context, v [][]byte) (int64, error) {
	if len(v) == 0 || len(v[0]) == 0 {
		panic("an empty buffer first")
	}
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() { k.set(func() {}) })()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls++
	for {
		switch {
		case k.failure != nil:
			return 0, k.failure
		case ended(ctx) != nil:
			return 0, ctx.Err()
		case k.halted:
			return 0, os.ErrDeadlineExceeded
		}
		if k.room > 0 {
			break
		}
		if IsNoWait(ctx) {
			return 0, os.ErrDeadlineExceeded
		}
		k.cond.Wait()
	}
	left := min(k.room, k.portion)
	before := len(k.got)
	k.got = appendFirst(k.got, v, left)
	k.room -= len(k.got) - before
	return int64(len(k.got) - before), nil
}

// A modelCall is one Post or Deliver.
type modelCall struct {
	id, size int
	kind     string
	lazy     bool
	single   bool
	cancel   context.CancelFunc
	epoch    int // in which the queue accepted it; -1: not yet
	gone     bool
	done     chan written
	result   *written
}

func modelMessage(id, size int) []byte {
	b := make([]byte, 0, size)
	b = binary.BigEndian.AppendUint32(b, uint32(id))
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	for i := len(b); i < size; i++ {
		b = append(b, byte(id*31+i*7+i>>8))
	}
	return b
}

type queueModel struct {
	t       *rapid.T
	slow    bool
	limit   int
	aside   int // LazilyLimit
	portion int
	k       *grantCarrier
	q       *postQueue
	// output of the queues before; what they handed over has been staged in the new one
	before  []byte
	calls   []*modelCall
	epoch   int
	held    bool
	staged  bool
	moved   int  // how many calls came before the last move: they have been ended by End
	stood   bool // there was a Hold
	failed  bool
	flushes []*modelFlush
}

type modelFlush struct {
	upTo int // how many calls came before it
	done chan error
}

func (m *queueModel) fresh() {
	m.k = newGrantCarrier(m.slow, m.portion)
	m.q = newPostQueue(newStream(m.k, nil, connected), &queue.Options{Limit: m.limit, LazilyLimit: m.aside})
}

// end lets everybody go who is left when a run is given up.
func (m *queueModel) end() {
	for _, c := range m.calls {
		c.cancel()
	}
	if m.held || m.staged {
		m.q.Unhold()
	}
	m.k.set(func() { m.k.room = 1 << 30 })
}

func (m *queueModel) posted() int64 {
	m.q.mu.Lock()
	defer m.q.mu.Unlock()
	return m.q.posted + int64(m.q.aside)
}

// noRoomAside tells whether a post that is Lazily waits for room.
func (m *queueModel) noRoomAside() bool {
	m.q.mu.Lock()
	defer m.q.mu.Unlock()
	return m.q.aside >= m.aside
}

func (m *queueModel) eventually(what string, f func() bool) {
	for end := time.Now().Add(tooLong); !f(); time.Sleep(5 * time.Microsecond) {
		if time.Now().After(end) {
			m.q.mu.Lock()
			s := fmt.Sprintf("%+v", m.q.segs)
			for _, c := range m.calls {
				m.t.Logf("%s %d size %d epoch %d gone %v result %v", c.kind, c.id, c.size, c.epoch, c.gone, c.result)
			}
			m.t.Logf("posted %d sent %d", m.q.posted, m.q.sent)
			m.t.Fatalf("%s: never; writing %v parked %v held %v urgent %d segs %.300s", what, m.q.writing, m.q.parked, m.q.held != nil,
				m.q.now, s)
		}
	}
}

func (c *modelCall) returned() bool {
	if c.result == nil {
		select {
		case r := <-c.done:
			c.result = &r
		default:
			return false
		}
	}
	return true
}

func (m *queueModel) start(post bool, mode queue.How, size int, single bool, split []int) {
	c := &modelCall{id: len(m.calls), size: size, single: single, epoch: -1, done: make(chan written, 1)}
	c.kind = map[bool]string{true: fmt.Sprint("post", mode), false: "writev"}[post]
	c.lazy = post && mode&(queue.Lazily|queue.Now) == queue.Lazily
	m.calls = append(m.calls, c)
	b := modelMessage(c.id, size)
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	// when one that waits for room comes in is not seen here: see TestQueueLazyWaitsForRoom
	if single = single || c.lazy && m.noRoomAside(); single {
		ctx, c.single = NoWait(), true
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	c.cancel = cancel
	p0 := m.posted()
	q := m.q
	go func() {
		defer cancel()
		if post {
			at := min(split[0], size)
			err := q.Post(ctx, b[:at], b[at:], mode)
			clear(b)
			n := int64(size)
			if err != nil {
				n = 0
			}
			c.done <- written{n, err}
			return
		}
		var v [][]byte
		rest := b
		for _, at := range split {
			at = min(at, len(rest))
			v = append(v, rest[:at:at])
			rest = rest[at:]
		}
		n, err := q.Deliver(ctx, append(v, rest)...)
		clear(b)
		c.done <- written{n, err}
	}()
	m.epoch++
	if m.held {
		return
	}
	m.eventually("accepted or returned", func() bool {
		r := c.returned()
		if m.posted() == p0+int64(size) {
			c.epoch = m.epoch
			return true
		}
		return r
	})
	if post && mode&queue.Now != 0 && m.held == false {
		m.eventually("Now returns", c.returned)
	}
	if single || c.lazy {
		m.eventually("NoWait and Lazily return", c.returned)
	}
}

func (m *queueModel) open() (open []*modelCall) {
	for _, c := range m.calls {
		if !c.returned() {
			open = append(open, c)
		}
	}
	return open
}

// unhold ends a Hold or a Stage, and waits for the calls that were kept waiting.
func (m *queueModel) unhold() {
	m.held, m.staged = false, false
	m.epoch++
	p0 := m.posted()
	var in []*modelCall
	for _, c := range m.calls {
		if c.epoch < 0 && !c.returned() {
			in = append(in, c)
		}
	}
	m.q.Unhold()
	m.eventually("those kept out are in", func() bool {
		// each is accepted, or refused at once
		var least, most int64
		for _, c := range in {
			if !c.returned() {
				least += int64(c.size)
			} else if c.result.err != nil {
				most += int64(c.size)
				continue
			} else {
				least += int64(c.size)
			}
		}
		p := m.posted() - p0
		return p >= least && p <= least+most
	})
	for _, c := range in {
		c.epoch = m.epoch
	}
}

func (m *queueModel) output() []byte {
	m.k.mu.Lock()
	defer m.k.mu.Unlock()
	return append(slices.Clone(m.before), m.k.got...)
}

// parse checks that whole messages are there, and returns which, in order; rest is the part of a
// message at the end. A lazy message may be overtaken by others that came later.
func (m *queueModel) parse(out []byte) (ids []int, rest []byte) {
	last, lastLazy := -1, -1
	for len(out) >= 8 {
		id, size := int(binary.BigEndian.Uint32(out)), int(binary.BigEndian.Uint32(out[4:]))
		if id >= len(m.calls) || m.calls[id].size != size {
			m.t.Fatalf("no header of a message: id %d size %d", id, size)
		}
		if len(out) < size {
			break
		}
		if !bytes.Equal(out[:size], modelMessage(id, size)) {
			m.t.Fatalf("message %d is not whole", id)
		}
		switch c := m.calls[id]; {
		case c.lazy && c.epoch < max(0, lastLazy) || !c.lazy && c.epoch < max(0, last, lastLazy):
			m.t.Fatalf("message %d of epoch %d came behind one of %d, lazy %d", id, c.epoch, last, lastLazy)
		case c.lazy:
			lastLazy = c.epoch
		default:
			last = c.epoch
		}
		ids = append(ids, id)
		out = out[size:]
	}
	return ids, out
}

func (m *queueModel) check() {
	for _, c := range m.calls {
		if !c.returned() {
			continue
		}
		r := c.result
		switch {
		case r.n == int64(c.size): // the message is out, or will be
		case r.n != 0 && !m.failed || r.err == nil:
			m.t.Fatalf("%s %d of %d bytes: %d, %v", c.kind, c.id, c.size, r.n, r.err)
		}
		if c.kind != "writev" && r.err == nil || c.kind == "writev" && r.n == int64(c.size) {
			continue
		}
		e := r.err
		if !m.failed && !errors.Is(e, context.Canceled) && !isTimeout(e) && !errors.Is(e, ErrQueueFull) && !errors.Is(e, errMoved) {
			m.t.Fatalf("%s %d: %v", c.kind, c.id, e)
		}
		if isTimeout(e) && !m.failed && !c.single && (c.kind != "writev" || !errors.Is(e, ErrPaused) || !m.stood) ||
			errors.Is(e, ErrQueueFull) && !slices.Contains([]string{"post2", "post3", "post6"}, c.kind) {
			m.t.Fatalf("%s %d: %v", c.kind, c.id, e)
		}
		if errors.Is(e, context.Canceled) && !c.gone {
			m.t.Fatalf("%s %d: not cancelled, %v", c.kind, c.id, e)
		}
	}
	m.q.mu.Lock()
	sum := 0
	for _, s := range m.q.spares {
		sum += cap(s)
		if cap(s) > combineFull || cap(s) == 0 || len(s) != 0 {
			m.t.Fatalf("spare of %d with %d bytes", cap(s), len(s))
		}
	}
	if sum != m.q.spared || sum > m.q.limit {
		m.t.Fatalf("spares of %d, counted %d", sum, m.q.spared)
	}
	given, urgent, waits := 0, 0, int64(0)
	for _, s := range m.q.segs {
		if s.claim != nil {
			if s.claim.withdrawn {
				given++
			} else {
				waits += s.claim.size
			}
			if len(s.buf) > 0 {
				m.t.Fatalf("bytes in a claim")
			}
		}
		urgent += s.now
		waits += int64(len(s.buf))
	}
	aside := 0
	for _, s := range m.q.lazy {
		aside += len(s.buf)
	}
	if !m.failed && (aside != m.q.aside || aside > m.aside+3*combineFull+5) {
		m.t.Fatalf("%d bytes aside, counted %d, limit %d", aside, m.q.aside, m.aside)
	}
	if given != m.q.given {
		m.t.Fatalf("%d places given up, %d counted", given, m.q.given)
	}
	if !m.failed && (m.q.now < urgent || m.q.posted-m.q.sent < waits) {
		m.t.Fatalf("urgent %d of %d, sent %d of %d, %d wait", urgent, m.q.now, m.q.sent, m.q.posted, waits)
	}
	m.q.mu.Unlock()
	out := m.output()
	ids, _ := m.parse(out)
	for _, id := range ids {
		if c := m.calls[id]; c.returned() && c.result.n == 0 {
			m.t.Fatalf("%s %d went out: %v", c.kind, id, c.result.err)
		}
	}
	m.flushes = slices.DeleteFunc(m.flushes, func(f *modelFlush) bool {
		select {
		case err := <-f.done:
			if err != nil {
				if !m.failed && !errors.Is(err, errMoved) {
					m.t.Fatalf("flush: %v", err)
				}
				return true
			}
			ids, _ := m.parse(m.output())
			for _, c := range m.calls[:f.upTo] {
				if c.epoch >= 0 && c.returned() && c.result.n == int64(c.size) && !slices.Contains(ids, c.id) {
					m.t.Fatalf("flushed, but %s %d is not out", c.kind, c.id)
				}
			}
			return true
		default:
			return false
		}
	})
}

var errMoved = errors.New("moved")

// Whole messages go out, in the order of their acceptance, exactly those whose callers have been
// told so, however the queue is held, moved and cut off and calls are withdrawn meanwhile.
func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &queueModel{t: t,
			slow:    rapid.Bool().Draw(t, "slow"),
			limit:   rapid.SampledFrom([]int{1, 1000, 200_000, 1 << 20}).Draw(t, "limit"),
			aside:   rapid.SampledFrom([]int{1, 50_000, 1 << 30}).Draw(t, "aside"),
			portion: rapid.SampledFrom([]int{7, 5000, 1 << 20}).Draw(t, "portion"),
		}
		m.fresh()
		defer m.end()
		sizes := rapid.OneOf(rapid.IntRange(8, 40), rapid.IntRange(200, 5000), rapid.IntRange(60_000, 90_000),
			rapid.IntRange(combineMax-3, combineMax+3), rapid.SampledFrom([]int{joinMax, joinMax + 1, 3*combineFull + 5}))
		if m.portion == 7 {
			sizes = rapid.OneOf(rapid.IntRange(8, 40), rapid.IntRange(combineMax-3, combineMax+3))
		}
		limit, stop := context.WithTimeout(context.Background(), 30*time.Second)
		defer stop()
		t.Repeat(map[string]func(*rapid.T){
			"post": func(t *rapid.T) {
				if len(m.calls) > 60 || m.failed {
					t.Skip("enough calls, or the stream has failed")
				}
				modes := []queue.How{0, 0, queue.More, queue.Now, queue.Now | queue.More,
					queue.Lazily, queue.Lazily | queue.More, queue.Lazily | queue.Now}
				mode := rapid.SampledFrom(modes).Draw(t, "mode")
				if m.held && m.aside < 1<<30 {
					mode &^= queue.Lazily // or some would wait for room when the Hold ends
				}
				m.start(true, mode, sizes.Draw(t, "size"),
					!m.held && rapid.IntRange(0, 5).Draw(t, "single") == 0, []int{rapid.SampledFrom([]int{0, 5, 8, 1 << 30}).Draw(t, "head")})
			},
			"writev": func(t *rapid.T) {
				if len(m.calls) > 60 || m.failed {
					t.Skip("enough calls, or the stream has failed")
				}
				m.start(false, 0, sizes.Draw(t, "size"), !m.held && rapid.IntRange(0, 5).Draw(t, "single") == 0,
					rapid.SliceOfN(rapid.IntRange(0, 70_000), 0, 20).Draw(t, "split"))
			},
			"cancel": func(t *rapid.T) {
				open := m.open()
				if len(open) == 0 {
					t.Skip("no call waits")
				}
				c := rapid.SampledFrom(open).Draw(t, "call")
				if c.single {
					t.Skip("a single try waits for nothing")
				}
				c.gone = true
				c.cancel()
				m.eventually("a cancelled call returns", c.returned)
			},
			"cancel many": func(t *rapid.T) {
				for _, c := range m.open() {
					if !c.single && rapid.Bool().Draw(t, "too") {
						c.gone = true
						c.cancel()
						m.eventually("a cancelled call returns", c.returned)
					}
				}
			},
			"grant": func(t *rapid.T) {
				n := rapid.OneOf(rapid.IntRange(1, 50), rapid.IntRange(1, 300_000)).Draw(t, "bytes")
				if m.portion == 7 {
					n = min(n, 5000)
				}
				m.k.set(func() { m.k.room += n })
				if rapid.Bool().Draw(t, "wait") && !m.held && !m.staged && !m.failed {
					m.eventually("taken", func() bool {
						m.k.mu.Lock()
						room := m.k.room
						m.k.mu.Unlock()
						b, _ := m.q.Buffered()
						return room == 0 || b == 0
					})
				}
			},
			"hold": func(t *rapid.T) {
				if m.held || m.failed {
					t.Skip("held already, or failed")
				}
				if m.staged {
					t.Skip("nothing goes out as it is")
				}
				m.stood = true
				if err := m.q.Hold(limit); err != nil {
					t.Fatalf("hold: %v", err)
				}
				m.held = true
			},
			"hold given up": func(t *rapid.T) {
				if m.held || m.failed || m.staged {
					t.Skip("held already, or failed")
				}
				m.stood = true
				ctx, cancel := context.WithCancel(limit)
				time.AfterFunc(time.Duration(rapid.IntRange(0, 20).Draw(t, "us"))*time.Microsecond, cancel)
				if m.q.Hold(ctx) == nil {
					m.q.Unhold()
				}
				cancel()
			},
			"unhold": func(t *rapid.T) {
				if !m.held && !m.staged {
					t.Skip("not held")
				}
				m.unhold()
			},
			"move": func(t *rapid.T) {
				if !m.held {
					t.Skip("not held")
				}
				held := m.q.Held()
				m.q.End(errMoved)
				for _, c := range m.calls {
					m.eventually("End reaches all", c.returned)
				}
				m.before, m.moved = m.output(), len(m.calls)
				m.fresh()
				m.held, m.staged = false, true
				if err := m.q.Stage(limit, held); err != nil {
					t.Fatalf("stage: %v", err)
				}
			},
			"flush": func(t *rapid.T) {
				if len(m.flushes) > 5 {
					t.Skip("enough of them wait")
				}
				f := &modelFlush{upTo: len(m.calls), done: make(chan error, 1)}
				q := m.q
				for _, c := range m.calls {
					if c.epoch < 0 && !c.returned() {
						t.Skip("a call is kept out by the Hold")
					}
				}
				go func() { f.done <- q.Flush(limit) }()
				m.flushes = append(m.flushes, f)
			},
			"trim": func(*rapid.T) { m.q.Trim() },
			"fail": func(t *rapid.T) {
				if rapid.IntRange(0, 15).Draw(t, "really") > 0 || m.failed || m.held || m.staged {
					t.Skip("rarely, and once")
				}
				m.failed = true
				m.k.set(func() { m.k.failure = errFull })
			},
			"": func(*rapid.T) { m.check() },
		})
		// The end: all of it goes out.
		if m.held || m.staged {
			m.unhold()
		}
		m.k.set(func() { m.k.room = 1 << 30 })
		if m.failed { // a write has to run into the failure
			_ = m.q.Post(limit, []byte("x"), nil, 0)
		}
		for _, c := range m.calls {
			m.eventually(fmt.Sprintf("%s %d returns at last", c.kind, c.id), c.returned)
		}
		if !m.failed {
			if err := m.q.Flush(limit); err != nil {
				t.Fatalf("flush at last: %v", err)
			}
			m.eventually("nobody writes", func() bool { m.q.mu.Lock(); defer m.q.mu.Unlock(); return !m.q.writing })
		} else {
			m.eventually("it has failed", func() bool { m.q.mu.Lock(); defer m.q.mu.Unlock(); return m.q.err != nil })
		}
		m.check()
		ids, rest := m.parse(m.output())
		if m.failed {
			// A prefix of all bytes is out; each Deliver returns how many of its own are.
			for _, c := range m.calls[m.moved:] {
				out := int64(0)
				switch {
				case slices.Contains(ids, c.id):
					out = int64(c.size)
				case len(rest) >= 8 && int(binary.BigEndian.Uint32(rest)) == c.id:
					out = int64(len(rest))
				}
				if c.kind == "writev" && c.result.err == nil && out != int64(c.size) {
					t.Fatalf("writev %d: %d out of %d, and success", c.id, out, c.size)
				}
				if c.kind == "writev" && errors.Is(c.result.err, errFull) && c.result.n != out && len(rest) >= 8 {
					t.Fatalf("writev %d: %d out of %d, and %v", c.id, out, c.size, *c.result)
				}
			}
			return
		}
		if len(rest) > 0 {
			t.Fatalf("%d bytes of no message", len(rest))
		}
		var want []int
		for _, c := range m.calls {
			if c.result.n == int64(c.size) {
				want = append(want, c.id)
			}
		}
		slices.Sort(ids)
		if !slices.Equal(ids, want) {
			t.Fatalf("out %v, told %v", ids, want)
		}
		m.eventually("nobody waits", func() bool { m.q.mu.Lock(); defer m.q.mu.Unlock(); return len(m.q.awaited) == 0 })
		m.q.mu.Lock()
		defer m.q.mu.Unlock()
		if q := m.q; q.now != 0 || q.given != 0 || q.sent != q.posted || len(q.segs) != 0 || q.aside != 0 || len(q.lazy) != 0 || q.following {
			t.Fatalf("left: urgent %d given %d sent %d of %d, aside %d", q.now, q.given, q.sent, q.posted, q.aside)
		}
	})
}
