package nodes

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/transport"
)

// A FrozenConn is a connection that stands still between two bytes. It is this process's until Release, and goes on as if nothing had
// happened after Thaw. One of the two must be called.
type FrozenConn struct {
	c     *Conn
	state []byte
	fd    int
	over  atomic.Bool
}

// Freeze stops the connection, to hand it to another process. Who sends or receives waits until Thaw, and gets ErrMoved after Release. It
// waits for
//
//   - the message that is being handled: two seconds at the most, else the error is context.DeadlineExceeded;
//   - the functions that run for the peer, or wait for a place of Config.MaxCalls, and the requests that it has made of a Server, read or
//     not: Config.DrainTimeout at the most, else the error is ErrDraining and says how many have no answer yet;
//   - writes in progress, and what ending processes have to tell the peer: two seconds at the most, else context.DeadlineExceeded.
//
// While functions and requests are awaited the connection is read by turns, as in Node.Freeze, for they may wait for the peer. A function
// or a Server.Call that freezes the connection of its own caller waits in vain. A Call whose reply is left for later (NoReply, CallOf) is
// the program's own affair: its Reply is ErrMoved after Release. A plug-in without Import is a *NotMovableError, before anything has
// changed; while another Freeze goes on the error is handoff.ErrBusy. After an error everything goes on.
func (c *Conn) Freeze(ctx context.Context) (*FrozenConn, error) {
	f, err := c.freeze(ctx)
	return f, wrap("freeze connection to", c.peer.Name, err)
}

func (c *Conn) freeze(ctx context.Context) (*FrozenConn, error) {
	if err := c.Err(); err != nil {
		return nil, err
	}
	if c.n.part != nil {
		return nil, errWorkers
	}
	if err := c.movable(); err != nil {
		return nil, err
	}
	fd, err := c.s.Descriptor()
	if err != nil {
		return nil, err
	}
	if err := c.quiet(ctx); err != nil {
		return nil, err
	}
	resting, cancel := context.WithTimeout(ctx, freezeBudget)
	defer cancel()
	for {
		if err := c.rest(resting, c.n.procs.barrier); err != nil {
			c.letReader()
			return nil, err
		}
		f := &FrozenConn{c: c, fd: fd}
		s, err := c.snapshot()
		if err == nil {
			s.bonds = c.n.bondsWith(c.peer.Name)
			f.state, err = writeState(kindConn, s)
		}
		if err != nil {
			f.Thaw()
			return nil, err
		}
		if c.exits.running.Load() == 0 {
			return f, nil
		}
		c.wake() // a process that is not described any more has yet to tell the peer
		if err := c.exits.wait(resting); err != nil {
			c.letReader()
			return nil, err
		}
	}
}

// quiet halts the reader where functions and servers have answered what has come over the connection.
func (c *Conn) quiet(ctx context.Context) error {
	draining, cancel := context.WithTimeout(ctx, c.n.cfg.DrainTimeout)
	defer cancel()
	_, err := byTurns(draining, c.answered, func(int) (func(), error) {
		halting, cancel := context.WithTimeout(ctx, freezeBudget)
		defer cancel()
		return c.letReader, c.haltReader(halting)
	})
	if owed := c.works.running.Load(); owed > 0 && draining.Err() != nil {
		return fmt.Errorf("%w: %d owe the peer an answer: %w", ErrDraining, owed, draining.Err())
	}
	return err
}

// barrier waits for everybody who is changing a process.
func (p *processes) barrier() {
	for _, b := range p.all() {
		b.pause()
	}
}

// pause waits for who holds the mailbox.
func (b *Mailbox) pause() {
	b.mu.Lock()
	defer b.mu.Unlock()
}

// snapshot describes a frozen connection.
func (c *Conn) snapshot() (*connState, error) {
	export, ahead, err := c.s.Export()
	if err != nil {
		return nil, err
	}
	name, creation, err := c.n.identity()
	if err != nil {
		return nil, err
	}
	rest, err := c.appendPartings(c.q.Held())
	if err != nil {
		return nil, err
	}
	s := &connState{
		plugin: c.tr.Name(), export: export, self: string(name), selfCreation: creation, peer: c.peer, initiated: c.initiated, pid: c.self,
		ahead: ahead, rest: rest,
		clock:    []clockState{c.ticks.state(c)},
		received: c.received.Load(), messages: c.messages.Load(), sent: c.sentCount.Load(),
		made: c.made,
	}
	s.part, s.shadow = c.part, c.shadow
	for l := range c.crossed.links {
		s.links = append(s.links, crossingState(l))
	}
	for ref, m := range c.crossed.monitors {
		s.monitors = append(s.monitors, crossMonitorState{ref, m})
	}
	if c.stake != nil {
		s.staked, s.stake = true, c.stake.name
	}
	for _, m := range c.rd.unread.messages {
		s.unread = append(s.unread, m.state())
	}
	return s, nil
}

// State is what another process needs, beside the descriptor, to go on with the connection: see Node.Stage.
func (f *FrozenConn) State() []byte { return f.state }

// Descriptor is the connection's; it stays the connection's: pass it on before Thaw or Release.
func (f *FrozenConn) Descriptor() int { return f.fd }

// Thaw lets the connection go on here.
func (f *FrozenConn) Thaw() {
	if f.over.CompareAndSwap(false, true) {
		f.c.wake()
		f.c.letReader()
	}
}

// Release ends the connection in this process, without a byte to the peer: the other process has it. Links and monitors with the peer's
// processes are gone from the processes here, without a signal.
func (f *FrozenConn) Release() error {
	if !f.over.CompareAndSwap(false, true) {
		return nil
	}
	return f.c.giveUp(true)
}

// A Moved is a connection on its way: it belongs to whoever holds it. Node.Adopt takes it, Close ends it.
type Moved struct {
	State []byte // as FrozenConn.State
	FD    int    // the connection's descriptor, owned
}

// Close closes the descriptor: where it was the last one the peer sees the end of the connection.
func (m *Moved) Close() error { return closeDescriptor(m.FD) }

// Detach takes the connection from its node without a byte to the peer. Errors are those of Freeze, after which the connection goes on.
func (c *Conn) Detach(ctx context.Context) (*Moved, error) {
	f, err := c.freeze(ctx)
	if err != nil {
		return nil, wrap("detach connection to", c.peer.Name, err)
	}
	fd, err := duplicate(f.fd)
	if err != nil {
		f.Thaw()
		return nil, wrap("detach connection to", c.peer.Name, err)
	}
	if err := f.Release(); err != nil { // which the other process need not care about
		c.n.log.Warn("releasing a connection", "peer", c.peer.Name, "error", err)
	}
	return &Moved{f.state, fd}, nil
}

// A StagedConn is a connection that another process has frozen, ready to go on in this one. Nothing has been read, written or said to it.
// Start or Discard must be called.
type StagedConn struct {
	c     *Conn
	bonds []bonds
	over  atomic.Bool
}

// ErrOtherNode: the state is that of a connection of another node, or of another life of it.
var ErrOtherNode = errors.New("the state belongs to another node")

// ErrNoPlugin: no transport of this node has the name of the plug-in that the state was made with; Config.Transports.
var ErrNoPlugin = errors.New("no such plug-in here")

// Stage makes a connection of what another process has of it. The node must have the name and the creation of the one that it comes from,
// and another Config.Worker. fd is owned on success only. A *StateError tells what is wrong with a state.
func (n *Node) Stage(state []byte, fd int) (*StagedConn, error) {
	var s connState
	if err := readState(kindConn, state, &s); err != nil {
		return nil, wrap("stage", "", err)
	}
	name, creation, err := n.identity()
	switch {
	case err != nil:
	case string(name) != s.self || creation != s.selfCreation:
		err = fmt.Errorf("%w: %s, creation %d, and this is %s, creation %d", ErrOtherNode, s.self, s.selfCreation, name, creation)
	default:
		if old := n.Conn(s.peer.Name); old != nil && !old.outdated(s.made) {
			err = ErrConnected
		}
	}
	if err != nil {
		return nil, wrap("stage connection to", s.peer.Name, err)
	}
	c, err := n.stage(&s, fd)
	if err != nil {
		return nil, wrap("stage connection to", s.peer.Name, err)
	}
	return &StagedConn{c: c, bonds: s.bonds}, nil
}

// stage makes a frozen connection of a state and a descriptor, which stays the caller's on failure.
func (n *Node) stage(s *connState, fd int) (*Conn, error) {
	own, err := duplicate(fd)
	if err != nil {
		return nil, err
	}
	c, err := n.stageOwn(s, own)
	if err == nil {
		_ = closeDescriptor(fd)
	}
	return c, err
}

// stageOwn is stage with a descriptor that is its own, on failure too.
func (n *Node) stageOwn(s *connState, fd int) (*Conn, error) {
	tr, err := n.carrier(s.plugin)
	var stream *transport.Stream
	if err == nil {
		stream, err = tr.Import(fd, s.export)
	}
	if err != nil {
		return nil, errors.Join(err, closeDescriptor(fd))
	}
	ctx, cancel := context.WithTimeout(n.ctx, freezeBudget)
	defer cancel()
	c := newConn(n, tr, stream, s.peer, s.initiated)
	c.self, c.made, c.adopted = s.pid, s.made, true
	c.part, c.shadow = s.part, s.shadow
	for _, l := range s.links {
		c.crossed.link(crossing(l))
	}
	for _, m := range s.monitors {
		c.crossed.watch(m.ref, m.crossMonitor)
	}
	if s.staked && n.part != nil {
		c.stake = n.part.newStake(s.stake)
	}
	c.still = true
	c.received.Store(s.received)
	c.messages.Store(s.messages)
	c.sentCount.Store(s.sent)
	c.rd.halt.shut()
	c.rd.busy <- struct{}{}
	for i := range s.unread {
		m := s.unread[i].message(n)
		m.conn = c
		c.rd.unread.add(m)
	}
	err = stream.PauseRead(ctx)
	if err == nil {
		err = stream.Preload(s.ahead)
	}
	if err == nil {
		err = c.q.Stage(ctx, s.rest)
	}
	if err != nil {
		return nil, errors.Join(err, c.discard())
	}
	c.ticks.restore(c, s.clock)
	return c, nil
}

// carrier finds the transport of a plug-in.
func (n *Node) carrier(plugin string) (transport.Transport, error) {
	tr := n.transportOf(plugin)
	switch {
	case tr == nil:
		return nil, fmt.Errorf("%w: %s", ErrNoPlugin, plugin)
	case !tr.Movable():
		return nil, &NotMovableError{Plugin: plugin}
	}
	return tr, nil
}

// transportOf is the node's transport of a plug-in; nil if it has none.
func (n *Node) transportOf(plugin string) transport.Transport {
	for _, tr := range append(append([]transport.Transport{n.cfg.Transport}, n.cfg.Transports...), transport.TCP(), n.unix.get()) {
		if tr.Name() == plugin {
			return tr
		}
	}
	return nil
}

// Start lets the connection go on in this node. The links and monitors that processes of this node have with the peer's are theirs again;
// of processes that are not here the peer hears that they do not exist. A connection to the peer that is up here ends with ErrSuperseded, for
// the peer has given it up, if it was made before this one; otherwise the error is ErrConnected. What could not be started is discarded.
func (s *StagedConn) Start() (*Conn, error) {
	if !s.over.CompareAndSwap(false, true) {
		return nil, wrap("start connection to", s.c.peer.Name, ErrStarted)
	}
	c := s.c
	if err := c.n.enter(c.n.ctx, c, nil); err != nil {
		return nil, wrap("start connection to", c.peer.Name, errors.Join(err, c.discard()))
	}
	c.n.stats.connections.Add(1)
	c.tie(s.bonds)
	c.resume()
	c.n.attach(c)
	return c, nil
}

// resume lets a staged connection go on, up to receiving.
func (c *Conn) resume() {
	c.n.log.Info("connection adopted", "peer", c.peer.Name, "remote", addrText(c.s.RemoteAddr()))
	c.wake()
	c.letReader()
}

// Discard gives the connection up without a byte to the peer: it is the other process's.
func (s *StagedConn) Discard() error {
	if !s.over.CompareAndSwap(false, true) {
		return nil
	}
	return wrap("discard connection to", s.c.peer.Name, s.c.discard())
}

func (c *Conn) discard() error {
	c.mu.Lock()
	c.err = ErrMoved
	close(c.done)
	c.still = false
	c.mu.Unlock()
	c.ticks.end()
	err := c.s.Release()
	c.q.End(ErrMoved)
	close(c.left)
	<-c.rd.busy
	c.rd.halt.open()
	return err
}

// Adopt takes a connection that Detach has given, in this process or another one: Stage and Start. The Moved is closed on failure. As for
// Stage, name and creation are the same and Config.Worker is not. On the upper level the node must have been started, or nobody receives.
func (n *Node) Adopt(ctx context.Context, m *Moved) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, wrap("adopt", "", errors.Join(err, m.Close()))
	}
	s, err := n.Stage(m.State, m.FD)
	if err != nil {
		return nil, wrap("adopt", "", errors.Join(err, m.Close()))
	}
	c, err := s.Start()
	return c, wrap("adopt", "", err)
}

// state describes the clock of a frozen connection.
func (t *ticker) state(c *Conn) clockState {
	t.mu.Lock()
	defer t.mu.Unlock()
	queued, sent := c.q.Buffered()
	return clockState{
		age: max(time.Since(t.last), 0), idle: sent+int64(queued) == t.posted,
		heard: c.received.Load()+c.rd.steps.Load() != t.received, missed: t.missed, asked: t.asked.Load(),
	}
}

// restore sets the clock of a staged connection.
func (t *ticker) restore(c *Conn, clocks []clockState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held, t.last = true, time.Now()
	t.posted, t.received = -1, -1
	for _, s := range clocks {
		t.last = t.last.Add(-min(max(s.age, 0), c.n.cfg.TickInterval))
		t.missed = min(max(s.missed, 0), missedTicks-1)
		t.asked.Store(s.asked)
		if s.idle {
			queued, sent := c.q.Buffered()
			t.posted = sent + int64(queued)
		}
		if !s.heard {
			t.received = c.received.Load()
		}
	}
}

// state describes a message.
func (m *Message) state() messageState {
	s := messageState{ctl: m.Control, payload: m.Payload}
	if m.conn != nil {
		s.peer = m.conn.peer.Name
	}
	return s
}

// message makes a message of its description, which may be part of a larger whole.
func (s *messageState) message(n *Node) *Message {
	m := &Message{Control: s.ctl, Payload: cloneRaw(s.payload)}
	for _, r := range []*ei.Raw{&m.Reason, &m.Token, &m.Options, &m.Result} {
		*r = cloneRaw(*r)
	}
	if s.peer != "" {
		m.conn = n.Conn(s.peer)
	}
	return m
}

func cloneRaw(r ei.Raw) ei.Raw { return append(ei.Raw(nil), r...) }
