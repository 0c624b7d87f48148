package ei_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/terms"
)

func TestRoundTrip(t *testing.T) {
	table := ei.NewAtomTable(16)
	rapid.Check(t, func(t *rapid.T) {
		term := terms.Of(3).Draw(t, "term")
		data := marshal(t, term)
		got := decode(t, data)
		require.Equal(t, term, got)
		again := marshal(t, got)
		require.Equal(t, data, again)

		c := ei.NewCursor(append(data[1:len(data):len(data)], "rest"...))
		raw, err := c.Raw()
		require.NoError(t, err)
		require.Equal(t, "rest", string(c.Rest()))
		require.Equal(t, data[1:], []byte(raw))

		got, n, err := ei.DecodeOptions{Alias: true, Atoms: table}.DecodePrefix(append(data, 1, 2, 3))
		require.NoError(t, err)
		require.Equal(t, len(data), n)
		require.Equal(t, term, got)

		packed, err := ei.AppendCompressed(ei.AppendVersion(nil), raw, rapid.IntRange(-1, 9).Draw(t, "level"))
		require.NoError(t, err)
		got, n, err = ei.DecodeOptions{}.DecodePrefix(append(packed, 1, 2, 3))
		require.NoError(t, err)
		require.Equal(t, len(packed), n)
		require.Equal(t, term, got)
		plain, err := ei.Decompress(packed, 0)
		require.NoError(t, err)
		require.Equal(t, data, plain)
	})
}

func TestTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		term := terms.Of(3).Draw(t, "term")
		text := term.String()
		got, err := ei.Parse(text)
		if hasFun(term) {
			require.ErrorIs(t, err, ei.ErrText)
			return
		}
		require.NoError(t, err, "%s", text)
		require.True(t, ei.Identical(exported(term), got), "%s", text)
		require.Equal(t, text, got.String())
	})
}

func TestCompareIsAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ts := rapid.SliceOfN(terms.Of(2), 3, 3).Draw(t, "terms")
		for _, a := range ts {
			require.Zero(t, ei.Compare(a, a))
			require.True(t, ei.Identical(a, a))
			for _, b := range ts {
				require.Equal(t, ei.Compare(a, b), -ei.Compare(b, a), "%v, %v", a, b)
				if ei.Identical(a, b) {
					require.Zero(t, ei.Compare(a, b))
				}
				for _, c := range ts {
					if ei.Compare(a, b) <= 0 && ei.Compare(b, c) <= 0 {
						require.LessOrEqual(t, ei.Compare(a, c), 0, "%v, %v, %v", a, b, c)
					}
				}
			}
		}
	})
}

// hasFun reports whether a term has a closure in it, which is not read back from text.
func hasFun(t ei.Term) bool {
	return anyTerm(t, func(t ei.Term) bool { _, ok := t.(ei.Fun); return ok })
}

func anyTerm(t ei.Term, is func(ei.Term) bool) bool {
	if is(t) {
		return true
	}
	var parts []ei.Term
	switch t := t.(type) {
	case ei.Tuple:
		parts = t
	case ei.List:
		parts = t
	case ei.ImproperList:
		parts = append(append(parts, t.Elems...), t.Tail)
	case ei.Map:
		for _, p := range t {
			parts = append(parts, p.Key, p.Value)
		}
	case ei.Record:
		for _, f := range t.Fields {
			parts = append(parts, f.Value)
		}
	case ei.Fun:
		parts = t.Free
	}
	for _, p := range parts {
		if anyTerm(p, is) {
			return true
		}
	}
	return false
}

// exported gives a term with all native records exported, which the text does not tell.
func exported(t ei.Term) ei.Term {
	each := func(ts []ei.Term) []ei.Term {
		out := make([]ei.Term, len(ts))
		for i := range ts {
			out[i] = exported(ts[i])
		}
		return out
	}
	switch t := t.(type) {
	case ei.Tuple:
		return ei.Tuple(each(t))
	case ei.List:
		return ei.List(each(t))
	case ei.ImproperList:
		return ei.ImproperList{Elems: each(t.Elems), Tail: t.Tail}
	case ei.Map:
		out := ei.Map{}
		for _, p := range t {
			out = append(out, ei.Pair{Key: exported(p.Key), Value: exported(p.Value)})
		}
		return out
	case ei.Record:
		out := ei.Record{Module: t.Module, Name: t.Name, Exported: true}
		for _, f := range t.Fields {
			out.Fields = append(out.Fields, ei.Field{Name: f.Name, Value: exported(f.Value)})
		}
		return out
	}
	return t
}
