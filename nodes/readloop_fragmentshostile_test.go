package nodes

import (
	"bytes"
	"encoding/binary"
	"io"
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

// A cacheEntry is an atom of a header: one that is remembered or, without text, that was.
type cacheEntry struct {
	slot int
	text string
}

// header is the beginning of a frame: which atoms it names, and how many it says that there are.
func header(n int, entries ...cacheEntry) []byte {
	b := []byte{byte(n)}
	if n == 0 {
		return b
	}
	bits := make([]byte, n/2+1)
	long := false
	for i, e := range entries {
		set := byte(e.slot >> 8)
		if e.text != "" {
			set |= 8
		}
		bits[i/2] |= set << (i % 2 * 4)
		long = long || len(e.text) > 255
	}
	if long {
		bits[n/2] |= 1 << (n % 2 * 4)
	}
	b = append(b, bits...)
	for _, e := range entries {
		b = append(b, byte(e.slot))
		if e.text == "" {
			continue
		}
		if long {
			b = append(b, byte(len(e.text)>>8))
		}
		b = append(append(b, byte(len(e.text))), e.text...)
	}
	return b
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
	link := dist.Control{Op: dist.OpLink, From: says.From, To: ei.Pid{Node: "bob@test", ID: 1, Creation: 1}}
	whole := func(head []byte, rest ...[]byte) []byte {
		return append(append([]byte{131, wholeFrame}, head...), bytes.Join(rest, nil)...)
	}
	atom := func(slot int, text string) []byte { return header(1, cacheEntry{slot, text}) }
	linked, said, piece := control(t, link), control(t, says), []byte{109, 0, 0, 1, 0, 'x'} // the beginning of a binary
	begin := func(number uint64) []byte { return firstOf(t, 1, number, says, piece) }
	nobody := func(n int) [][]byte { return cut(t, 9, sayFrom(1, "nobody"), ei.Atom("x"), n) }
	for what, tt := range map[string]struct {
		frames [][]byte
		want   error
	}{
		"a header and no more":           {[][]byte{whole(header(0))}, nil},
		"fewer atoms than counted":       {[][]byte{whole(header(3, cacheEntry{1, "a"}))}, protocol.ErrHeader},
		"more atoms than counted":        {[][]byte{whole(atom(1, "a"), []byte{2, 1, 'b'}, said, piece)}, nil},
		"255 atoms never sent":           {[][]byte{whole(header(255, make([]cacheEntry, 255)...), said, piece)}, protocol.ErrNotCached},
		"an atom of another segment":     {[][]byte{whole(atom(7, "a"), linked), whole(atom(0x107, ""), said)}, protocol.ErrNotCached},
		"an atom never sent, fragment":   {[][]byte{append(partHead(firstPart, 1, 2), atom(7, "")...)}, protocol.ErrNotCached},
		"a control message beyond atoms": {[][]byte{whole(atom(7, "a"), []byte{104, 4, 97, 6, 82, 1, 82, 0, 82, 0, 97, 1})}, nil},
		"a control message of atoms":     {[][]byte{whole(atom(7, "a"), []byte{104, 3, 82, 0, 82, 0, 82, 0})}, nil},
		"another kind":                   {[][]byte{append(partHead('G', 1, 1), piece...)}, dist.ErrFrame},

		"a first fragment and no header":     {[][]byte{partHead(firstPart, 1, 3)}, protocol.ErrHeader},
		"no first fragment":                  {[][]byte{nextOf(1, 5, piece)}, protocol.ErrFragmentOrder},
		"no first fragment of this sequence": {[][]byte{begin(3), nextOf(2, 2, piece)}, protocol.ErrFragmentOrder},
		"a fragment after the last":          {append(nobody(2), nextOf(9, 1, piece)), protocol.ErrFragmentOrder},
		"a fragment after the only one":      {append(nobody(1), nextOf(9, 0, piece)), protocol.ErrFragmentOrder},
		"a next number 2^64-1":               {[][]byte{begin(4), nextOf(1, 1<<64-1, piece)}, protocol.ErrFragmentOrder},
		"begun again in the middle":          {[][]byte{begin(4), nextOf(1, 3, piece), begin(2)}, protocol.ErrFragmentOrder},
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
					from := box(t, a)
					require.NoError(t, from.SendName(w.ctx(), "bob@test", "there", ei.Atom("good")))
					require.Equal(t, ei.Atom("good"), term(t, b.Whereis("there")))
					require.EqualValues(t, 2, b.Stats().Connections)
				}
			}
		})
	}
}

// The atoms of a header are what its message refers to, whatever the cache holds when the rest of
// it comes, and in whichever order the parts of several come.
func TestAtomsOfOpenSequences(t *testing.T) {
	h := newCutWorld(t)
	text := func(i int) string { return string(bytes.Repeat([]byte{byte('a' + i%26)}, 1+i*3%255)) }
	ref := func(i int) []byte { return []byte{byte(ei.TagAtomCacheRef), byte(i)} }
	const messages, atoms = 20, 255
	var lasts [][]byte
	for m := range messages {
		// all at the same places of the cache
		var entries []cacheEntry
		for i := range atoms {
			entries = append(entries, cacheEntry{i * 8, text(i + m*100)})
		}
		payload := ei.AppendListHeader(nil, atoms)
		for i := range atoms {
			payload = append(payload, ref(atoms-1-i)...)
		}
		payload = ei.AppendNil(payload)
		b := append(partHead(firstPart, uint64(m), 3), header(atoms, entries...)...)
		b = append(append(b, control(t, sayFrom(uint32(m+1), "there"))...), payload[:7]...) // in the middle of a reference
		lasts = append(lasts, nextOf(uint64(m), 1, payload[100:]))
		require.NoError(t, h.p.writes(b, nextOf(uint64(m), 2, payload[7:100])))
	}
	// a control message that refers to the cache, and a place that is named twice in one header
	named := header(4, cacheEntry{9, "one"}, cacheEntry{9, "there"}, cacheEntry{9, ""}, cacheEntry{2040, "wire@test"})
	b := append([]byte{131, wholeFrame}, named...)
	b = append(b, 104, 4, 97, 6, byte(ei.TagNewPidExt))
	b = append(append(b, ref(3)...), 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 77)
	b = append(append(append(b, ref(0)...), ref(2)...), 104, 2)
	b = append(append(b, ref(0)...), ref(1)...)
	require.NoError(t, h.p.writes(b))
	require.Equal(t, ei.Tuple{ei.Atom("one"), ei.Atom("there")}, term(t, h.there))
	for m := messages - 1; m >= 0; m-- {
		require.NoError(t, h.p.writes(lasts[m]))
		var want ei.List
		for i := range atoms {
			want = append(want, ei.Atom(text(atoms-1-i+m*100)))
		}
		require.Equal(t, want, term(t, h.there), "message %d", m)
	}
	h.goesOn()
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

// A payload that refers to atoms which its header does not have, or that is malformed behind one
// that it has, is no message: its connection ends, or whoever decodes it hears of it. What came
// before it has arrived.
func TestPayloadBeyondItsHeader(t *testing.T) {
	for _, payload := range [][]byte{{82, 9}, {82, 255}, {104, 2, 82, 0, 82, 9}, {104, 2, 82, 0}, {82}, {116, 0, 0, 0, 1, 82, 0}} {
		for _, atoms := range []int{0, 1} {
			for _, cut := range []bool{false, true} {
				h := newCutWorld(t)
				h.read()
				var head []byte
				if head = header(0); atoms == 1 {
					head = header(1, cacheEntry{3, "three"})
				}
				head = append(head, control(t, sayFrom(1, "there"))...)
				if cut {
					_ = h.p.writes(append(append(partHead(firstPart, 1, 2), head...), payload[:1]...), nextOf(1, 1, payload[1:]))
				} else {
					_ = h.p.writes(append(append([]byte{131, wholeFrame}, head...), payload...))
				}
				came := async(func() (*Message, error) { return h.there.Receive(h.ctx()) })
				select {
				case <-h.c.Done():
					require.NotErrorIs(t, h.c.Err(), io.EOF)
					require.EqualValues(t, 1, h.b.Stats().Malformed)
					h.p.Gone()
					require.NoError(t, h.alice.Send(h.ctx(), h.there.Pid(), ei.Atom("alice's")))
					got := arrives(t, came, "alice's message").must(t)
					require.Equal(t, ei.Atom("alice's"), content(t, got))
				case got := <-came:
					require.NoError(t, got.err)
					term, err := got.v.Term()
					require.Error(t, err, "%v", term)
					h.read()
				}
			}
		}
	}
}
