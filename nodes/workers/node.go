package workers

import (
	"context"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/peers"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport"
)

// A node is a nodes.Node, with what this package needs of its inside.
type node struct {
	*nodes.Node
	insider
	inside.Env
}

func insideOf(n *nodes.Node) *node {
	in := n.Inside(inside.Key{})
	return &node{n, in, in.Env()}
}

// stageNode makes a node of its state, without connections or mailboxes.
func stageNode(cfg nodes.Config, state []byte) (*nodes.Staged, *states.Node, error) {
	return (*nodes.Node)(nil).Inside(inside.Key{}).StageNode(cfg, state)
}

// An insider is what Node.Inside returns: nodes/inside.go says what each method does.
type insider interface {
	BeWorker(r inside.Router[*nodes.Conn, *nodes.Message], number int)
	Router() inside.Router[*nodes.Conn, *nodes.Message]
	BeFront(republished func())
	Setting() *nodes.Config
	Background(f func()) bool
	Guarded(what string, f func() error) error
	Gone() error
	Running() error
	SetUp() error
	IsPublished() bool
	Farewell() (moment, grace time.Duration)

	HasName(name ei.Atom) bool
	Home(pid ei.Pid) int
	Holder(ref ei.Ref) int
	SpawnedBy(m *nodes.Message) (ei.Pid, bool)
	Heirless() []*nodes.Mailbox

	Ties(c *nodes.Conn) *inside.Ties[*nodes.Conn]
	Kind(c *nodes.Conn) inside.Kind
	Link(c *nodes.Conn) *link.Conn
	Local(fd int, peer dist.Peer) (*nodes.Conn, error)
	Begin(c *nodes.Conn)
	Enter(c, old *nodes.Conn) error
	ConnOf(c peers.Conn) *nodes.Conn
	Dial(peer string) error
	Tell(c *nodes.Conn, ctl *dist.Control)
	AddressAlias(c *nodes.Conn, ctl *dist.Control) bool
	Via(m *nodes.Message) *nodes.Conn
	In(m *nodes.Message) link.In
	Park(c *nodes.Conn, m *nodes.Message)

	TransportID(tr transport.Transport) (id states.TransportID, plain bool)
	TransportOf(id states.TransportID) (transport.Transport, error)
	OpenListeners(ctx context.Context) ([]*nodes.Listener, error)
	DescriptorOf(l *nodes.Listener) (int, error)
	Accepts(l *nodes.Listener) bool
	AcceptFor(l *nodes.Listener, dispatch func(inside.Opening) error)
	Admit(ctx context.Context, tr transport.Transport, s *transport.Stream, c inside.Claim) (shake func())

	ShutdownFront(ctx context.Context, thawed, finish func(context.Context) error, closes func() error) error
	Still(ctx context.Context) (*nodes.Frozen, error)
	TableOf(f *nodes.Frozen) *descriptor.Table
	ClaimsOf(f *nodes.Frozen) map[inside.Claim]bool
	ClearKeys(state []byte)
	Plugins() []string
	Descriptors() int
	Fill(g *nodes.Staged, s *states.Node, fds *descriptor.List) error
	Open(g *nodes.Staged) (goOn func(context.Context) error, err error)

	CarriedBy(c *nodes.Conn) transport.Transport
	PauseAccepting(ctx context.Context, l *nodes.Listener) (resume func(), err error)
	EndAs(why error)
	Named(name ei.Atom, b *nodes.Mailbox) error
	ProcessOf(pid ei.Pid) *nodes.Mailbox
	Waiting(b *nodes.Mailbox) int
	Parked(c *nodes.Conn) []*nodes.Message
	MessageFrom(c *nodes.Conn, ctl dist.Control) *nodes.Message
}

func wrap(op, peer string, err error) error {
	if err == nil {
		return nil
	}
	return &nodes.Error{Op: op, Peer: peer, Err: err}
}

// clearMessages zeroes messages: one that carries a session has the session's keys in it.
func clearMessages(list []states.LineMessage) {
	for i := range list {
		clear(list[i].JSON)
	}
}
