package nodes

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/test/rawpeer"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

// A wire is a peer played by the test.
type wire struct{ *rawpeer.Peer }

func newWire(t testing.TB, s *transport.Stream) *wire { return &wire{&rawpeer.Peer{T: t, S: s}} }

var (
	role         = rawpeer.Role
	namePacketOf = rawpeer.NamePacket
	frame        = rawpeer.Frame
	framed       = rawpeer.Framed
	packed       = rawpeer.Packed
	longAtoms    = rawpeer.LongAtoms
	allocatedBy  = rawpeer.AllocatedBy
)

// A record is a log that tests read while it is written.
type record = rawpeer.Log

// withoutFragments are the flags of a node whose large messages fill a queue.
const withoutFragments = dist.FlagsDefault &^ dist.FlagFragments

// wire connects to a node that listens, with no byte said yet.
func (w *world) wire(l *Listener) *wire {
	w.t.Helper()
	s := of(w.tr.Connect(w.ctx(), l.Addr())).must(w.t)
	w.t.Cleanup(func() { s.Close() })
	return newWire(w.t, s)
}

// peer connects to a node that listens and does the handshake.
func (w *world) peer(l *Listener, self protocol.Self) *wire {
	w.t.Helper()
	p := w.wire(l)
	require.NoError(w.t, p.Initiate(self))
	return p
}

// joined is peer, with the node's end of the connection, accepted on the lower level.
func (w *world) joined(l *Listener, self protocol.Self) (*wire, *Conn) {
	w.t.Helper()
	accepted := async(func() (*Conn, error) { return l.Accept(w.ctx()) })
	return w.peer(l, self), (<-accepted).must(w.t)
}

// met is a started node that wire@test has connected to.
func (w *world) met(alive string, edit ...func(*Config)) (*Node, *wire) {
	w.t.Helper()
	n := w.started(alive, edit...)
	return n, w.peer(n.Listeners()[0], role("wire@test"))
}

// wired is a connection of wire@test's with bob, on the lower level.
func (w *world) wired() (*wire, *Conn) {
	w.t.Helper()
	_, l := w.listening("bob")
	return w.joined(l, role("wire@test"))
}

// An ambush is a listener at which the test itself answers, under a name of the world's table.
type ambush struct {
	w    *world
	name string
	l    *transport.Listener
}

func (w *world) ambush(name string) *ambush {
	w.t.Helper()
	l := of(w.tr.Listen(w.addr(name), 0)).must(w.t)
	w.t.Cleanup(func() { l.Close() })
	w.book.set(name, l.Addr())
	return &ambush{w, name, l}
}

// accept takes a connection with no byte said yet.
func (a *ambush) accept() *wire {
	a.w.t.Helper()
	s, err := a.l.Accept(a.w.ctx())
	require.NoError(a.w.t, err)
	a.w.t.Cleanup(func() { s.Close() })
	return newWire(a.w.t, s)
}

// meet lets n connect here.
func (a *ambush) meet(n *Node) (*wire, *Conn) {
	a.w.t.Helper()
	connected := async(func() (*Conn, error) { return n.Connect(a.w.ctx(), a.name) })
	p := a.accept()
	require.NoError(a.w.t, p.Respond(role(a.name), protocol.StatusOK))
	return p, (<-connected).must(a.w.t)
}
