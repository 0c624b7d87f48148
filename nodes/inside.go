package nodes

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/carriers"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/peers"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/metrics"
	"github.com/cnode-go/cnode/transport"
)

// An insider is a Node for package workers, which makes of a node one of several processes, or the
// front of these. What workers needs beside the methods of a Node, a Conn and a Message is no part
// of their API.
type insider struct{ n *Node }

// Inside is for package workers: other modules cannot make its argument. n may be nil for
// StageNode.
func (n *Node) Inside(inside.Key) insider { return insider{n} }

// Env is what the node has.
func (in insider) Env() inside.Env {
	n := in.n
	return inside.Env{
		Log: n.log, Ctx: n.ctx, Life: &n.life, Table: &n.peers, Started: &n.started,
		Undeliverable: &n.stats.undeliverable, Arrivals: &n.arrivals, FreezeTime: n.freezeTime,
	}
}

// BeWorker makes the node a worker, with a number of its own.
func (in insider) BeWorker(r inside.Router[*Conn, *Message], number int) {
	in.n.router, in.n.ids.Worker = r, number
}

// Router is what BeWorker was given, for tests.
func (in insider) Router() inside.Router[*Conn, *Message] { return in.n.router }

// BeFront makes the node a front; republished hears when its name was published, or taken back.
func (in insider) BeFront(republished func()) {
	in.n.isFront, in.n.publishing.republished = true, republished
}

// Setting is the Config, completed.
func (in insider) Setting() *Config { return &in.n.cfg }

// CheckClustered is ErrNoCluster for the node of a child with a link: what packages for clusters
// start there would wait for others in vain.
func (in insider) CheckClustered() error {
	folder := SocketDir(os.Getenv(inside.LinkVariable))
	if at, ok := in.n.cfg.Resolver.(socketsOf); ok && folder != "" && at.socketDir == folder {
		return ErrNoCluster
	}
	return nil
}

// Background runs f on a goroutine that Close waits for; false when the node is closing.
func (in insider) Background(f func()) bool { return in.n.background(f) }

// Guarded calls a function of the application's, whose panic is an error.
func (in insider) Guarded(what string, f func() error) error { return in.n.faults.guarded(what, f) }

// Gone is why the node has no processes any more.
func (in insider) Gone() error { return in.n.gone() }

// Running notes that the node runs. The error is why it has ended meanwhile.
func (in insider) Running() error {
	in.n.drain.reach(StateRunning)
	return in.n.drain.ending()
}

// SetUp makes what peers may ask for as soon as they are connected.
func (in insider) SetUp() error { return in.n.setup() }

// IsPublished tells whether the node is found under its name.
func (in insider) IsPublished() bool { return in.n.publishing.isPublished() }

// Farewell is how long what ends waits for what should take no time.
func (in insider) Farewell() (moment, grace time.Duration) {
	return farewell, max(in.n.cfg.DrainGrace, drainMoment)
}

// Processes.

// HasName tells whether a process here has a name.
func (in insider) HasName(name ei.Atom) bool { return in.n.procs.named(name) != nil }

// Home tells in which other worker a process is, and Holder in which one a reference was made; 0:
// in none.
func (in insider) Home(pid ei.Pid) int   { return in.n.home(pid) }
func (in insider) Holder(ref ei.Ref) int { return in.n.holder(ref) }

// SpawnedBy reads the new process from a SPAWN_REPLY.
func (in insider) SpawnedBy(m *Message) (ei.Pid, bool) { return in.n.spawnedBy(m) }

// Heirless are the mailboxes of a restored node that no registration has taken over.
func (in insider) Heirless() []*Mailbox { return in.n.procs.heirless(nil) }

// Connections.

// Ties are what a connection has to do with other workers, Kind is what it is the way to, and Link
// is its lower half.
func (insider) Ties(c *Conn) *inside.Ties[*Conn] { return &c.ties }
func (insider) Kind(c *Conn) inside.Kind         { return c.kind() }
func (insider) Link(c *Conn) *link.Conn          { return &c.l }

// Local makes a connection of a socket between two workers, which it owns. Begin starts it.
func (in insider) Local(fd int, peer dist.Peer) (*Conn, error) {
	tr := in.n.carriers.Unix()
	s, err := tr.Import(fd, nil)
	if err != nil {
		return nil, errors.Join(err, descriptor.Close(fd))
	}
	return newConn(in.n, tr, s, peer, link.Options{Inner: true, Record: metrics.Conn{Initiated: true}}), nil
}

// Begin starts what a connection does by itself.
func (insider) Begin(c *Conn) { c.begin() }

// Enter puts a connection on the table of peers, in the place of old; nil: of none.
func (in insider) Enter(c, old *Conn) error {
	var replaced peers.Conn
	if old != nil {
		replaced = tabled{old}
	}
	return in.n.enter(in.n.ctx, c, 0, replaced)
}

// ConnOf is a connection of the table of peers; nil if there is none.
func (insider) ConnOf(c peers.Conn) *Conn { return fromTable(c) }

// Dial gets a connection to a peer.
func (in insider) Dial(peer string) error {
	_, err := in.n.dial(in.n.ctx, peer, nil, false)
	return err
}

// Tell sends a signal for which nobody waits.
func (insider) Tell(c *Conn, ctl *dist.Control) { c.tell(ctl) }

// AddressAlias gives an ALIAS_SEND the form that the peer has agreed to; false: it has to none.
func (insider) AddressAlias(c *Conn, ctl *dist.Control) bool { return c.addressAlias(ctl) }

// Via is the connection that a message has come over, and In where a link puts the message.
func (insider) Via(m *Message) *Conn  { return m.conn }
func (insider) In(m *Message) link.In { return m.in() }

// Park keeps a message that could not be passed on before the connection's reader stopped.
func (insider) Park(c *Conn, m *Message) { c.park(m) }

// Transports and listeners.

// TransportID is how states name a transport; plain: it is Config.Transport.
func (in insider) TransportID(tr transport.Transport) (id states.TransportID, plain bool) {
	id, _ = in.n.carriers.ID(tr)
	return id, carriers.IsSame(tr, in.n.cfg.Transport)
}

// TransportOf is the transport that TransportID names.
func (in insider) TransportOf(id states.TransportID) (transport.Transport, error) {
	return in.n.carrier(id)
}

// OpenListeners opens the listeners of Config.Listen, which is the first, and Config.Also.
func (in insider) OpenListeners(ctx context.Context) ([]*Listener, error) { return in.n.listen(ctx) }

// DescriptorOf is a listener's descriptor; the error says why the listener cannot be handed over.
func (insider) DescriptorOf(l *Listener) (int, error) {
	if err := movable(l.tr, l.l.Descriptor); err != nil {
		return 0, err
	}
	return l.l.Descriptor()
}

// Accepts tells whether a listener has accepted for the front in the process before.
func (insider) Accepts(l *Listener) bool { return l.serves.Load() }

// AcceptFor accepts until the listener ends, and has dispatch give each connection to a worker. On
// success the stream is not the node's any more.
func (in insider) AcceptFor(l *Listener, dispatch func(inside.Opening) error) {
	l.serveAlone()
	if !l.starts() {
		return
	}
	go func() {
		defer l.runs.Leave()
		for o := range l.accepted {
			it := inside.Opening{Ctx: o.Ctx, Transport: l.tr, Stream: o.s, Heard: o.Heard}
			if !in.n.background(func() { o.finish(dispatch(it)) }) {
				o.refuse()
			}
		}
	}()
}

// Admit makes room for the handshake of a stream that a front has accepted. shake does the
// handshake.
func (in insider) Admit(ctx context.Context, tr transport.Transport, s *transport.Stream, c inside.Claim) (shake func()) {
	o := in.n.admit(ctx, tr, s)
	o.claim = c
	return func() { o.shake() }
}

// The end of a front, and moves.

// ShutdownFront is Node.Shutdown for a front: thawed waits for the end of a freeze of its workers,
// and finish is in the place of what a node does before it closes; closes is Close.
func (in insider) ShutdownFront(ctx context.Context, thawed, finish func(context.Context) error, closes func() error) error {
	d := &in.n.drain
	err := thawed(ctx)
	if err == nil {
		err = d.lastThaw(ctx)
	}
	switch {
	case in.n.Err() != nil:
		return closes()
	case err != nil:
		return wrap("shutdown", in.n.Name(), err)
	}
	alive, cancel := d.whileAlive(ctx)
	defer cancel()
	err = d.withdrawInTime(alive)
	for _, l := range in.n.Listeners() {
		err = errors.Join(err, l.Close())
	}
	if late := finish(alive); late != nil {
		err = errors.Join(err, wrap("shutdown", in.n.Name(), late))
	}
	return errors.Join(d.hasFinished(ctx, err), closes())
}

// Still is Freeze, also of a worker, or of a front.
func (in insider) Still(ctx context.Context) (*Frozen, error) { return in.n.freeze(ctx) }

// TableOf has the descriptors of a frozen node, to which others can be added.
func (insider) TableOf(f *Frozen) *descriptor.Table { return &f.table }

// ClaimsOf are the claims of the connections that move.
func (insider) ClaimsOf(f *Frozen) map[inside.Claim]bool {
	moves := map[inside.Claim]bool{}
	for _, c := range f.conns {
		if !f.dead[c] {
			moves[c.ties.Claim] = true
		}
	}
	return moves
}

// ClearKeys zeroes what plug-ins have put into a state.
func (insider) ClearKeys(state []byte) { clearKeys(state) }

// Plugins are the plug-ins that the node needs in another process, and Descriptors how many
// descriptors it takes there.
func (in insider) Plugins() []string { return in.n.plugins() }
func (in insider) Descriptors() int  { return in.n.descriptors() }

// StageNode makes a node of its state, without connections or mailboxes: BeWorker or BeFront is
// next, then Fill and SetUp.
func (insider) StageNode(cfg Config, state []byte) (*Staged, *states.Node, error) {
	return stageNode(cfg, state)
}

// Fill makes the node's connections, listeners, mailboxes and registration.
func (insider) Fill(g *Staged, s *states.Node, fds *descriptor.List) error { return g.fill(s, fds) }

// Open lets mailboxes take messages again, and the node send: the first half of Staged.Start. goOn
// is the second.
func (insider) Open(g *Staged) (goOn func(context.Context) error, err error) {
	return g.goOn, g.open()
}

// What only the tests of package workers need.

// CarriedBy is the transport of a connection.
func (in insider) CarriedBy(c *Conn) transport.Transport { return c.tr }

// PauseAccepting leaves what comes to a listener in its backlog, until resume.
func (insider) PauseAccepting(ctx context.Context, l *Listener) (resume func(), err error) {
	l.stopped.Shut()
	return func() { l.l.Resume(); l.stopped.Open() }, l.l.Pause(ctx)
}

// EndAs ends the node as Release does.
func (in insider) EndAs(why error) {
	in.n.mu.Lock()
	in.n.endUnlock(why)
}

// Named gives a process a name, of which the front does not hear, and ProcessOf finds a process.
func (in insider) Named(name ei.Atom, b *Mailbox) error { return in.n.procs.name(name, b) }
func (in insider) ProcessOf(pid ei.Pid) *Mailbox        { return in.n.procs.local(pid) }

// Waiting is how many bytes of messages wait in a mailbox, and Parked are the messages that a
// connection's reader has read and not dealt with.
func (insider) Waiting(b *Mailbox) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inbox.Bytes()
}
func (insider) Parked(c *Conn) []*Message { return c.unread.messages }

// MessageFrom is a message that has come over a connection.
func (insider) MessageFrom(c *Conn, ctl dist.Control) *Message {
	return &Message{Control: ctl, conn: c}
}
