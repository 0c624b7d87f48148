package protocol

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// streamOf puts frames behind each other, each with a length of two bytes.
func streamOf(frames ...[]byte) (b []byte) {
	for _, f := range frames {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(f))), f...)
	}
	return b
}

// readerSeeds are the seeds of FuzzHeader and FuzzFragments.
func readerSeeds(t testing.TB, add func(target, name string, b []byte)) {
	var w writer
	for _, v := range controlVectors(t) {
		var payload ei.Raw
		if v.ctl.Op.HasPayload() {
			payload = raw(t, hexKill)
		}
		w.sent = SentAtoms{}
		add("FuzzHeader", v.name, w.frame(t, &v.ctl, payload))
	}
	add("FuzzHeader", "cached", unhex(t, "83 44 01 00 00"+hexSend+"5200"))
	add("FuzzHeader", "long", unhex(t, "83 44 01 18 01 0003 614068"+hexSend+"5200"))
	add("FuzzHeader", "first and only fragment", firstOf(t, 7, 1, "R\x00"))
	add("FuzzHeader", "closure", append(unhex(t, "83 44 01 08 01 03 614068"+hexSend), "p\x00\x00\x00\x33\x01"+
		"0123456789abcdef\x00\x00\x00\x01\x00\x00\x00\x01R\x00a\x01a\x02XR\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03R\x00"...))

	add("FuzzFragments", "two at once", streamOf(firstOf(t, 1, 3, "h\x02R\x00"), firstOf(t, 2, 2, ""), nextOf(1, 2, ""), nil,
		nextOf(2, 1, "R\x00"), nextOf(1, 1, "R\x00")))
	add("FuzzFragments", "begun twice", streamOf(firstOf(t, 1, 3, "h"), firstOf(t, 1, 3, "")))
	add("FuzzFragments", "counts up", streamOf(firstOf(t, 1, 3, "h"), nextOf(1, 4, "h")))
	add("FuzzFragments", "no first", streamOf(unhex(t, "83 44 00 6803 6101"+hexA+hexB), nextOf(1, 4, "h")))
	frame := firstOf(t, 1, 2, "j")
	frame[28] = 99
	add("FuzzFragments", "unknown", streamOf(frame, nextOf(1, 1, "")))
}

// requireReaderError checks what every error of a Reader must be.
func requireReaderError(t *testing.T, err error, frame []byte) {
	var fe *dist.FrameError
	var ce *dist.ControlError
	require.True(t, errors.As(err, &fe) || errors.As(err, &ce), "%T", err)
	require.NotEmpty(t, err.Error())
	if ce != nil {
		require.LessOrEqual(t, ce.Offset, len(frame))
	}
}

func FuzzHeader(f *testing.F) {
	const limit = 1 << 16
	f.Fuzz(func(t *testing.T, frame []byte) {
		r := NewReader(dist.FlagsDefault, Limits{Message: limit}, nil)
		r.cache.put(0, "a@h")
		r.cache.put(cacheSize-1, "")
		var ctl dist.Control
		a, err := r.ReadFrame(frame, &ctl)
		if err != nil {
			requireReaderError(t, err, frame)
			return
		}
		if !a.Complete {
			require.Equal(t, len(frame) == 0, a.Kind == KindTick)
			return
		}
		require.Equal(t, ctl.Op.HasPayload(), len(a.Payload) > 0)
		requireRoundTrip(t, &ctl)
		payload, err := a.Whole(nil, limit)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(payload), max(limit, len(frame)))
		c := ei.NewCursor(payload)
		if payload, err = c.Raw(); err != nil && len(payload) > 0 { // it has none of the references
			return
		}
		if _, err := AppendControl(nil, &ctl); err != nil || ctl.Op.HasPayload() && len(payload) == 0 {
			return
		}
		// Written again it is the same.
		var w writer
		var again dist.Control
		a, err = newReader(Limits{}).ReadFrame(w.frame(t, &ctl, payload), &again)
		require.NoError(t, err)
		require.Equal(t, ctl, again)
		same := wholeOf(t, &a)
		require.Equal(t, []byte(payload), []byte(same))
	})
}

// readPlaced is Reader.ReadFrame, by way of Place if there is a place.
func readPlaced(r *Reader, frame []byte, ctl *dist.Control) (Arrival, error) {
	if len(frame) < FragmentHeadSize {
		return r.ReadFrame(frame, ctl)
	}
	head, piece := frame[:FragmentHeadSize], frame[FragmentHeadSize:]
	place := r.Place(head, len(piece))
	if place == nil {
		return r.ReadFrame(frame, ctl)
	}
	copy(place, piece)
	return r.ReadPlaced(head, place, ctl)
}

func FuzzFragments(f *testing.F) {
	f.Fuzz(func(t *testing.T, stream []byte) {
		limits := Limits{Message: 1000, Sequences: 3, Incomplete: 10_000}
		r, moved, placed, leaves := newReader(limits), newReader(limits), newReader(limits), newReader(limits)
		leaves.LeaveRefs()
		for len(stream) >= 2 {
			n := min(int(binary.BigEndian.Uint16(stream)), len(stream)-2)
			frame := stream[2 : 2+n]
			stream = stream[2+n:]
			var ctl, again dist.Control
			a, err := r.ReadFrame(frame, &ctl)
			b, err2 := moved.ReadFrame(frame, &again)
			require.Equal(t, err, err2)
			a.Memory, b.Memory = nil, nil // how much there is depends on how it has come
			require.Equal(t, a, b)
			var third dist.Control
			c, err3 := readPlaced(placed, frame, &third)
			require.Equal(t, err, err3)
			c.Memory = nil
			require.Equal(t, a, c)
			require.Equal(t, ctl, third)
			require.LessOrEqual(t, r.Held(), limits.Incomplete)
			var fourth dist.Control
			d, err4 := leaves.ReadFrame(frame, &fourth)
			if err4 == nil && d.Complete {
				err4 = d.WholeFields(&fourth, limits.Message)
			}
			if !errors.Is(err, ei.ErrLimit) { // this one sees it when the message is complete
				require.Equal(t, err == nil, err4 == nil)
			}
			if err != nil {
				requireReaderError(t, err, frame)
				require.False(t, a.Complete)
				if errors.Is(err, dist.ErrUnknownOp) {
					continue
				}
				return
			}
			if a.Complete {
				require.Equal(t, ctl, again)
				require.Equal(t, ctl, fourth)
				require.Equal(t, ctl.Op.HasPayload(), len(a.Payload) > 0)
			}
			next := newReader(limits)
			require.NoError(t, next.Restore(moved.Cached(), moved.Incomplete()))
			moved = next
		}
		for m := range r.Incomplete() {
			require.NotZero(t, m.Next)
			r.Discard(m.Sequence)
		}
		require.LessOrEqual(t, r.Held(), limits.Sequences*sequenceCost)
	})
}
