package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

func encoded(t require.TestingT, v any) ei.Raw {
	b, err := ei.Append(nil, v)
	require.NoError(t, err)
	return b
}

func controlOf(t require.TestingT, ctl *dist.Control) []byte {
	b, err := AppendControl(nil, ctl)
	require.NoError(t, err)
	return b
}

func wholeOf(t require.TestingT, a *Arrival) ei.Raw {
	payload, err := a.Whole(nil, 1<<30)
	require.NoError(t, err)
	return payload
}

// A writer is the sending side of a connection with headers, as package nodes would be.
type writer struct {
	sent SentAtoms
	refs AtomRefs
	body []byte
}

// frame gives a message in one frame, without length.
func (w *writer) frame(t require.TestingT, ctl *dist.Control, payload ei.Raw) []byte {
	w.refs.Reset()
	control := controlOf(t, ctl)
	var err error
	w.body, err = w.refs.Pack(w.body[:0], control)
	require.NoError(t, err)
	if len(payload) > 0 {
		w.body, err = w.refs.Pack(w.body, payload)
		require.NoError(t, err)
	}
	frame, err := w.sent.AppendFrameHead(nil, &w.refs, len(w.body))
	require.NoError(t, err)
	return append(frame, w.body...)[4:]
}

// An outgoing message is on its way in fragments.
type outgoing struct {
	ctl     dist.Control
	payload ei.Raw
	cut     Fragments
}

// begin gives the first frame of a message.
func (w *writer) begin(t require.TestingT, o *outgoing, sequence uint64, size int) []byte {
	w.refs.Reset()
	control := controlOf(t, &o.ctl)
	control, err := w.refs.Pack(nil, control)
	require.NoError(t, err)
	payload, err := w.refs.Pack(nil, o.payload)
	require.NoError(t, err)
	o.cut = Cut(sequence, len(control), payload, size)
	frame, piece := o.cut.AppendFirst(nil, &w.sent, &w.refs, control)
	return whole(t, frame, piece)
}

func (o *outgoing) next(t require.TestingT) []byte {
	frame, piece := o.cut.AppendNext(nil)
	return whole(t, frame, piece)
}

// whole puts a frame together, without the length, which it checks.
func whole(t require.TestingT, frame, piece []byte) []byte {
	frame = append(frame, piece...)
	require.EqualValues(t, len(frame)-4, binary.BigEndian.Uint32(frame))
	return frame[4:]
}

func requireArrived(t require.TestingT, a Arrival, ctl, want *dist.Control, payload ei.Raw) {
	require.True(t, a.Complete)
	require.Equal(t, *want, *ctl)
	got := wholeOf(t, &a)
	require.True(t, bytes.Equal(payload, got))
}

// Any messages, whole or cut anywhere, with the pieces in any order that keeps that of each
// message.
func TestAnyInterleavingGivesTheMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w writer
		r := newReader(Limits{})
		var open []*outgoing
		read := func(frame []byte) (Arrival, dist.Control) {
			var ctl dist.Control
			a, err := r.ReadFrame(frame, &ctl)
			require.NoError(t, err)
			if !a.Complete || a.Memory != nil {
				clear(frame) // nothing may depend on it
			}
			return a, ctl
		}
		step := func(i int, last func(*outgoing, Arrival, dist.Control)) {
			o := open[i]
			if a, ctl := read(o.next(t)); o.cut.Next == 0 {
				last(o, a, ctl)
				open = append(open[:i], open[i+1:]...)
			} else {
				require.False(t, a.Complete)
			}
		}
		arrived := func(o *outgoing, a Arrival, ctl dist.Control) {
			require.Equal(t, o.cut.Sequence, a.Sequence)
			requireArrived(t, a, &ctl, &o.ctl, o.payload)
		}
		sequence := uint64(0)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if len(open) > 0 && rapid.Bool().Draw(t, "goes on") {
				step(rapid.IntRange(0, len(open)-1).Draw(t, "which"), arrived)
				continue
			}
			ops := []dist.Op{dist.OpSendSender, dist.OpRegSend.Traced(), dist.OpSpawnRequest, dist.OpAltactSigSend,
				dist.OpPayloadMonitorPExit, dist.OpLink}
			op := rapid.SampledFrom(ops).Draw(t, "op")
			o := &outgoing{ctl: drawControl(t, op)}
			if !op.HasPayload() {
				a, ctl := read(w.frame(t, &o.ctl, nil))
				require.True(t, a.Complete)
				require.Equal(t, o.ctl, ctl)
				continue
			}
			o.payload = drawPayload(t)
			if rapid.Bool().Draw(t, "whole") {
				a, ctl := read(w.frame(t, &o.ctl, o.payload))
				requireArrived(t, a, &ctl, &o.ctl, o.payload)
				continue
			}
			sequence++
			size := rapid.IntRange(1, 200).Draw(t, "size")
			if a, ctl := read(w.begin(t, o, sequence, size)); o.cut.Next == 0 {
				arrived(o, a, ctl)
			} else {
				require.False(t, a.Complete)
				open = append(open, o)
			}
			if rapid.IntRange(0, 9).Draw(t, "moves") == 0 { // to another process
				next := newReader(Limits{})
				require.NoError(t, next.Restore(r.Cached(), r.Incomplete()))
				require.Equal(t, r.Held() > 0, next.Held() > 0)
				r, w.sent = next, SentAtoms{}
			}
		}
		for len(open) > 0 {
			step(len(open)-1, arrived)
		}
		require.Zero(t, r.Held())
	})
}

func drawPayload(t *rapid.T) ei.Raw {
	atoms := rapid.SliceOfN(rapid.IntRange(0, 3000), 0, 300).Draw(t, "atoms")
	list := make(ei.List, 0, 2*len(atoms))
	for _, n := range atoms {
		list = append(list, ei.Atom(fmt.Sprintf("atom_%d", n)), ei.Int(n))
	}
	term := ei.Tuple{list, ei.Binary(rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "binary")),
		ei.Atom(rapid.StringN(0, 255, -1).Draw(t, "atom"))}
	payload := encoded(t, term)
	return payload
}

// Thousands of messages, of more atoms than the cache has room for: both sides have the same cache.
func TestCachesStayTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var w writer
	r := newReader(Limits{})
	for n := range 2000 {
		count := random.IntN(400)
		list := make(ei.List, count)
		for i := range list {
			a := fmt.Sprintf("atom_%d", random.IntN(5000))
			if random.IntN(500) == 0 {
				a = strings.Repeat(a, 20)
			}
			list[i] = ei.Tuple{ei.Atom(a), ei.Int(i)}
		}
		payload := encoded(t, list)
		want := dist.Control{Op: dist.OpSendSender, From: pidA, To: pidB}
		var ctl dist.Control
		frame := w.frame(t, &want, payload)
		require.LessOrEqual(t, len(frame), 100+len(payload)+4*count)
		a, err := r.ReadFrame(frame, &ctl)
		require.NoError(t, err)
		requireArrived(t, a, &ctl, &want, payload)
		if n%100 > 0 {
			continue
		}
		theirs := map[int]ei.Atom{}
		for i, a := range r.Cached() {
			theirs[i] = a
		}
		ours := map[int]ei.Atom{}
		for i, a := range w.sent.slots.all() {
			ours[i] = a
		}
		require.Equal(t, ours, theirs)
	}
	require.Greater(t, len(r.cache.refs), 100)
	// What the peer has is sent as two bytes.
	w.frame(t, &dist.Control{Op: dist.OpSendSender, From: pidA, To: pidB}, ei.Raw("j"))
	require.Len(t, w.frame(t, &dist.Control{Op: dist.OpSendSender, From: pidA, To: pidB}, ei.Raw("j")), 2+1+2+2+(2+2+2*(1+2+12))+1)
}

// More than 255 atoms in a message, and two of one place in the cache: the rest is text.
func TestAtomsBeyondAHeader(t *testing.T) {
	var w writer
	r := newReader(Limits{})
	list := make(ei.List, 4000)
	for i := range list {
		list[i] = ei.Atom(fmt.Sprintf("atom_%d", i))
	}
	payload := encoded(t, list)
	want := dist.Control{Op: dist.OpSendSender, From: pidA, To: pidB}
	for range 2 {
		var ctl dist.Control
		a, err := r.ReadFrame(w.frame(t, &want, payload), &ctl)
		require.NoError(t, err)
		requireArrived(t, a, &ctl, &want, payload)
		require.Len(t, a.Refs, maxAtomRefs)
		require.Equal(t, maxAtomRefs, w.refs.Len())
	}
}

func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A peer that begins a million messages, or says that it sends very long ones.
func TestHostileFragmentsTakeBoundedMemory(t *testing.T) {
	t.Run("10^6 sequences", func(t *testing.T) {
		const limit = 200 << 20
		r := newReader(Limits{Sequences: 1_000_000, Incomplete: limit})
		before := memory()
		var ctl dist.Control
		frame := firstOf(t, 0, math64, "m\xff\xff\xff\xff")
		var err error
		for n := uint64(0); n < 1_000_000 && err == nil; n++ {
			binary.BigEndian.PutUint64(frame[2:], n)
			_, err = r.ReadFrame(frame, &ctl)
		}
		require.ErrorIs(t, err, dist.ErrTooMuchIncomplete)
		require.LessOrEqual(t, r.Held(), limit)
		require.Less(t, memory(), before+limit*5/4) // or less than before: a pool is emptied later
		runtime.KeepAlive(r)
	})
	t.Run("10^6 sequences, discarded", func(t *testing.T) {
		r := newReader(Limits{})
		before := memory()
		var ctl dist.Control
		frame := firstOf(t, 0, math64, "m\xff\xff\xff\xff")
		var err error
		n := 0
		for ; n < 1_000_000 && err == nil; n++ {
			binary.BigEndian.PutUint64(frame[2:], uint64(n))
			if _, err = r.ReadFrame(frame, &ctl); err == nil {
				require.True(t, r.Discard(uint64(n)))
			}
		}
		require.ErrorIs(t, err, ErrTooManySequences)
		require.Equal(t, defaultSequences+1, n)
		require.Less(t, memory(), before+100<<20) // or less than before: a pool is emptied later
		runtime.KeepAlive(r)
	})
	t.Run("a long message", func(t *testing.T) {
		r := newReader(Limits{Message: math.MaxInt, Incomplete: math.MaxInt})
		var ctl dist.Control
		_, err := r.ReadFrame(firstOf(t, 1, math64, "m"), &ctl)
		require.NoError(t, err)
		require.LessOrEqual(t, r.Held(), 2*trustedPayload)
		piece := strings.Repeat("x", 10_000)
		for i := range 1000 {
			_, err := r.ReadFrame(nextOf(1, math64-1-uint64(i), piece), &ctl)
			require.NoError(t, err)
			require.LessOrEqual(t, r.Held(), 2*trustedPayload+fastGrowth*(i+1)*len(piece))
		}
	})
	t.Run("atoms that only old messages still have", func(t *testing.T) {
		const limit = 32 << 20
		r := newReader(Limits{Incomplete: limit})
		before := memory()
		var ctl dist.Control
		var err error
		for n := uint64(1); err == nil; n++ {
			b := binary.BigEndian.AppendUint64([]byte{ei.VersionMagic, firstFragment}, n)
			b = append(binary.BigEndian.AppendUint64(b, 2), 255)
			b = append(b, bytes.Repeat([]byte{0x88}, 127)...)
			b = append(b, 0x18)
			for i := range 255 {
				text := strings.Repeat("é", 240) + fmt.Sprint(n, i)
				b = append(append(b, byte(i), byte(len(text)>>8), byte(len(text))), text...)
			}
			_, err = r.ReadFrame(append(b, unhex(t, hexSend)...), &ctl)
		}
		require.ErrorIs(t, err, dist.ErrTooMuchIncomplete)
		require.Less(t, memory(), before+limit*5/4) // or less than before: a pool is emptied later
		runtime.KeepAlive(r)
	})
}

const math64 = 1<<64 - 1

// The memory of a message that comes in equal pieces ends up being its own, and is given to the
// caller.
func TestMemoryOfALargeMessage(t *testing.T) {
	r := newReader(Limits{})
	var w writer
	o := outgoing{ctl: dist.Control{Op: dist.OpSendSender, From: pidA, To: pidB}}
	var err error
	o.payload = encoded(t, ei.Tuple{ei.Atom("message"), ei.Binary(make([]byte, 40<<20))})
	var ctl dist.Control
	a, err := r.ReadFrame(w.begin(t, &o, 1, FragmentSize), &ctl)
	for o.cut.Next > 0 && err == nil {
		a, err = r.ReadFrame(o.next(t), &ctl)
	}
	require.NoError(t, err)
	require.True(t, a.Complete)
	require.LessOrEqual(t, cap(a.Payload), len(a.Payload)+2*FragmentSize)
	require.Zero(t, r.Held())
	got := wholeOf(t, &a)
	require.True(t, bytes.Equal(o.payload, got))
	require.Same(t, &a.Payload[len(a.Payload)-1], &got[len(got)-1], "it is made whole where it is")
}

func TestReadingAllocatesNothing(t *testing.T) {
	var w writer
	r := NewReader(dist.FlagsDefault, Limits{}, ei.NewAtomTable(0))
	payload := encoded(t, ei.Tuple{ei.Atom("some"), ei.Atom("message")})
	want := dist.Control{Op: dist.OpSendSender, From: pidA, To: pidB}
	var ctl dist.Control
	_, err := r.ReadFrame(w.frame(t, &want, payload), &ctl)
	require.NoError(t, err)
	plain, err := AppendFrame(nil, &want, payload)
	require.NoError(t, err)
	room := make([]byte, 0, 100)
	for _, frame := range [][]byte{w.frame(t, &want, payload), plain[4:]} {
		require.Zero(t, testing.AllocsPerRun(100, func() {
			a, err := r.ReadFrame(frame, &ctl)
			if err == nil {
				_, err = a.Whole(room, 1000)
			}
			if err != nil {
				panic(err)
			}
		}))
	}
	out := make([]byte, 0, 200)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		w.refs.Reset()
		body, err := w.refs.Pack(w.body[:0], payload)
		if err == nil {
			_, err = w.sent.AppendFrameHead(out, &w.refs, len(body))
		}
		if err != nil {
			panic(err)
		}
	}))
}
