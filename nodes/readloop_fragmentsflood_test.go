package nodes

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
)

// heap is what is in use, in bytes, once what is not has been collected.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// heapBefore is heap where nothing goes on: what tests before have left in pools, or are about to
// leave, takes several collections.
func heapBefore() (bytes int64) {
	bytes = heap()
	for same := 0; same < 2; same++ {
		last := bytes
		if bytes = heap(); last-bytes > 64<<10 {
			same = -1
		}
	}
	return bytes
}

// A cutWorld has bob with a mailbox there, alice, whose connection to him goes on, and a peer that
// sends fragments.
type cutWorld struct {
	*world
	b     *Node
	there *Mailbox
	p     *wire
	c     *Conn
	alice *Mailbox
}

func newCutWorld(t testing.TB, edit ...func(*Config)) *cutWorld {
	t.Helper()
	w := newWorld(t, "tcp")
	a, b := w.started("alice"), w.started("bob", edit...)
	connect(t, a, "bob@test")
	h := &cutWorld{world: w, b: b, there: box(t, b), alice: box(t, a)}
	require.NoError(t, b.Register(t.Context(), "there", h.there))
	h.p = w.peer(b.Listeners()[0], cutting("wire@test")).cuts()
	h.c = w.conn(b, "wire@test")
	return h
}

// goesOn fails the test if alice's connection does not.
func (h *cutWorld) goesOn() {
	h.t.Helper()
	require.NoError(h.t, h.alice.Send(h.ctx(), h.there.Pid(), ei.Atom("alice's")))
	require.Equal(h.t, ei.Atom("alice's"), term(h.t, h.there))
	require.EqualValues(h.t, 2, h.b.Stats().Connections)
}

// read returns when the node has read all that the peer has sent.
func (h *cutWorld) read() {
	h.t.Helper()
	require.NoError(h.t, h.p.writes(wholeSay(h.t, "there", ei.Atom("read"))))
	require.Equal(h.t, ei.Atom("read"), term(h.t, h.there))
}

// wholeSay is a frame with a header that names no atoms.
func wholeSay(t testing.TB, name ei.Atom, payload ei.Term) []byte {
	t.Helper()
	raw := encode(t, payload)
	return append(append([]byte{131, wholeFrame, 0}, control(t, sayFrom(1<<20, name))...), raw...)
}

// What incomplete messages of several peers take together is bounded by the node's limit, and given
// back; so is the number of one peer's. A peer that has begun a message before ends it after others
// have tried to take all.
func TestOpenSequencesOfSeveralPeers(t *testing.T) {
	const limit = 128 << 20
	h := newCutWorld(t, func(cfg *Config) { cfg.OverflowLimit = limit })
	large := make(ei.Binary, 1<<20)
	large[1<<19] = 1
	modest := cut(t, 1, sayFrom(1, "there"), large, 16)
	require.NoError(t, h.p.writes(modest[:8]...))
	h.read()
	before, most := heapBefore(), int64(0)
	for _, eve := range []struct {
		name  string
		piece []byte
		want  error
	}{
		{"eve1@test", nil, protocol.ErrTooManySequences},
		{"eve2@test", []byte{byte(ei.TagBinaryExt)}, dist.ErrTooMuchIncomplete},
		{"eve3@test", make([]byte, 4096), dist.ErrTooMuchIncomplete},
	} {
		p := h.peer(h.b.Listeners()[0], cutting(eve.name)).cuts()
		c := h.conn(h.b, eve.name)
		ctl := sayFrom(1, "there")
		ctl.From = p.Self
		for id := uint64(0); id < 1<<16; {
			var b []byte
			for range 5000 {
				id++
				b = append(b, framed(firstOf(t, id, 1<<63, ctl, eve.piece))...)
			}
			if p.Write(b) != nil {
				break
			}
			most = max(most, heap()-before)
		}
		require.ErrorIs(t, ended(t, c), eve.want)
		p.Gone()
	}
	require.Eventually(t, func() bool { return heap()-before < 16<<20 }, tooLong, 10*time.Millisecond, "all of it is given back")
	require.Less(t, most, int64(limit+32<<20))
	require.NoError(t, h.c.Err())
	require.NoError(t, h.p.writes(modest[8:]...))
	require.True(t, ei.Identical(large, term(t, h.there)))
}

// What comes in fragments for a receiver that ends meanwhile is dropped, and what comes behind it
// is not.
func TestReceiverEndsAmidFragments(t *testing.T) {
	h := newCutWorld(t)
	ends := box(t, h.b)
	frames := cut(t, 9, dist.Control{Op: dist.OpSend, To: ends.Pid()}, make(ei.Binary, 1<<20), 16)
	require.NoError(t, h.p.writes(frames[:8]...))
	h.read()
	require.NoError(t, ends.Close())
	require.NoError(t, h.p.writes(frames[8:]...))
	h.read()
	require.EqualValues(t, 1, h.b.Stats().Undeliverable)
	require.Zero(t, h.b.Stats().Malformed)
	h.goesOn()
}
