package ei_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/terms"
)

// refsOf gives a term with references in place of its atoms, and these.
func refsOf(tb require.TestingT, raw ei.Raw) (packed ei.Raw, refs []ei.Atom) {
	index := map[ei.Atom]int{}
	packed, err := raw.RewriteAtoms(nil, func(atom ei.Raw) ei.Raw {
		c := ei.NewCursor(atom)
		text, err := c.Atom()
		require.NoError(tb, err)
		require.Zero(tb, c.Len())
		if again, err := ei.AppendAtom(nil, text); err != nil || !bytes.Equal(again, atom) || len(refs) == 255 {
			return nil // it would not come back the same
		}
		i, ok := index[text]
		if !ok {
			i = len(refs)
			index[text], refs = i, append(refs, text)
		}
		return ei.Raw{byte(ei.TagAtomCacheRef), byte(i)}
	})
	require.NoError(tb, err)
	return packed, refs
}

// requireResolves checks that the references of a term can be put in, and resolved, in every way.
func requireResolves(tb require.TestingT, raw ei.Raw) {
	packed, refs := refsOf(tb, raw)
	has, err := ei.Raw(packed).HasCacheRefs()
	require.NoError(tb, err)
	require.Equal(tb, len(refs) > 0, has)
	got, err := ei.Raw(packed).AppendResolved([]byte("before"), refs, len(raw))
	require.NoError(tb, err)
	require.Equal(tb, "before"+string(raw), string(got))

	size, grows, err := ei.Raw(packed).ResolvedSize(refs, len(raw))
	require.NoError(tb, err)
	require.Equal(tb, []int{len(raw), len(raw) - len(packed)}, []int{size, grows})
	room := append(make([]byte, grows), packed...) // in the same memory
	got, err = ei.Raw(room[grows:]).AppendResolved(room[:0], refs, len(raw))
	require.NoError(tb, err)
	require.Equal(tb, string(raw), string(got))

	plain, with := ei.NewCursor(raw), ei.NewCursor(packed)
	with.CacheRefs = refs
	want, wantErr := plain.Term()
	term, err := with.Term()
	require.Equal(tb, wantErr == nil, err == nil)
	require.Equal(tb, want, term)
	for i := range len(packed) {
		_, err := packed[:i:i].AppendResolved(nil, refs, len(raw))
		require.ErrorIs(tb, err, ei.ErrTruncated, "the first %d bytes", i)
	}
	got, err = append(packed[:len(packed):len(packed)], "more"...).AppendResolved([]byte("before"), refs, len(raw))
	require.NoError(tb, err)
	require.Equal(tb, "before"+string(raw), string(got))
	if len(refs) == 0 {
		return
	}
	got, err = ei.Raw(packed).AppendResolved([]byte("before"), refs[:len(refs)-1], len(raw))
	require.ErrorIs(tb, err, ei.ErrAtomCache)
	require.Equal(tb, "before", string(got))
	_, err = ei.Raw(packed).RewriteAtoms(nil, func(ei.Raw) ei.Raw { return nil })
	require.ErrorIs(tb, err, ei.ErrAtomCache)
	_, err = ei.Raw(packed).AppendResolved(nil, refs, len(raw)-1)
	_, _, sizeErr := ei.Raw(packed).ResolvedSize(refs, len(raw)-1)
	require.Equal(tb, err, sizeErr)
	var limit *ei.LimitError
	require.ErrorAs(tb, err, &limit)
	require.Equal(tb, len(raw)-1, limit.Max)
}

func TestRewriteAtomsOfEveryTag(t *testing.T) {
	for _, tc := range tagCases {
		t.Run(fmt.Sprintf("%v %v", tc.tag, tc.term), func(t *testing.T) { requireResolves(t, ei.Raw(tc.bytes)) })
	}
	vs, _ := readVectors(t)
	for _, v := range vs {
		if tag := ei.Tag(v.data[1]); tag != ei.TagCompressed && tag != ei.TagLocalExt {
			t.Run(v.name, func(t *testing.T) { requireResolves(t, v.data[1:]) })
		}
	}
}

func TestRewriteAtomsOfAnyTerm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := appended(t, terms.Of(3).Draw(t, "term"))
		requireResolves(t, raw)
	})
}

func TestResolveIsAsDeepAsMemory(t *testing.T) {
	for _, n := range nestings {
		t.Run(n.name, func(t *testing.T) {
			packed := nest(n.open, "R\x00", n.close, deep)
			has, err := ei.Raw(packed).HasCacheRefs()
			require.NoError(t, err)
			require.True(t, has)
			got, err := ei.Raw(packed).AppendResolved(nil, []ei.Atom{"a@b"}, len(packed)+3)
			require.NoError(t, err)
			want := nest(n.open, "w\x03a@b", n.close, deep)
			require.Equal(t, len(want), len(got))
			if n.name != "closure" { // its sizes are right now
				require.True(t, bytes.Equal(want, got))
				return
			}
			for at := 0; at < len(got)-5; at += len(n.open) {
				require.EqualValues(t, len(got)-at-1, binary.BigEndian.Uint32(got[at+1:]))
			}
		})
	}
}

func TestSizeOfClosureStaysUnlessItsAtomsChange(t *testing.T) {
	wrong := nest(closureHead, "w\x01a", "", 2)
	got, err := ei.Raw(wrong).RewriteAtoms(nil, func(ei.Raw) ei.Raw { return nil })
	require.NoError(t, err)
	require.Equal(t, wrong, got)
}

// What a peer sends stands for up to 500 times as much.
func TestResolvedIsBounded(t *testing.T) {
	long := []ei.Atom{ei.Atom(strings.Repeat("€", ei.MaxAtomChars))}
	list := append(ei.AppendListHeader(nil, 1<<20), bytes.Repeat([]byte("R\x00"), 1<<20)...)
	record := append([]byte("C\x00\x10\x00\x00\x00"), bytes.Repeat([]byte("R\x00"), 1<<20+2)...)
	for i, raw := range []ei.Raw{ei.AppendNil(list), append(record, bytes.Repeat([]byte{'j'}, 1<<20)...)} {
		const limit = 1 << 20
		got, err := raw.AppendResolved(nil, long, limit)
		require.ErrorIs(t, err, ei.ErrLimit, "%d", i)
		require.Empty(t, got)
		grown := testing.AllocsPerRun(1, func() { _, _ = raw.AppendResolved(make([]byte, 0, 2*limit), long, limit) })
		require.LessOrEqual(t, grown, 5.0)
	}
}

// A term without references costs no more than finding that out.
func TestHasCacheRefs(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "false",
		"j":                                "false",
		"no tag":                           "false", // not looked at
		"m\x00\x00\x00\x03RRR":             "false",
		"h\x02m\x00\x00\x00\x03RRRR\x00":   "true",
		"h\x02R\x00no tag":                 "true",
		"h\x02no tag R":                    "truncated",
		"l\x00\x00\x00\x01R\x07j":          "true",
		"X\x52\x00            ":            "true",
		"h\x02m\x00\x00\x00\x03RRRno tag!": "false",
	} {
		has, err := ei.Raw(text).HasCacheRefs()
		if want == "truncated" {
			require.Error(t, err, "%q", text)
			continue
		}
		require.NoError(t, err, "%q", text)
		require.Equal(t, want, fmt.Sprint(has), "%q", text)
	}
}

func FuzzResolve(f *testing.F) {
	for _, data := range seeds(f) {
		if len(data) > 1 {
			f.Add(data[1:])
			c := ei.NewCursor(data[1:])
			if raw, err := c.Raw(); err == nil {
				packed, _ := refsOf(f, raw)
				f.Add([]byte(packed))
			}
		}
	}
	f.Add([]byte("t\x00\x00\x00\x02a\x01a\x02a\x01a\x03"))
	refs := []ei.Atom{"a@b", "ok", "", ei.Atom(strings.Repeat("é", 255))}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := ei.NewCursor(data)
		c.CacheRefs = refs
		got, err := ei.Raw(data).AppendResolved(nil, refs, 1<<20)
		size, grows, sizeErr := ei.Raw(data).ResolvedSize(refs, 1<<20)
		require.Equal(t, err, sizeErr)
		skipErr := c.Skip()
		has, hasErr := ei.Raw(data).HasCacheRefs()
		if err != nil {
			require.Empty(t, got)
			if skipErr == nil {
				require.ErrorIs(t, err, ei.ErrLimit)
			}
			return
		}
		require.NoError(t, skipErr)
		require.NoError(t, hasErr)
		require.Len(t, got, size)
		room := append(make([]byte, grows), data...)
		same, err := ei.Raw(room[grows:]).AppendResolved(room[:0], refs, size)
		require.NoError(t, err)
		require.Equal(t, got, same)
		if !has {
			require.True(t, bytes.HasPrefix(data, got))
		}
		again, err := ei.Raw(got).AppendResolved(nil, nil, len(got))
		require.NoError(t, err)
		require.Equal(t, got, again)
		c = ei.NewCursor(data)
		c.CacheRefs = refs
		want, wantErr := c.Term()
		c = ei.NewCursor(got)
		term, termErr := c.Term()
		require.Equal(t, wantErr == nil, termErr == nil)
		require.Equal(t, want, term)
		if termErr == nil { // a map with one key twice is no Term, and is not read to its end
			require.Zero(t, c.Len())
		}
	})
}

func TestWalkNames(t *testing.T) {
	pid := ei.Pid{Node: "there@host", ID: 1, Creation: 4}
	export := ei.Export{Module: "m", Function: "f", Arity: 1}
	closure := ei.Fun{Module: "c", Arity: 1, Pid: pid, Free: []ei.Term{ei.Atom("free"), ei.Int(1)}}
	raw := appended(t, ei.Tuple{ei.Atom("a"), ei.List{ei.Atom("b"), ei.Int(7)}, pid, export, closure})
	encoded := func(term ei.Term) string {
		b := appended(t, term)
		return string(b)
	}
	var seen []string
	see := func(part ei.Raw) bool {
		seen = append(seen, string(part))
		return true
	}
	require.NoError(t, ei.Raw(raw).WalkNames(see))
	head := strings.TrimSuffix(encoded(closure), encoded(ei.Atom("free"))+encoded(ei.Int(1)))
	require.Equal(t, []string{
		encoded(ei.Atom("a")), encoded(ei.Atom("b")), encoded(ei.Atom("there@host")), encoded(pid),
		encoded(ei.Atom("m")), encoded(ei.Atom("f")), encoded(export),
		encoded(ei.Atom("c")), encoded(ei.Atom("there@host")), head, encoded(ei.Atom("free")),
	}, seen)
	require.ErrorIs(t, ei.Raw(raw[:len(raw)-1]).WalkNames(see), ei.ErrTruncated)
	for n := 1; n <= 11; n++ {
		seen = nil
		require.NoError(t, ei.Raw(raw).WalkNames(func(part ei.Raw) bool { return see(part) && len(seen) < n }))
		require.Len(t, seen, n)
	}
	require.ErrorIs(t, ei.Raw{byte(ei.TagAtomCacheRef), 0}.WalkNames(see), ei.ErrAtomCache)
}

func TestZeroAtomTable(t *testing.T) {
	c := ei.NewCursor(ei.Raw{byte(ei.TagSmallAtomUTF8Ext), 1, 'x'})
	c.Atoms = new(ei.AtomTable)
	a, err := c.Atom()
	require.NoError(t, err)
	require.Equal(t, ei.Atom("x"), a)
	require.Equal(t, 1, c.Atoms.Len())
}

// A term that ends too soon is the error that it is elsewhere, and what was replaced until then is
// dropped.
func TestRewriteAtomsOfPrefixes(t *testing.T) {
	raw, err := ei.Append(nil, ei.T("ok", ei.List{ei.Pid{Node: "a@b", ID: 1}, ei.Atom("x")},
		ei.Map{{Key: ei.Atom("key"), Value: ei.List{}}, {Key: ei.Int(1000), Value: ei.Binary("v")}}, ei.Tuple{}, ei.List{}))
	require.NoError(t, err)
	for n := range raw {
		c := ei.NewCursor(raw[:n])
		_, want := c.Raw()
		b, err := ei.Raw(raw[:n]).RewriteAtoms([]byte("b"), func(ei.Raw) ei.Raw { return ei.Raw{byte(ei.TagNilExt)} })
		require.Equal(t, want, err, "%d bytes", n)
		require.Equal(t, "b", string(b))
	}
}
