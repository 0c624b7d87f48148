package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

func newReader(limits Limits) *Reader { return NewReader(dist.FlagsDefault, limits, nil) }

// hexLink is LINK from and to pids of the node that is reference 0.
const hexLink = "6803 6101 58 5200 0000002a 00000001 00000005 58 5200 00000007 00000000 00000009 "

// hexSend is SEND_SENDER of the same.
const hexSend = "6803 6116 58 5200 0000002a 00000001 00000005 58 5200 00000007 00000000 00000009 "

// The layout of headers, by hand from the manual.
func TestHeaderLayout(t *testing.T) {
	r := newReader(Limits{})
	var ctl dist.Control
	link := dist.Control{
		Op: dist.OpLink, From: ei.Pid{Node: "a@h", ID: 42, Serial: 1, Creation: 5}, To: ei.Pid{Node: "a@h", ID: 7, Creation: 9},
	}
	send := link
	send.Op = dist.OpSendSender
	long := strings.Repeat("é", 200)
	for _, step := range []struct {
		hex     string
		ctl     dist.Control
		refs    []ei.Atom
		payload string
	}{
		// one new atom: segment 5, place 1; bits b000 for what follows
		{"83 44 01 0d 01 03 614068" + hexLink, link, nil, ""},
		{"83 44 01 05 01" + hexLink, link, nil, ""},
		// two: the cached one, and '' in the last place of all; the bits of the second are the upper ones
		{"83 44 02 f5 00 01 ff 00" + hexSend + "5201", send, []ei.Atom{"a@h", ""}, "''"},
		{"83 44 02 75 00 01 ff" + hexSend + "6802 5201 5200", send, []ei.Atom{"a@h", ""}, "{'',a@h}"},
		// three, long atoms: the bit is in the upper half of the second byte
		{"83 44 03 75 1d 01 ff 02 0190" + fmt.Sprintf("%x", long) + hexSend + "5202", send, []ei.Atom{"a@h", "", ei.Atom(long)},
			"'" + long + "'"},
		// two, with an entry written twice: the first reference keeps its meaning
		{"83 44 02 dd 00 01 03 614068 01 02 6f6b" + hexSend + "6802 5200 5201", send, []ei.Atom{"a@h", "ok"}, "{a@h,ok}"},
		{"83 44 02 0d 00 01 03 614068 00" + hexLink, dist.Control{}, nil, "not cached"},
		// no atoms: those in the message are text
		{"83 44 00 6803 6101" + hexA + hexB, dist.Control{Op: dist.OpLink, From: pidA, To: pidB}, nil, ""},
		{"83 44 00 6803 6116" + hexA + hexB + "7704 6b696c6c", dist.Control{Op: dist.OpSendSender, From: pidA, To: pidB}, nil, "kill"},
	} {
		a, err := r.ReadFrame(unhex(t, step.hex), &ctl)
		if step.payload == "not cached" {
			require.ErrorIs(t, err, ErrNotCached)
			require.ErrorContains(t, err, "distribution header frame: reference to an atom that was never sent: 0, atom 2 of 2")
			continue
		}
		require.NoError(t, err, step.hex)
		require.Equal(t, step.ctl, ctl)
		require.Equal(t, KindHeader, a.Kind)
		require.True(t, a.Complete)
		require.Nil(t, a.Memory)
		if step.payload == "" {
			require.Empty(t, a.Payload)
			continue
		}
		require.ElementsMatch(t, step.refs, a.Refs)
		whole := wholeOf(t, &a)
		require.Equal(t, step.payload, whole.String())
	}
	cached := map[int]ei.Atom{}
	for i, a := range r.Cached() {
		cached[i] = a
	}
	require.Equal(t, map[int]ei.Atom{5<<8 | 1: "a@h", 7<<8 | 255: "", 5<<8 | 2: ei.Atom(long)}, cached)
}

// Fields of control messages that are encoded terms are whole.
func TestFieldsOfControlMessagesAreWhole(t *testing.T) {
	vectors := controlVectors(t)
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			var refs AtomRefs
			var sent SentAtoms
			r := newReader(Limits{})
			for range 2 { // with new entries, then with old ones
				refs.Reset()
				body, err := refs.Pack(nil, unhex(t, v.hex))
				require.NoError(t, err)
				if v.ctl.Op.HasPayload() {
					body, err = refs.Pack(body, raw(t, hexKill))
					require.NoError(t, err)
				}
				frame, err := sent.AppendFrameHead(nil, &refs, len(body))
				require.NoError(t, err)
				frame = append(frame, body...)
				require.EqualValues(t, len(frame)-4, binary.BigEndian.Uint32(frame))
				var ctl dist.Control
				a, err := r.ReadFrame(frame[4:], &ctl)
				require.NoError(t, err)
				require.Equal(t, v.ctl, ctl)
				require.Equal(t, v.ctl.Op.HasPayload(), len(a.Payload) > 0)
			}
		})
	}
}

// firstOf is a first fragment of SEND_SENDER.
func firstOf(t testing.TB, id, number uint64, payload string) []byte {
	b := binary.BigEndian.AppendUint64([]byte{ei.VersionMagic, firstFragment}, id)
	b = binary.BigEndian.AppendUint64(b, number)
	return append(append(b, unhex(t, "01 08 01 03 614068"+hexSend)...), payload...)
}

func nextOf(id, number uint64, payload string) []byte {
	b := binary.BigEndian.AppendUint64([]byte{ei.VersionMagic, nextFragment}, id)
	return append(binary.BigEndian.AppendUint64(b, number), payload...)
}

func TestFragmentsOfMessages(t *testing.T) {
	r := newReader(Limits{})
	var ctl dist.Control
	read := func(frame []byte) Arrival {
		t.Helper()
		ctl = dist.Control{}
		a, err := r.ReadFrame(frame, &ctl)
		require.NoError(t, err)
		clear(frame) // nothing may depend on it
		return a
	}
	require.Equal(t, Arrival{Kind: KindFirstFragment, Sequence: 1}, read(firstOf(t, 1, 3, "m\x00\x00\x00\x05ab")))
	require.False(t, read(firstOf(t, 0, math.MaxUint64, "")).Complete, "any id, any number")
	require.False(t, read(nextOf(1, 2, "")).Complete, "a piece of no bytes")
	require.True(t, read(firstOf(t, 2, 1, "j")).Complete)
	held := r.Held()
	require.Greater(t, held, 2*sequenceCost)
	a := read(nextOf(1, 1, "cde"))
	require.True(t, a.Complete)
	require.NotNil(t, a.Memory)
	require.Equal(t, `<<"abcde">>`, a.Payload.String())
	require.Equal(t, dist.OpSendSender, ctl.Op)
	require.EqualValues(t, "a@h", ctl.From.Node)
	require.Equal(t, []ei.Atom{"a@h"}, a.Refs)
	require.Less(t, r.Held(), held)

	require.True(t, r.Discard(0))
	require.False(t, r.Discard(0), "already")
	require.False(t, r.Discard(1), "it has ended")
	require.False(t, r.Discard(9))
	require.Equal(t, sequenceCost, r.Held())
	require.False(t, read(nextOf(0, math.MaxUint64-1, "dropped")).Complete)
	require.Equal(t, sequenceCost, r.Held())

	// An operation of tomorrow, in pieces: told at once, and the rest is dropped.
	frame := append(firstOf(t, 5, 2, ""), "j"...)
	frame[bytes.Index(frame, unhex(t, "6803 6116"))+3] = 99
	_, err := r.ReadFrame(frame, &ctl)
	require.ErrorIs(t, err, dist.ErrUnknownOp)
	var unknown *dist.ControlError
	require.ErrorAs(t, err, &unknown)
	require.Equal(t, 25, unknown.Offset, "of the tuple in the frame")
	require.False(t, read(nextOf(5, 1, "x")).Complete)
	require.Equal(t, sequenceCost, r.Held())
}

func TestPlaceOfFragments(t *testing.T) {
	r := newReader(Limits{Message: 10_000})
	var ctl dist.Control
	read := func(frame []byte) Arrival {
		t.Helper()
		a, err := readPlaced(r, frame, &ctl)
		require.NoError(t, err)
		return a
	}
	place := func(frame []byte, n int) []byte { return r.Place(frame[:FragmentHeadSize], n) }
	read(firstOf(t, 1, 4, "m\x00\x00\x00\x05a"))
	require.Nil(t, place(nextOf(2, 1, ""), 1), "of another message")
	require.Nil(t, place(nextOf(1, 2, ""), 1), "not due yet")
	require.Nil(t, place(firstOf(t, 3, 2, "j"), 1), "a first one")
	require.Nil(t, place(nextOf(1, 3, ""), 9_000), "more than there is room for")
	require.Nil(t, r.Place(nil, 1))
	require.Len(t, place(nextOf(1, 3, ""), 2), 2)
	require.Len(t, place(nextOf(1, 3, ""), 1), 1, "nothing has come of the one before")
	read(nextOf(1, 3, "bc"))
	read(nextOf(1, 2, ""))
	a := read(nextOf(1, 1, "de"))
	require.True(t, a.Complete)
	require.Equal(t, `<<"abcde">>`, a.Payload.String())
	require.Equal(t, dist.OpSendSender, ctl.Op)

	// Discarded between Place and ReadPlaced.
	read(firstOf(t, 2, 2, "m\x00\x00\x00\x05a"))
	head := nextOf(2, 1, "")
	piece := r.Place(head, 4)
	require.Len(t, piece, 4)
	require.True(t, r.Discard(2))
	a, err := r.ReadPlaced(head, piece, &ctl)
	require.NoError(t, err)
	require.False(t, a.Complete)
	require.Zero(t, r.Open())
}

func TestBadHeadersAndFragments(t *testing.T) {
	text := strings.Repeat("a", 256)
	begun := func(t *testing.T) *Reader {
		r := newReader(Limits{Sequences: 2, Message: 1000, Incomplete: 100_000})
		var ctl dist.Control
		_, err := r.ReadFrame(firstOf(t, 1, 3, "m"), &ctl)
		require.NoError(t, err)
		return r
	}
	for name, tt := range map[string]struct {
		frame []byte
		err   error
		text  string
	}{
		"no number":                    {unhex(t, "83 44"), ErrHeader, "no number of atoms"},
		"no bits":                      {unhex(t, "83 44 ff 00"), ErrHeader, "the bits of 255 atoms in 2 bytes"},
		"no bits for what follows":     {unhex(t, "83 44 02 00"), ErrHeader, "the bits of 2 atoms"},
		"fewer atoms than announced":   {unhex(t, "83 44 02 88 00 01 00"), ErrHeader, "ends after 1 atoms of 2"},
		"a length that lies":           {unhex(t, "83 44 01 08 01 09 614068"), ErrHeader, "atom 1 of 1: ei: truncated term"},
		"no length":                    {unhex(t, "83 44 01 08 01"), ErrHeader, "truncated"},
		"half a length":                {unhex(t, "83 44 01 18 01 00"), ErrHeader, "truncated"},
		"a long atom that is too long": {append(unhex(t, "83 44 01 18 01 0100"), text...), ErrHeader, "ei: bad atom"},
		"more than any atom":           {append(unhex(t, "83 44 01 18 01 ffff"), strings.Repeat("a", 65535)...), ErrHeader, "ei: bad atom"},
		"an atom that is not UTF-8":    {unhex(t, "83 44 01 08 01 01 ff"), ErrHeader, "ei: bad atom"},
		"a reference never set":        {unhex(t, "83 44 01 01 07"), ErrNotCached, "never sent: 263, atom 1 of 1"},
		"no control message":           {unhex(t, "83 44 00"), ei.ErrTruncated, ""},
		"no such reference":            {unhex(t, "83 44 00"+hexLink), ei.ErrAtomCache, "control message LINK, From"},
		"no payload":                   {unhex(t, "83 44 01 08 01 03 614068"+hexSend), dist.ErrFrame, "no payload behind SEND_SENDER"},
		"a field with a bad reference": {unhex(t, "83 44 01 08 01 03 614068 6804 6103 58 5200 0000002a 00000001 00000005 "+
			"58 5200 00000007 00000000 00000009 5201"),
			ei.ErrAtomCache, "EXIT, Reason"},

		"first: no ids":                    {unhex(t, "83 45 00000000 00000001 000000"), dist.ErrFrame, "13 bytes"},
		"next: no ids":                     {unhex(t, "83 46 00000000 00000001 000000"), dist.ErrFrame, "13 bytes"},
		"first: no control message":        {firstOf(t, 2, 2, "")[:30], ei.ErrTruncated, ""},
		"first: number 0":                  {firstOf(t, 2, 0, "j"), ErrFragmentOrder, "fragment 0 of sequence 2"},
		"first: begun twice":               {firstOf(t, 1, 3, "j"), ErrFragmentOrder, "fragment 3 of sequence 1"},
		"first: begun twice, the only one": {firstOf(t, 1, 1, "j"), ErrFragmentOrder, ""},
		"first: no payload":                {firstOf(t, 2, 1, ""), dist.ErrFrame, "no payload"},
		"first: too long":                  {firstOf(t, 2, 2, strings.Repeat("j", 1001)), ErrMessageTooLong, "the limit is 1000"},
		"next: no first":                   {nextOf(2, 1, "j"), ErrFragmentOrder, "fragment 1 of sequence 2"},
		"next: one left out":               {nextOf(1, 1, "j"), ErrFragmentOrder, "fragment 1 of sequence 1, 2 was due"},
		"next: counts up":                  {nextOf(1, 4, "j"), ErrFragmentOrder, "4 of sequence 1, 2 was due"},
		"next: the same again":             {nextOf(1, 3, "j"), ErrFragmentOrder, "2 was due"},
		"next: 0":                          {nextOf(1, 0, "j"), ErrFragmentOrder, "2 was due"},
		"next: too long": {nextOf(1, 2, strings.Repeat("j", 1000)), ErrMessageTooLong,
			"fragment 2 of sequence 1, the limit is 1000"},
		"first: of what has no payload": {
			append(firstOf(t, 2, 2, "")[:25], unhex(t, hexLink)...), dist.ErrFrame, "2 fragments of LINK, which has no payload"},
	} {
		t.Run(name, func(t *testing.T) {
			r := begun(t)
			var ctl dist.Control
			a, err := r.ReadFrame(tt.frame, &ctl)
			require.ErrorIs(t, err, tt.err)
			require.ErrorContains(t, err, tt.text)
			require.False(t, a.Complete)
			var frame *dist.FrameError
			var control *dist.ControlError
			require.True(t, errors.As(err, &frame) || errors.As(err, &control))
			var fragment *FragmentError
			if errors.As(err, &fragment) {
				require.Equal(t, fragment.Sequence, a.Sequence)
				require.Equal(t, a.Kind.String(), frame.Kind)
			}
		})
	}
	t.Run("first: too many", func(t *testing.T) {
		r := begun(t)
		var ctl dist.Control
		_, err := r.ReadFrame(firstOf(t, 2, 2, "j"), &ctl)
		require.NoError(t, err)
		_, err = r.ReadFrame(firstOf(t, 3, 2, "j"), &ctl)
		require.ErrorIs(t, err, ErrTooManySequences)
		require.ErrorContains(t, err, "fragment 2 of sequence 3, the limit is 2")
		_, err = r.ReadFrame(firstOf(t, 3, 1, "j"), &ctl)
		require.NoError(t, err, "it is complete")
	})
	t.Run("not negotiated", func(t *testing.T) {
		r := NewReader(flagsRecorded, Limits{}, nil)
		var ctl dist.Control
		for _, frame := range [][]byte{firstOf(t, 1, 1, "j"), nextOf(1, 1, "j"), unhex(t, "83 44 00"+hexLink)} {
			_, err := r.ReadFrame(frame, &ctl)
			require.ErrorIs(t, err, ErrNotNegotiated)
		}
		a, err := r.ReadFrame(nil, &ctl)
		require.NoError(t, err)
		require.Equal(t, Arrival{Kind: KindTick}, a)
		a, err = r.ReadFrame(unhex(t, "70 83 6803 6116"+hexA+hexB+"83 6a"), &ctl)
		require.NoError(t, err)
		require.Equal(t, Arrival{Kind: KindPassThrough, Complete: true, Payload: ei.Raw("j")}, a)
	})
	t.Run("fragments without a cache", func(t *testing.T) {
		r := NewReader(flagsRecorded|dist.FlagFragments, Limits{}, nil)
		var ctl dist.Control
		first := unhex(t, "83 45 0000000000000001 0000000000000002 00 6803 6116"+hexA+hexB)
		for _, frame := range [][]byte{first, nextOf(1, 1, "j"), unhex(t, "83 44 00 6803 6101"+hexA+hexB)} {
			_, err := r.ReadFrame(frame, &ctl)
			require.NoError(t, err)
		}
		for _, atoms := range []string{"01 08 01 03 614068", "01 00 01"} { // a new one, and an old one
			for _, head := range []string{"83 44", "83 45 0000000000000002 0000000000000002"} {
				_, err := r.ReadFrame(unhex(t, head+atoms+hexLink), &ctl)
				require.ErrorIs(t, err, ErrNotNegotiated)
				require.ErrorContains(t, err, "names 1 atoms")
			}
		}
	})
	t.Run("no next piece", func(t *testing.T) {
		r := newReader(Limits{})
		var ctl dist.Control
		_, err := r.ReadFrame(firstOf(t, 2, 2, ""), &ctl)
		require.NoError(t, err)
		_, err = r.ReadFrame(nextOf(2, 1, ""), &ctl)
		require.ErrorIs(t, err, dist.ErrFrame)
	})
}

func TestRestoreRefuses(t *testing.T) {
	twice := func(m Incomplete) iter.Seq[Incomplete] { return slices.Values([]Incomplete{m, m}) }
	none := func(func(int, ei.Atom) bool) {}
	for _, tt := range []struct {
		m   Incomplete
		err error
	}{
		{Incomplete{Sequence: 1, Next: 1}, ErrFragmentOrder},
		{Incomplete{Sequence: 1}, ErrFragmentOrder},
		{Incomplete{Sequence: 1, Next: 1, Payload: make(ei.Raw, 2000)}, ErrMessageTooLong},
		{Incomplete{Sequence: 1, Next: 1, Control: dist.Control{Token: make(ei.Raw, 20_000)}}, dist.ErrTooMuchIncomplete},
		{Incomplete{Sequence: 1, Next: 1, Refs: make([]ei.Atom, 2000)}, dist.ErrTooMuchIncomplete},
	} {
		r := newReader(Limits{Message: 1000, Incomplete: 10_000})
		require.ErrorIs(t, r.Restore(none, twice(tt.m)), tt.err)
	}
	for _, i := range []int{-1, cacheSize} {
		require.ErrorIs(t, newReader(Limits{}).Restore(func(yield func(int, ei.Atom) bool) { yield(i, "a") }, nil), ErrHeader)
	}
}

// A message can be decided about when its first fragment is there.
func TestBegun(t *testing.T) {
	r := newReader(Limits{})
	var ctl dist.Control
	_, err := r.ReadFrame(firstOf(t, 1, 3, "m\x00\x00\x00\x05ab"), &ctl)
	require.NoError(t, err)
	m, ok := r.Begun(1)
	require.True(t, ok)
	require.Equal(t, dist.OpSendSender, m.Control.Op)
	require.EqualValues(t, "a@h", m.Control.From.Node)
	require.Equal(t, "m\x00\x00\x00\x05ab", string(m.Payload))
	require.False(t, m.Discarded)
	r.Discard(1)
	m, ok = r.Begun(1)
	require.True(t, ok)
	require.True(t, m.Discarded)
	_, ok = r.Begun(2)
	require.False(t, ok)
}
