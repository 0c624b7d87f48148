package nodes

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
)

// The kinds of frames with atoms, after 131.
const (
	wholeFrame = 'D'
	firstPart  = 'E'
	nextPart   = 'F'
)

// cutting is a role that has an atom cache, and sends large messages in fragments.
func cutting(name string) protocol.Self {
	self := role(name)
	self.Flags |= dist.FlagDistHdrAtomCache | dist.FlagFragments
	return self
}

// cuts fails the test unless the node has agreed to get fragments.
func (p *wire) cuts() *wire {
	p.T.Helper()
	require.True(p.T, p.Node.Flags.Has(dist.FlagDistHdrAtomCache|dist.FlagFragments), "%v", p.Node.Flags)
	return p
}

// control is a control message without version byte.
func control(t testing.TB, ctl dist.Control) []byte {
	t.Helper()
	return of(protocol.AppendControl(nil, &ctl)).must(t)
}

// partHead is the head of a fragment.
func partHead(kind byte, sequence, number uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{131, kind}, sequence)
	return binary.BigEndian.AppendUint64(b, number)
}

// firstOf and nextOf are the bodies of fragments, firstOf with a header that names no atoms.
func firstOf(t testing.TB, sequence, number uint64, ctl dist.Control, piece []byte) []byte {
	t.Helper()
	return bytes.Join([][]byte{partHead(firstPart, sequence, number), {0}, control(t, ctl), piece}, nil)
}

func nextOf(sequence, number uint64, piece []byte) []byte {
	return append(partHead(nextPart, sequence, number), piece...)
}

// sayFrom is the control message of what is said to a registered name by the process with that
// number.
func sayFrom(id uint32, name ei.Atom) dist.Control {
	return dist.Control{Op: dist.OpRegSend, From: ei.Pid{Node: "wire@test", ID: id, Creation: 77}, ToName: name}
}

// cut gives the frames of a message in so many fragments.
func cut(t testing.TB, sequence uint64, ctl dist.Control, payload ei.Term, n int) (frames [][]byte) {
	t.Helper()
	raw := encode(t, payload)
	require.GreaterOrEqual(t, len(raw), n)
	for i := range n {
		piece := raw[i*len(raw)/n : (i+1)*len(raw)/n]
		if i == 0 {
			frames = append(frames, firstOf(t, sequence, uint64(n), ctl, piece))
		} else {
			frames = append(frames, nextOf(sequence, uint64(n-i), piece))
		}
	}
	return frames
}

// writes writes frames until the node takes no more.
func (p *wire) writes(frames ...[]byte) error {
	var b []byte
	for _, f := range frames {
		b = append(b, framed(f)...)
	}
	return p.Write(b)
}

// Headers and fragments that break the protocol end their connection, with an error that says why,
// and no other. (More of them are among the tests of package protocol.)
func TestHostileFragments(t *testing.T) {
	says := sayFrom(1, "box")
	said, piece := control(t, says), []byte{109, 0, 0, 1, 0, 'x'} // the beginning of a binary
	begin := func(number uint64) []byte { return firstOf(t, 1, number, says, piece) }
	for what, tt := range map[string]struct {
		frames [][]byte
		want   error
	}{
		"a header and no more":      {[][]byte{{131, wholeFrame, 0}}, nil},
		"an atom never sent":        {[][]byte{bytes.Join([][]byte{{131, wholeFrame, 1, 0, 7}, said, piece}, nil)}, protocol.ErrNotCached},
		"another kind":              {[][]byte{append(partHead('G', 1, 1), piece...)}, dist.ErrFrame},
		"no first fragment":         {[][]byte{nextOf(1, 5, piece)}, protocol.ErrFragmentOrder},
		"a fragment after the last": {append(cut(t, 9, sayFrom(1, "nobody"), ei.Atom("x"), 2), nextOf(9, 1, piece)), protocol.ErrFragmentOrder},
		"begun again in the middle": {[][]byte{begin(4), nextOf(1, 3, piece), begin(2)}, protocol.ErrFragmentOrder},
	} {
		t.Run(what, func(t *testing.T) {
			for _, upper := range []bool{true, false} {
				w := newWorld(t, "memory")
				a := w.started("alice")
				b, p, c := w.beset(upper, cutting("wire@test"))
				if upper {
					require.NoError(t, b.Register(t.Context(), "there", box(t, b)))
					connect(t, a, "bob@test")
				}
				p.cuts()
				require.NoError(t, p.writes(tt.frames...))
				err := ended(t, c)
				require.Error(t, err)
				if tt.want != nil {
					require.ErrorIs(t, err, tt.want)
				}
				require.Less(t, len(err.Error()), 1000)
				p.Gone()
				require.EqualValues(t, 1, b.Stats().Malformed, "%v", err)
				if upper {
					require.NoError(t, box(t, a).SendName(w.ctx(), "bob@test", "there", ei.Atom("good")))
					require.Equal(t, ei.Atom("good"), term(t, b.Whereis("there")))
					require.EqualValues(t, 2, b.Stats().Connections)
				}
			}
		})
	}
}

// A control message that is not known yet is skipped, in fragments too.
func TestUnknownControlMessageInFragments(t *testing.T) {
	h := newCutWorld(t)
	unknown := []byte{104, 2, 97, 99, 106}
	for sequence, number := range map[uint64]uint64{1: 1, 2: 2, 3: 5} {
		b := append(append(partHead(firstPart, sequence, number), 0), unknown...)
		require.NoError(t, h.p.writes(append(b, 109, 0, 0)))
		for number--; number > 0; number-- {
			require.NoError(t, h.p.writes(nextOf(sequence, number, []byte("rest"))))
		}
		h.read()
	}
	require.Zero(t, h.b.Stats().Malformed)
	h.goesOn()
}
