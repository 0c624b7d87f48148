package form

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/transport/handoff"
)

const kind = 'x'

// A sample has a field of every sort, and of every need.
type sample struct {
	n     uint32
	age   time.Duration
	yes   bool
	key   []byte
	name  string
	term  ei.Raw
	pid   ei.Pid
	ref   ei.Ref
	only  *inner
	list  []inner
	extra int
}

func (s *sample) Describe(f *Fields) {
	Number(f, 1, Must, &s.n)
	Number(f, 2, May, &s.age)
	f.Bool(3, May, &s.yes)
	f.Bytes(4, Must, &s.key)
	Text(f, 5, May, &s.name)
	f.Raw(6, &s.term)
	f.Pid(7, May, &s.pid)
	f.Ref(8, Must, &s.ref)
	One(f, 9, May, "only", &s.only)
	Each(f, 10, Must, "inner", &s.list)
	Number(f, 11, Given, &s.extra)
}

// An inner is a record in a record.
type inner struct{ key []byte }

func (s *inner) Describe(f *Fields) { f.Bytes(1, Must, &s.key) }

// An earlier is a sample as it was before some of its fields were added.
type earlier struct{ sample }

func (s *earlier) Describe(f *Fields) {
	Number(f, 1, Must, &s.n)
	f.Bytes(4, Must, &s.key)
	f.Ref(8, Must, &s.ref)
	Each(f, 10, Must, "inner", &s.list)
}

func someSample(t *rapid.T) sample {
	key := rapid.SliceOfN(rapid.Byte(), 1, 300)
	someInner := rapid.Custom(func(t *rapid.T) inner { return inner{key.Draw(t, "inner key")} })
	s := sample{
		n: rapid.Uint32().Draw(t, "n"), age: time.Duration(rapid.Int64Min(0).Draw(t, "age")), yes: rapid.Bool().Draw(t, "yes"),
		key: key.Draw(t, "key"), name: rapid.String().Draw(t, "name"), extra: rapid.IntMin(0).Draw(t, "extra"),
		pid: ei.Pid{Node: "a@b", ID: rapid.Uint32().Draw(t, "id"), Creation: 4},
		ref: ei.Ref{Node: "a@b", Creation: 4, Len: 3, ID: [5]uint32{rapid.Uint32().Draw(t, "word"), 2, 3}},
	}
	if rapid.Bool().Draw(t, "term") {
		s.term = ei.Raw{97, 1}
	}
	if rapid.Bool().Draw(t, "only") {
		only := someInner.Draw(t, "the only one")
		s.only = &only
	}
	if n := rapid.IntRange(0, 3).Draw(t, "inners"); n > 0 {
		s.list = rapid.SliceOfN(someInner, n, n).Draw(t, "list")
	}
	return s
}

// What is written can be read. A reader that does not know the later fields reads those that it
// knows, unless a later field that must be understood is not zero.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := someSample(t)
		b, err := Write(t.Context().Err, kind, &s)
		require.NoError(t, err)
		var got sample
		require.NoError(t, Read(kind, b, &got))
		require.Equal(t, s, got)

		var old earlier
		err = Read(kind, b, &old)
		if s.extra != 0 {
			require.ErrorIs(t, err, ErrFormat)
			require.ErrorIs(t, err, handoff.ErrUnknown)
			require.ErrorContains(t, err, "field 11")
			return
		}
		require.NoError(t, err)
		require.Equal(t, earlier{sample{n: s.n, key: s.key, ref: s.ref, list: s.list}}, old)
		b, err = Write(t.Context().Err, kind, &old)
		require.NoError(t, err)
		require.NoError(t, Read(kind, b, new(sample)), "what came later may be missing")
	})
}

// A state that is cut off, at whichever byte, is refused, or lacks the fields that follow: none is
// made up.
func TestCutOff(t *testing.T) {
	s := rapid.Custom(someSample).Example(1)
	b, err := Write(t.Context().Err, kind, &s)
	require.NoError(t, err)
	for n := range b {
		var got sample
		if err := Read(kind, b[:n], &got); err == nil {
			again, err := Write(t.Context().Err, kind, &got)
			require.NoError(t, err)
			require.Equal(t, b[:n], again)
		} else {
			require.ErrorAs(t, err, new(*Error))
		}
	}
}

// An error says which field is wrong, also in records within records.
func TestErrorNamesTheField(t *testing.T) {
	long := ei.Pid{Node: ei.Atom(strings.Repeat("n", 256))}
	_, err := Write(t.Context().Err, kind, &sample{pid: long})
	require.ErrorIs(t, err, ei.ErrAtom)
	require.ErrorContains(t, err, "state: field 7")

	b, err := Write(t.Context().Err, kind, &sample{list: []inner{{[]byte("k")}, {nil}}})
	require.NoError(t, err)
	// the only field of the second one is not mandatory any more, and has a tag that is not known
	b[len(b)-2] = 2 << 1
	err = Read(kind, b, new(sample))
	require.ErrorIs(t, err, ErrMalformed)
	require.ErrorContains(t, err, "state: inner 2, field 1: nodes: malformed state: it is missing")
	require.False(t, errors.Is(err, handoff.ErrUnknown))
}

// A buffer that a state has outgrown is cleared, since keys may be in it.
func TestOutgrownStateIsCleared(t *testing.T) {
	f := &Fields{over: t.Context().Err, out: make([]byte, 0, 16)}
	var outgrown [][]byte
	for i := range 200 {
		key := bytes.Repeat([]byte{'k'}, 100*i)
		list := []inner{{key}}
		before := f.out
		Each(f, 1, Must, "inner", &list)
		f.Bytes(2, Must, &key)
		if len(before) > 0 && &before[0] != &f.out[0] {
			outgrown = append(outgrown, before[:cap(before)])
		}
	}
	require.NoError(t, f.err)
	require.Greater(t, len(outgrown), 5)
	for _, b := range outgrown {
		require.Equal(t, -1, bytes.IndexByte(b, 'k'))
	}
}

// FuzzRead reads anything: no panic, and what is accepted means the same when it is written again.
func FuzzRead(f *testing.F) {
	for i := range 3 {
		s := rapid.Custom(someSample).Example(i)
		b, err := Write(f.Context().Err, kind, &s)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s sample
		if Read(kind, b, &s) != nil {
			return
		}
		out, err := Write(t.Context().Err, kind, &s)
		require.NoError(t, err)
		require.NoError(t, Read(kind, out, new(sample)))
	})
}

// Write gives up when it is told to, within a list, too, and then gives no state.
func TestWriteGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var told counted
	told.at = func(n int) {
		if n == 2*looks {
			cancel()
		}
	}
	list := make([]tellTale, 100*looks)
	for i := range list {
		list[i].c = &told
	}
	b, err := Write(ctx.Err, kind, &tale{list})
	require.ErrorIs(t, err, context.Canceled)
	require.Nil(t, b)
	require.Less(t, told.n, 3*looks)
	b, err = Write(ctx.Err, kind, &tale{})
	require.ErrorIs(t, err, context.Canceled)
	require.Nil(t, b)
}

// A tale is a record with a list of records that count how many of them are written.
type tale struct{ list []tellTale }

func (s *tale) Describe(f *Fields) { Each(f, 1, Must, "tell-tale", &s.list) }

type tellTale struct{ c *counted }

func (s *tellTale) Describe(*Fields) { s.c.n++; s.c.at(s.c.n) }

type counted struct {
	n  int
	at func(n int)
}

// Find gives the values of a field, also in records within records, as parts of the state, and of
// other fields nothing. What is not well-formed is not found.
func TestFind(t *testing.T) {
	s := sample{key: []byte("key"), list: []inner{{[]byte("one")}, {nil}, {[]byte("two")}}}
	b, err := Write(t.Context().Err, kind, &s)
	require.NoError(t, err)
	require.Equal(t, byte(kind), Kind(b))
	require.Equal(t, [][]byte{[]byte("key")}, Find(b, 4))
	require.Equal(t, [][]byte{[]byte("one"), {}, []byte("two")}, Find(b, 10, 1))
	require.Empty(t, Find(b, 10, 2))
	require.Empty(t, Find(b, 99, 1))
	clear(Find(b, 10, 1)[0])
	require.NotContains(t, string(b), "one")
	for n := range b {
		require.LessOrEqual(t, len(Find(b[:n], 10, 1)), 3)
	}
	other := bytes.Clone(b)
	other[len(Magic)+1]++
	for _, bad := range [][]byte{nil, b[:len(Magic)+1], []byte("another " + string(b)), other} {
		require.Zero(t, Kind(bad))
		require.Empty(t, Find(bad, 4))
	}
}
