// Package terms makes terms at random.
package terms

import (
	"math"
	"math/big"

	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
)

// Atom makes any atoms, and those that text has to quote, or that are words of Erlang or Elixir.
func Atom() *rapid.Generator[ei.Atom] {
	return rapid.Custom(func(t *rapid.T) ei.Atom {
		return ei.Atom(rapid.OneOf(
			rapid.SampledFrom([]string{"ok", "error", "maybe", "end", "", "node@host", "hello world", "é", "'", "\\", "\n", "A",
				"nil", "Elixir.Foo", "Elixir.foo", "__struct__", "+", "::"}),
			rapid.StringN(0, 255, -1),
		).Draw(t, "atom"))
	})
}

// Pid makes any process identifiers.
func Pid() *rapid.Generator[ei.Pid] {
	return rapid.Custom(func(t *rapid.T) ei.Pid {
		return ei.Pid{Node: Atom().Draw(t, "node"), ID: rapid.Uint32().Draw(t, "id"), Serial: rapid.Uint32().Draw(t, "serial"),
			Creation: rapid.Uint32().Draw(t, "creation")}
	})
}

func leaf() *rapid.Generator[ei.Term] {
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
			return Atom().Draw(t, "atom")
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
			return Pid().Draw(t, "pid")
		case 10:
			return ei.Port{Node: Atom().Draw(t, "node"), ID: rapid.Uint64().Draw(t, "id"), Creation: rapid.Uint32().Draw(t, "creation")}
		case 11:
			r := ei.Ref{Node: Atom().Draw(t, "node"), Creation: rapid.Uint32().Draw(t, "creation"),
				Len: uint8(rapid.IntRange(1, 5).Draw(t, "len"))}
			for i := range r.Len {
				r.ID[i] = rapid.Uint32().Draw(t, "word")
			}
			return r
		case 12:
			return ei.Export{Module: Atom().Draw(t, "module"), Function: Atom().Draw(t, "function"), Arity: rapid.Byte().Draw(t, "arity")}
		}
		return ei.List{}
	})
}

// Of makes terms of so many levels, in the form in which ei.Decode gives them.
func Of(depth int) *rapid.Generator[ei.Term] {
	if depth == 0 {
		return leaf()
	}
	return rapid.Custom(func(t *rapid.T) ei.Term {
		sub := func(least, most int) []ei.Term {
			return rapid.SliceOfN(Of(depth-1), least, most).Draw(t, "elements")
		}
		switch rapid.IntRange(0, 8).Draw(t, "kind") {
		case 0:
			return ei.Tuple(sub(0, 6))
		case 1:
			return ei.List(sub(0, 6))
		case 2:
			tail := leaf().Filter(func(t ei.Term) bool {
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
					m = append(m, ei.Pair{Key: key, Value: Of(depth-1).Draw(t, "value")})
				}
			}
			return m
		case 4:
			f := ei.Fun{Arity: rapid.IntRange(-1, 255).Draw(t, "arity"), Module: Atom().Draw(t, "module"),
				OldIndex: int64(rapid.Int32().Draw(t, "old index")),
				OldUniq:  int64(rapid.Int32().Draw(t, "old uniq")), Pid: Pid().Draw(t, "pid"), Free: sub(1, 3)}
			if f.Arity >= 0 {
				f.Index = rapid.Uint32().Draw(t, "index")
				copy(f.Uniq[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uniq"))
			}
			return f
		case 5:
			r := ei.Record{Module: Atom().Draw(t, "module"), Name: Atom().Draw(t, "name"), Exported: rapid.Bool().Draw(t, "exported"),
				Fields: []ei.Field{}}
			for _, value := range sub(0, 12) {
				name := Atom().Draw(t, "field")
				if _, dup := r.Get(name); !dup {
					r.Fields = append(r.Fields, ei.Field{Name: name, Value: value})
				}
			}
			return r
		}
		return leaf().Draw(t, "leaf")
	})
}
