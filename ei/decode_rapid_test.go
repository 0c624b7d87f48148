package ei_test

import (
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
)

func genAtom() *rapid.Generator[ei.Atom] {
	return rapid.Custom(func(t *rapid.T) ei.Atom {
		return ei.Atom(rapid.OneOf(
			rapid.SampledFrom([]string{"ok", "error", "maybe", "end", "", "node@host", "hello world", "é", "'", "\\", "\n", "A"}),
			rapid.StringN(0, 255, -1),
		).Draw(t, "atom"))
	})
}

func genPid() *rapid.Generator[ei.Pid] {
	return rapid.Custom(func(t *rapid.T) ei.Pid {
		return ei.Pid{Node: genAtom().Draw(t, "node"), ID: rapid.Uint32().Draw(t, "id"), Serial: rapid.Uint32().Draw(t, "serial"),
			Creation: rapid.Uint32().Draw(t, "creation")}
	})
}

func genLeaf() *rapid.Generator[ei.Term] {
	return rapid.Custom(func(t *rapid.T) ei.Term {
		switch rapid.IntRange(0, 13).Draw(t, "kind") {
		case 0:
			return ei.Int(rapid.Int64().Draw(t, "int"))
		case 1:
			mag := rapid.SliceOfN(rapid.Byte(), 8, 300).Draw(t, "magnitude")
			v := new(big.Int).SetBytes(mag)
			if rapid.Bool().Draw(t, "negative") {
				v.Neg(v)
			}
			return ei.NewBigInt(v)
		case 2:
			return ei.Float(rapid.Float64().Filter(func(f float64) bool { return !math.IsInf(f, 0) && !math.IsNaN(f) }).Draw(t, "float"))
		case 3:
			return genAtom().Draw(t, "atom")
		case 4:
			return ei.String(rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "string"))
		case 5:
			return ei.String(rapid.StringMatching(`[ -~]{1,20}`).Draw(t, "text"))
		case 6:
			return ei.Binary(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "binary"))
		case 7:
			return ei.Binary(rapid.String().Draw(t, "text"))
		case 8:
			b := ei.Bitstring{Data: rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "data"), Bits: uint8(rapid.IntRange(1, 7).Draw(t, "bits"))}
			b.Data[len(b.Data)-1] &= 0xff << (8 - b.Bits)
			return b
		case 9:
			return genPid().Draw(t, "pid")
		case 10:
			return ei.Port{Node: genAtom().Draw(t, "node"), ID: rapid.Uint64().Draw(t, "id"), Creation: rapid.Uint32().Draw(t, "creation")}
		case 11:
			r := ei.Ref{Node: genAtom().Draw(t, "node"), Creation: rapid.Uint32().Draw(t, "creation"),
				Len: uint8(rapid.IntRange(1, 5).Draw(t, "len"))}
			for i := range r.Len {
				r.ID[i] = rapid.Uint32().Draw(t, "word")
			}
			return r
		case 12:
			return ei.Export{Module: genAtom().Draw(t, "module"), Function: genAtom().Draw(t, "function"), Arity: rapid.Byte().Draw(t, "arity")}
		}
		return ei.List{}
	})
}

// genTerm makes terms in the form in which Decode gives them.
func genTerm(depth int) *rapid.Generator[ei.Term] {
	if depth == 0 {
		return genLeaf()
	}
	return rapid.Custom(func(t *rapid.T) ei.Term {
		sub := func(least, most int) []ei.Term {
			return rapid.SliceOfN(genTerm(depth-1), least, most).Draw(t, "elements")
		}
		switch rapid.IntRange(0, 8).Draw(t, "kind") {
		case 0:
			return ei.Tuple(sub(0, 6))
		case 1:
			return ei.List(sub(0, 6))
		case 2:
			tail := genLeaf().Filter(func(t ei.Term) bool {
				switch t.(type) {
				case ei.List, ei.String:
					return false
				}
				return true
			}).Draw(t, "tail")
			return ei.ImproperList{Elems: sub(1, 4), Tail: tail}
		case 3:
			m := ei.Map{}
			for _, key := range sub(0, 12) {
				if _, dup := m.Get(key); !dup {
					m = append(m, ei.Pair{Key: key, Value: genTerm(depth-1).Draw(t, "value")})
				}
			}
			return m
		case 4:
			f := ei.Fun{Arity: rapid.IntRange(-1, 255).Draw(t, "arity"), Module: genAtom().Draw(t, "module"),
				OldIndex: int64(rapid.Int32().Draw(t, "old index")),
				OldUniq:  int64(rapid.Int32().Draw(t, "old uniq")), Pid: genPid().Draw(t, "pid"), Free: sub(1, 3)}
			if f.Arity >= 0 {
				f.Index = rapid.Uint32().Draw(t, "index")
				copy(f.Uniq[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uniq"))
			}
			return f
		case 5:
			r := ei.Record{Module: genAtom().Draw(t, "module"), Name: genAtom().Draw(t, "name"), Exported: rapid.Bool().Draw(t, "exported"),
				Fields: []ei.Field{}}
			for _, value := range sub(0, 12) {
				name := genAtom().Draw(t, "field")
				if _, dup := r.Get(name); !dup {
					r.Fields = append(r.Fields, ei.Field{Name: name, Value: value})
				}
			}
			return r
		}
		return genLeaf().Draw(t, "leaf")
	})
}

func TestRoundTrip(t *testing.T) {
	table := ei.NewAtomTable(16)
	rapid.Check(t, func(t *rapid.T) {
		term := genTerm(3).Draw(t, "term")
		data, err := ei.Marshal(term)
		require.NoError(t, err)
		got, err := ei.Decode(data)
		require.NoError(t, err)
		require.Equal(t, term, got)
		again, err := ei.Marshal(got)
		require.NoError(t, err)
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
		term := genTerm(3).Draw(t, "term")
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
		ts := rapid.SliceOfN(genTerm(2), 3, 3).Draw(t, "terms")
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
