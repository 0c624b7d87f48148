package gate

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// What another process needs to go on. Descriptors come in the order of what has them.
type (
	gateState struct {
		Doors    []doorState
		Sessions []sessionState
		Known    map[string][]string // atoms by name
		Funs     map[string][]string
		Counts   [3]int64
		Rules    []Rule
		Hits     []int64 // of decisions, by rule; the last one: no rule
		Tried    map[string]struct{}
		Since    time.Time
		Unread   bool // Config.Unfiltered
	}
	doorState struct {
		Node        Node
		Side        int
		From        [2]string // Listen and PortMapper of those who want it
		Keeper      []byte
		Descriptors int // of the keeper
	}
	sessionState struct {
		Names           [2]string
		FromInside      bool
		Flags           dist.Flags
		Since           time.Time
		Passed, Refused int64
		Ends            [2]endState
		Refs            map[ei.Ref]ei.Pid // waits, in place of Ties: of a gate that knows no other ties
		Asked           map[ei.Ref]ei.Pid
		Talked          map[ei.Pid]bool
		Ties            *ties
	}
	endState struct {
		Unix          bool
		Socket, Ahead []byte
		In, Out       []byte
		Open          []openState
	}
	openState struct {
		Sequence, Next uint64
		Discarded      bool
		Begun          bool
		Control        []byte
		Payload        []byte
	}
)

// what names the state of a gate for handoff.Terms.
const what = "cnode-gate"

// Give hands everything to the process at the other end of the channel, which calls Take:
// listeners, names at port mappers, and the sockets of all connections. A handshake in which the
// gate has spoken has 3 seconds to come to its end, and is broken off then. Of those before, in TLS
// say, none is: Give returns when they have come so far, which takes no longer than net_setuptime,
// and have gone to the other process, too. If Handed.Moved, the gate is closed here; else it goes
// on. The channel is closed. The error is a *handoff.Error.
func (g *Gate) Give(ctx context.Context, ch *handoff.Channel) (handoff.Handed, error) {
	offer := handoff.Offer{
		Terms: handoff.Terms{What: what},
		Count: func() int {
			g.mu.Lock()
			defer g.mu.Unlock()
			return 4*len(g.doors) + 2*len(g.sessions)
		},
		Freeze: g.freeze,
	}
	h, err := offer.Give(ctx, ch)
	if h.Moved {
		g.giveStrays(ctx, ch)
		g.end()
		g.wait()
	}
	return h, errors.Join(err, ch.Close())
}

// Take makes a gate that goes on with what another process gives. cfg and opts are the new ones:
// rules and limits hold from now on, for connections that are there as well; listeners are as cfg
// has them, and connections that cfg would not let come end, as all do where Config.Unfiltered is
// another. A side cannot change between TCP and TLS. The channel is the gate's from now on. The
// error is a *handoff.Error, or one of New; the other process then goes on, and hears of it.
func Take(ctx context.Context, ch *handoff.Channel, cfg *Config, opts *Options) (*Gate, error) {
	g, err := New(cfg, opts)
	if err != nil {
		return nil, Refuse(ctx, ch, err)
	}
	accept := handoff.Acceptance{
		Terms: handoff.Terms{What: what, Plugins: []string{g.trs[0].Name(), g.trs[1].Name()}},
		Stage: g.stage,
	}
	taken, err := accept.Take(ctx, ch)
	if !taken.Owns {
		g.end()
		return nil, errors.Join(err, ch.Close())
	}
	if err != nil {
		g.log.Error("started in part", "error", err)
	}
	g.arrivals.Go(func() { g.takeStrays(ch) })
	return g, nil
}

// Refuse is Take for a process that cannot go on as the gate: for want of a Config, say. The error
// is why, which is that of Give in the other process, too.
func Refuse(ctx context.Context, ch *handoff.Channel, why error) error {
	no := handoff.Acceptance{
		Terms:   handoff.Terms{What: what},
		Prepare: func(context.Context, []byte) error { return why },
		Stage:   func(context.Context, []byte, []int) (handoff.Staged, error) { return nil, why },
	}
	if _, err := no.Take(ctx, ch); !errors.Is(err, why) {
		why = errors.Join(why, err)
	}
	return errors.Join(why, ch.Close())
}

// A frozen gate stands still.
type frozen struct {
	g           *Gate
	state       []byte
	descriptors []int
	doors       []*door
	keepers     []handoff.Frozen
	sessions    []*session
}

func (f *frozen) State() []byte      { return f.state }
func (f *frozen) Descriptors() []int { return f.descriptors }

// handshakeGrace is what handshakes have to come to their end in which the gate has spoken: nobody
// can go on with them elsewhere.
const handshakeGrace = 3 * time.Second

func (g *Gate) freeze(ctx context.Context) (_ handoff.Frozen, err error) {
	f := &frozen{g: g}
	defer func() {
		if err != nil {
			f.Thaw()
		}
	}()
	st := gateState{Known: map[string][]string{}, Funs: map[string][]string{}, Unread: g.cfg.Unfiltered, Rules: g.cfg.Rules}
	g.mu.Lock()
	doors := slices.Clone(g.doors)
	g.mu.Unlock()
	if err := f.freezeDoors(ctx, doors, &st); err != nil {
		return nil, err
	}
	if err := g.settle(ctx); err != nil {
		return nil, err
	}
	g.mu.Lock()
	sessions := slices.Collect(maps.Keys(g.sessions))
	known := maps.Clone(g.known)
	st.Tried, st.Since = maps.Clone(g.tried), g.since
	g.mu.Unlock()
	for _, x := range sessions {
		x.moving.Store(true)
		f.sessions = append(f.sessions, x)
		s, fds, err := x.freeze(ctx)
		if err != nil { // it cannot be told how far it is
			x.close(err)
			return nil, fmt.Errorf("%s, %s: %w", x.names[0], x.names[1], err)
		}
		if s != nil {
			st.Sessions = append(st.Sessions, *s)
			f.descriptors = append(f.descriptors, fds[:]...)
		}
	}
	g.tellCounts(&st)
	for name, k := range known {
		st.Known[name], st.Funs[name] = k.admitted(keptAtoms), k.admitted(keptFuns)
	}
	var b bytes.Buffer
	err = gob.NewEncoder(&b).Encode(st)
	f.state = b.Bytes()
	return f, err
}

func (f *frozen) freezeDoors(ctx context.Context, doors []*door, st *gateState) error {
	for _, d := range doors {
		if err := d.listener.Pause(ctx); err != nil {
			return err
		}
		f.doors = append(f.doors, d)
		d.serving.Wait() // all that has been accepted is an arrival
		s := doorState{Node: d.node, Side: d.side, From: f.g.wants(d.side)}
		fd, err := d.listener.Descriptor()
		if err != nil {
			return err
		}
		f.descriptors = append(f.descriptors, fd)
		if d.keeper != nil {
			k, err := d.keeper.Freeze(ctx)
			if err != nil {
				return err
			}
			f.keepers = append(f.keepers, k)
			s.Keeper, s.Descriptors = k.State(), len(k.Descriptors())
			f.descriptors = append(f.descriptors, k.Descriptors()...)
		}
		st.Doors = append(st.Doors, s)
	}
	return nil
}

// settle lets no handshake speak any more, and waits for those that have; it breaks off those that
// take too long.
func (g *Gate) settle(ctx context.Context) error {
	g.mu.Lock()
	cut := g.cut
	g.stays = make(chan struct{})
	g.mu.Unlock()
	defer time.AfterFunc(handshakeGrace, cut).Stop()
	for {
		g.mu.Lock()
		n := g.shaking
		g.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d handshakes are in progress: %w", n, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

// freeze stops a session between two reads, and gives what goes on elsewhere; nil: it has ended.
func (x *session) freeze(ctx context.Context) (_ *sessionState, fds [2]int, err error) {
	for _, e := range x.ends {
		if err := e.s.PauseRead(ctx); err != nil && !x.ended() {
			return nil, fds, err
		}
	}
	held := [2][]byte{}
	for i, e := range x.ends {
		if err := e.q.Hold(ctx); err != nil && !x.ended() {
			return nil, fds, err
		}
		held[i] = e.q.Held()
		e.q.End(transport.ErrPaused)
	}
	x.pumps.Wait()
	if x.ended() {
		return nil, fds, nil
	}
	x.filter.mu.Lock()
	defer x.filter.mu.Unlock()
	s := &sessionState{
		Names: x.names, FromInside: x.fromInside, Flags: x.flags, Since: x.since, Passed: x.passed.Load(), Refused: x.refused.Load(),
		Asked: x.filter.asked, Talked: x.filter.talked, Ties: &x.filter.ties,
	}
	for i, e := range x.ends {
		e.unsent = append(held[i], e.unsent...)
		t := &s.Ends[i]
		if t.Socket, t.Ahead, err = e.s.Export(); err != nil {
			return nil, fds, err
		}
		_, t.Unix = e.s.LocalAddr().(transport.UnixAddr)
		t.In, t.Out = e.buf[:e.ahead], e.unsent
		for m := range e.reader.Incomplete() {
			o := openState{Sequence: m.Sequence, Next: m.Next, Discarded: m.Discarded, Begun: e.begun[m.Sequence], Payload: m.Payload}
			if !m.Discarded {
				if o.Control, err = protocol.AppendControl(nil, &m.Control); err != nil {
					return nil, fds, err
				}
			}
			t.Open = append(t.Open, o)
		}
		if fds[i], err = e.s.Descriptor(); err != nil {
			return nil, fds, err
		}
	}
	return s, fds, nil
}

func (x *session) ended() bool {
	x.g.mu.Lock()
	defer x.g.mu.Unlock()
	_, there := x.g.sessions[x]
	return !there
}

// Thaw lets everything go on here.
func (f *frozen) Thaw() {
	for _, k := range f.keepers {
		k.Thaw()
	}
	f.g.mu.Lock()
	f.g.cut()
	f.g.hurry, f.g.cut = context.WithCancel(f.g.ctx)
	if f.g.stays != nil {
		close(f.g.stays)
		f.g.stays = nil
	}
	f.g.mu.Unlock()
	for _, d := range f.doors {
		d.listener.Resume()
		d.serving.Go(d.serve)
	}
	for _, x := range f.sessions {
		if x.ended() {
			continue
		}
		x.pumps.Wait()
		for _, e := range x.ends {
			e.s.Resume()
			e.q.Unhold() // lets the stream be written to; the queue has ended
			out := e.unsent
			e.q, e.paused, e.unsent = e.s.Posts(nil), false, nil
			if err := resend(e, out); err != nil {
				x.close(err)
			}
		}
		x.moving.Store(false)
		x.start()
	}
}

// resend puts what is still to be written before all else.
func resend(e *end, out []byte) error {
	if len(out) == 0 {
		return nil
	}
	if err := e.q.Stage(context.Background(), out); err != nil {
		return err
	}
	e.q.Unhold()
	return nil
}

// Release gives up everything here, without a word to any node.
func (f *frozen) Release() error {
	var err error
	for _, k := range f.keepers {
		err = errors.Join(err, k.Release())
	}
	for _, d := range f.doors {
		err = errors.Join(err, d.listener.Release())
	}
	for _, x := range f.sessions {
		for _, e := range x.ends {
			err = errors.Join(err, e.s.Release())
		}
	}
	f.g.mu.Lock()
	f.g.doors, f.g.sessions = nil, map[*session]struct{}{}
	f.g.mu.Unlock()
	return err
}

// A staged gate is ready to go on.
type staged struct {
	g       *Gate
	doors   []*door
	from    [][2]string          // of doors, as the configuration before had it
	keepers []*epmd.StagedKeeper // nil where a door has none
	x       []*session
	unread  bool // what the configuration before said
}

func (g *Gate) stage(ctx context.Context, state []byte, fds []int) (_ handoff.Staged, err error) {
	s := &staged{g: g}
	next := 0
	defer func() {
		if err != nil {
			closeAll(fds[next:])
			err = errors.Join(err, s.Discard())
		}
	}()
	var st gateState
	if err := gob.NewDecoder(bytes.NewReader(state)).Decode(&st); err != nil {
		return nil, err
	}
	for name, atoms := range st.Known {
		k := newAcquaintance()
		g.kept[keptAtoms].restore(&k.brought[keptAtoms], atoms)
		g.kept[keptFuns].restore(&k.brought[keptFuns], st.Funs[name])
		g.known[name] = k
	}
	if st.Tried != nil {
		g.tried, g.since = st.Tried, st.Since
	}
	s.unread = st.Unread
	g.goOnCounting(&st)
	if next, err = s.stageDoors(st.Doors, fds); err != nil {
		return nil, err
	}
	for _, t := range st.Sessions {
		x := &session{g: g, names: t.Names, fromInside: t.FromInside, moved: true, flags: t.Flags, since: t.Since}
		x.passed.Store(t.Passed)
		x.refused.Store(t.Refused)
		if x.known = g.known[t.Names[outside]]; x.known == nil {
			return nil, fmt.Errorf("%s is not among the names", t.Names[outside])
		}
		s.x = append(s.x, x)
		for i := range t.Ends {
			if next >= len(fds) {
				return nil, fmt.Errorf("%d descriptors are too few", len(fds))
			}
			end := &t.Ends[i]
			stream, err := g.importStream(i, end.Unix, fds[next], end.Socket)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.Names[i], err)
			}
			next++
			x.ends[i] = newEnd(stream)
			if err := x.stageEnd(ctx, x.ends[i], end); err != nil {
				return nil, fmt.Errorf("%s: %w", t.Names[i], err)
			}
		}
		x.filter = x.newFilter()
		x.filter.asked, x.filter.talked = t.Asked, t.Talked
		if t.Ties != nil {
			x.filter.ties = *t.Ties
			continue
		}
		x.filter.Partial = true
		for ref, who := range t.Refs {
			remember(&x.filter.Waits, ref, wait{Who: who})
		}
	}
	return s, nil
}

// stageDoors gives how many of the descriptors it has taken.
func (s *staged) stageDoors(doors []doorState, fds []int) (next int, err error) {
	for _, t := range doors {
		if next+1+t.Descriptors > len(fds) {
			return next, fmt.Errorf("%d descriptors are too few", len(fds))
		}
		d := &door{g: s.g, node: t.Node, side: t.Side}
		if d.listener, err = s.g.importListener(d, fds[next]); err != nil {
			return next, err
		}
		next++
		s.doors, s.from = append(s.doors, d), append(s.from, t.From)
		var k *epmd.StagedKeeper
		if t.Keeper != nil {
			its := fds[next : next+t.Descriptors]
			next += t.Descriptors
			if k, err = (&epmd.Client{Addr: t.From[1]}).Stage(t.Keeper, its, nil); err != nil {
				return next, err
			}
		}
		s.keepers = append(s.keepers, k)
	}
	return next, nil
}

func (g *Gate) tellCounts(st *gateState) {
	st.Counts = [3]int64{g.passed.Load(), g.refused.Load(), g.failed.Load()}
	for i := range g.hits {
		st.Hits = append(st.Hits, g.hits[i].Load())
	}
}

// goOnCounting takes over what was counted; of a rule, if it is the same now.
func (g *Gate) goOnCounting(st *gateState) {
	g.passed.Store(st.Counts[0])
	g.refused.Store(st.Counts[1])
	g.failed.Store(st.Counts[2])
	for i, n := range st.Hits {
		switch {
		case i == len(st.Rules):
			g.hits[len(g.hits)-1].Store(n)
		case i < len(g.cfg.Rules) && g.cfg.Rules[i] == st.Rules[i]:
			g.hits[i].Store(n)
		}
	}
}

func (g *Gate) importListener(d *door, fd int) (*transport.Listener, error) {
	if d.node.Path != "" {
		return transport.Unix().ImportListener(fd)
	}
	return g.trs[1-d.side].ImportListener(fd)
}

func (g *Gate) importStream(side int, unix bool, fd int, state []byte) (*transport.Stream, error) {
	if unix {
		return transport.Unix().Import(fd, state)
	}
	return g.trs[side].Import(fd, state)
}

func (x *session) stageEnd(ctx context.Context, e *end, t *endState) error {
	if len(t.Ahead) > 0 {
		if err := e.s.Preload(t.Ahead); err != nil {
			return err
		}
	}
	if len(t.In) > len(e.buf) {
		e.buf = make([]byte, len(t.In)+startBuffer)
	}
	e.ahead = copy(e.buf, t.In)
	e.reader = e.newReader(x)
	var open []protocol.Incomplete
	for _, o := range t.Open {
		if o.Begun {
			e.begun[o.Sequence] = true
		}
		m := protocol.Incomplete{Sequence: o.Sequence, Next: o.Next, Discarded: o.Discarded, Payload: o.Payload}
		if !o.Discarded {
			c := ei.NewCursor(o.Control)
			if err := protocol.ParseControl(&c, &m.Control); err != nil {
				return err
			}
		}
		open = append(open, m)
	}
	if err := e.reader.Restore(func(func(int, ei.Atom) bool) {}, slices.Values(open)); err != nil {
		return err
	}
	if e.staged = len(t.Out) > 0; e.staged {
		return e.q.Stage(ctx, t.Out)
	}
	return nil
}

// stays tells whether a connection could come as the configuration is now.
func (s *staged) stays(x *session) bool {
	in, out := &s.g.cfg.Inside, &s.g.cfg.Outside
	switch {
	case s.unread != s.g.cfg.Unfiltered:
		return false
	case x.fromInside:
		return out.has(x.names[outside]) && (len(in.Names) == 0 || in.admits(x.names[inside]))
	}
	return out.admits(x.names[outside]) && !in.has(x.names[outside]) && in.has(x.names[inside])
}

// key tells which doors are the same.
func (g *Gate) key(side int, n Node, from [2]string) string { return fmt.Sprint(side, n, from) }

// wants gives where those who want nodes of a side find them.
func (g *Gate) wants(side int) [2]string {
	near := g.cfg.sides()[1-side]
	return [2]string{near.Listen, near.PortMapper}
}

// Start lets everything go on in this process. Nodes that the configuration no longer has lose
// their listeners and connections, and new ones get theirs.
func (s *staged) Start(ctx context.Context) error {
	g := s.g
	wanted := map[string]bool{}
	for side, cfg := range g.cfg.sides() {
		for _, n := range cfg.Nodes {
			wanted[g.key(side, n, g.wants(side))] = true
		}
	}
	g.work.Go(g.watch)
	var err error
	for i, d := range s.doors {
		if k := s.keepers[i]; k != nil {
			d.keeper = k.Start()
		}
		if key := g.key(d.side, d.node, s.from[i]); wanted[key] {
			delete(wanted, key)
			g.add(d)
			continue
		}
		err = errors.Join(err, d.listener.Close())
		if d.keeper != nil {
			err = errors.Join(err, d.keeper.Close())
		}
	}
	for side, cfg := range g.cfg.sides() {
		for _, n := range cfg.Nodes {
			if wanted[g.key(side, n, g.wants(side))] {
				err = errors.Join(err, g.open(ctx, side, n))
			}
		}
	}
	for _, x := range s.x {
		if !s.stays(x) {
			x.close(errors.New("the new configuration would not let it come"))
			continue
		}
		for _, e := range x.ends {
			if e.staged {
				e.q.Unhold()
			}
		}
		g.run(x)
	}
	g.log.Info("goes on in place of another process", "connections", g.Stats().Sessions)
	return err
}

// Discard gives up what was staged; the other process has it still.
func (s *staged) Discard() error {
	var err error
	for _, k := range s.keepers {
		if k != nil {
			err = errors.Join(err, k.Discard())
		}
	}
	for _, d := range s.doors {
		err = errors.Join(err, d.listener.Release())
	}
	for _, x := range s.x {
		for _, e := range x.ends {
			if e != nil {
				err = errors.Join(err, e.s.Release())
			}
		}
	}
	return err
}
