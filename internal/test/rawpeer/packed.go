package rawpeer

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
)

// LongAtom takes 1,020 bytes, and a reference to it two.
var LongAtom = ei.Atom(strings.Repeat("𝟘", 255))

// LongAtoms is a list of n of them.
func LongAtoms(n int) ei.Term { return ei.List(slices.Repeat([]ei.Term{LongAtom}, n)) }

// Packed are the frames of a message with references in place of its atoms, the new ones of
// which they enter into the cache; a payload in fragments of that size, if it is not 0.
func Packed(t testing.TB, sent *protocol.SentAtoms, ctl *dist.Control, payload ei.Raw, fragment int) []byte {
	t.Helper()
	control, err := protocol.AppendControl(nil, ctl)
	require.NoError(t, err)
	var refs protocol.AtomRefs
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
	f := protocol.Cut(1, len(control), payload, fragment)
	b, piece := f.AppendFirst(nil, sent, &refs, control)
	for b = append(b, piece...); f.Next > 0; b = append(b, piece...) {
		b, piece = f.AppendNext(b)
	}
	return b
}

// AllocatedBy gives the number of bytes that f allocates, garbage included.
func AllocatedBy(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}
