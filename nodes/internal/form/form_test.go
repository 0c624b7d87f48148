package form

import (
	"bytes"
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

// What is written can be read. A reader that does not know the later fields reads those that it knows, unless a later field that must be
// understood is not zero.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := someSample(t)
		b, err := Write(kind, &s)
		require.NoError(t, err)
		var got sample
		require.NoError(t, Read(kind, b, &got))
		require.Equal(t, s, got)

		var old earlier
		err = Read(kind, b, &old)
		if s.extra != 0 {
			require.ErrorIs(t, err, ErrField)
			require.ErrorIs(t, err, handoff.ErrUnknown)
			require.ErrorContains(t, err, "field 11")
			return
		}
		require.NoError(t, err)
		require.Equal(t, earlier{sample{n: s.n, key: s.key, ref: s.ref, list: s.list}}, old)
		b, err = Write(kind, &old)
		require.NoError(t, err)
		require.NoError(t, Read(kind, b, new(sample)), "what came later may be missing")
	})
}

// A state that is cut off, at whichever byte, is refused, or lacks the fields that follow: none is made up.
func TestCutOff(t *testing.T) {
	s := rapid.Custom(someSample).Example(1)
	b, err := Write(kind, &s)
	require.NoError(t, err)
	for n := range b {
		var got sample
		if err := Read(kind, b[:n], &got); err == nil {
			again, err := Write(kind, &got)
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
	_, err := Write(kind, &sample{pid: long})
	require.ErrorIs(t, err, ei.ErrAtom)
	require.ErrorContains(t, err, "state: field 7")

	b, err := Write(kind, &sample{list: []inner{{[]byte("k")}, {nil}}})
	require.NoError(t, err)
	b[len(b)-2] = 2 << 1 // the only field of the second one is not mandatory any more, and has a tag that is not known
	err = Read(kind, b, new(sample))
	require.ErrorIs(t, err, ErrMalformed)
	require.ErrorContains(t, err, "state: inner 2, field 1: malformed state: it is missing")
	require.False(t, errors.Is(err, handoff.ErrUnknown))
}

// A buffer that a state has outgrown is cleared, since keys may be in it.
func TestOutgrownStateIsCleared(t *testing.T) {
	f := &Fields{out: make([]byte, 0, 16)}
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
		b, err := Write(kind, &s)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s sample
		if Read(kind, b, &s) != nil {
			return
		}
		out, err := Write(kind, &s)
		require.NoError(t, err)
		require.NoError(t, Read(kind, out, new(sample)))
	})
}
