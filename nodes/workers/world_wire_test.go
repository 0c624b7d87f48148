package workers

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/test/rawpeer"
	"github.com/cnode-go/cnode/nodes"
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
	role        = rawpeer.Role
	frame       = rawpeer.Frame
	packed      = rawpeer.Packed
	longAtoms   = rawpeer.LongAtoms
	allocatedBy = rawpeer.AllocatedBy
)

// namePacket is the first packet of a peer's.
func namePacket(t testing.TB, name string) []byte { return rawpeer.NamePacket(t, role(name)) }

// A record is a log that tests read while it is written.
type record = rawpeer.Log

// wire connects to a node that listens, with no byte said yet.
func (w *world) wire(l *nodes.Listener) *wire {
	w.t.Helper()
	s := of(w.Transport.Connect(w.ctx(), l.Addr())).must(w.t)
	w.t.Cleanup(func() { s.Close() })
	return newWire(w.t, s)
}

// peer connects to a node that listens and does the handshake.
func (w *world) peer(l *nodes.Listener, self protocol.Self) *wire {
	w.t.Helper()
	p := w.wire(l)
	require.NoError(w.t, p.Initiate(self))
	return p
}
