package workers

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/link"
)

// partOf is what a worker has beside its node, and linkOf the lower half of a connection.
func partOf(n *nodes.Node) *part      { return insideOf(n).Router().(*part) }
func linkOf(c *nodes.Conn) *link.Conn { return insideOf(c.Node()).Link(c) }
func peerName(i int) string           { return "peer" + strconv.Itoa(i) + "@test" }

func duplicates(t testing.TB, fds []int) []int {
	t.Helper()
	var dups []int
	for _, fd := range fds {
		dup, err := descriptor.Duplicate(fd)
		require.NoError(t, err)
		dups = append(dups, dup)
	}
	return dups
}

// again is the Config of a node that goes on as this one.
func again(n *nodes.Node) nodes.Config {
	cfg := *insideOf(n).Setting()
	cfg.Alive, cfg.Host = "", ""
	return cfg
}

// thawed ends a freeze that may have failed.
func thawed[F interface{ Thaw() }](f F, err error) error {
	if err == nil {
		f.Thaw()
	}
	return err
}

// namePacket is the first packet of a peer's.
func namePacket(t testing.TB, name string) []byte {
	t.Helper()
	self := role(name)
	b, err := dist.AppendName(nil, dist.Name{Version: dist.Version6, Flags: self.Flags, Creation: self.Creation, Name: self.Name})
	require.NoError(t, err)
	return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...)
}

// reason receives a signal, and gives its reason.
func reason(t testing.TB, b *nodes.Mailbox, op dist.Op) (*nodes.Message, ei.Term) {
	t.Helper()
	m := receive(t, b)
	require.Equal(t, op, m.Op)
	require.Equal(t, b.Pid(), m.To)
	v := decode(t, m.Reason)
	return m, v
}

const noconnection = ei.Atom("noconnection")

// A record is a log that tests read while it is written.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

// lines are those that have all of parts.
func (r *record) lines(parts ...string) (found []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range strings.Lines(r.b.String()) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			found = append(found, line)
		}
	}
	return found
}

var longAtom = ei.Atom(strings.Repeat("𝟘", 255))

// longAtoms is a list that is short only with references in place of its atoms.
func longAtoms(n int) ei.Term { return ei.List(slices.Repeat([]ei.Term{longAtom}, n)) }

// packedFrames are the frames of a message with references in place of its atoms, the new ones of
// which they enter into the cache; a payload in fragments of that size, if it is not 0.
func packedFrames(t testing.TB, sent *dist.SentAtoms, ctl *dist.Control, payload ei.Raw, fragment int) []byte {
	t.Helper()
	control, err := dist.AppendControl(nil, ctl)
	require.NoError(t, err)
	var refs dist.AtomRefs
	control, err = refs.Pack(nil, control)
	require.NoError(t, err)
	if payload != nil {
		payload, err = refs.Pack(nil, payload)
		require.NoError(t, err)
	}
	if fragment == 0 {
		b, err := sent.AppendFrameHead(nil, &refs, len(control)+len(payload))
		require.NoError(t, err)
		return append(append(b, control...), payload...)
	}
	f := dist.Cut(1, len(control), payload, fragment)
	b, piece := f.AppendFirst(nil, sent, &refs, control)
	for b = append(b, piece...); f.Next > 0; b = append(b, piece...) {
		b, piece = f.AppendNext(b)
	}
	return b
}

func allocatedBy(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

var errFault = errors.New("a fault")
