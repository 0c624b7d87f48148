package ei_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// person is a term whose parts are put in slabs, each kind of them.
func person(i int) ei.Tuple {
	return ei.Tuple{ei.Atom(fmt.Sprintf("person_%d", i)), ei.Int(100_000 + i), ei.Binary(fmt.Sprintf("name %d", i)),
		ei.String(fmt.Sprint(i)), ei.Float(1.5 * float64(i)), ei.List{ei.Int(-i), ei.Atom("x")},
		ei.Bitstring{Data: []byte{byte(i), 128}, Bits: 1}}
}

// Terms that lie side by side are as independent as others: they outlive each other, whatever the
// collector does, and who changes the elements of one, or appends to it, changes no other.
func TestTermsThatShareMemory(t *testing.T) {
	people := make(ei.List, 2000)
	for i := range people {
		people[i] = ei.Tuple{person(i), ei.Map{{Key: ei.Int(1000 + i), Value: ei.Binary("v")}}}
	}
	data := marshal(t, people)
	for _, o := range []ei.DecodeOptions{{}, {Alias: true}, {Atoms: ei.NewAtomTable(0)}, {Atoms: ei.NewAtomTable(8), Strict: true}} {
		decoded, err := o.Decode(data)
		require.NoError(t, err)
		kept := map[int]ei.Tuple{}
		for i, p := range decoded.(ei.List) {
			switch pair := p.(ei.Tuple); i % 3 {
			case 0:
				kept[i] = pair[0].(ei.Tuple)
			case 1: // its neighbours must not notice
				other := pair[0].(ei.Tuple)
				if !o.Alias {
					clear(other[2].(ei.Binary)[:cap(other[2].(ei.Binary))])
				}
				_ = append(other[5].(ei.List), ei.Atom("more"))
				_ = append(other, ei.Atom("more"))
				clear(other)
			}
		}
		decoded = nil
		runtime.GC()
		for range 100 { // what was freed is used again
			_, err := ei.Decode(data[:len(data)/2])
			require.Error(t, err)
		}
		runtime.GC()
		for i, p := range kept {
			require.Equal(t, person(i), p)
		}
	}
}

// A small part that lives on holds no more than a few kilobytes of the term that it is from,
// however large its neighbours are.
func TestSmallPartsHoldLittle(t *testing.T) {
	big := ei.Binary(make([]byte, 1<<20))
	text := ei.String(make([]byte, 60_000))
	var list ei.List
	for i := range 20 {
		list = append(list, ei.Tuple{ei.Atom("data"), ei.Int(1000 + i), big}, person(i), ei.Tuple{ei.Int(5000 + i), text},
			ei.Tuple{ei.Binary("small"), ei.List{ei.Atom("parts"), big}}, big, ei.List{ei.Int(7000), ei.Float(1.5)})
	}
	data := marshal(t, list)
	parts := map[string]func(l ei.List) any{
		"tuple":             func(l ei.List) any { return l[1] },
		"list":              func(l ei.List) any { return l[5] },
		"integer":           func(l ei.List) any { return l[0].(ei.Tuple)[1] },
		"atom":              func(l ei.List) any { return l[1].(ei.Tuple)[0] },
		"binary":            func(l ei.List) any { return l[3].(ei.Tuple)[0] },
		"list with integer": func(l ei.List) any { return l[1].(ei.Tuple)[5] },
	}
	for name, part := range parts {
		t.Run(name, func(t *testing.T) {
			kept := make([]any, 10)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			for i := range kept {
				decoded := decode(t, data)
				kept[i] = part(decoded.(ei.List))
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			require.Less(t, (int(after.HeapAlloc)-int(before.HeapAlloc))/len(kept), 20<<10)
			runtime.KeepAlive(kept)
		})
	}
}

// Of what most messages are made of, nothing is allocated one by one.
func TestDecodeAllocatesSlabs(t *testing.T) {
	integers, proplist, people := make(ei.List, 1000), make(ei.List, 200), make(ei.List, 1000)
	for i := range integers {
		integers[i] = ei.Int(1000 * i)
		people[i] = ei.Tuple{ei.Atom("person"), ei.Int(100_000 + i), ei.Binary("a name"), ei.Float(1.5), ei.Atom("active")}
	}
	for i := range proplist {
		proplist[i] = ei.Tuple{ei.Atom(fmt.Sprintf("option_%d", i)), ei.Int(1000 + i)}
	}
	for _, tt := range []struct {
		name string
		term ei.Term
		most float64
	}{
		{"call", ei.Tuple{ei.Atom("echo"), benchPid, ei.Int(42), ei.Binary("hello")}, 2},
		{"integers", integers, 10},
		{"proplist", proplist, 20},
		{"tuples", people, 100},
	} {
		data := marshal(t, tt.term)
		require.LessOrEqual(t, testing.AllocsPerRun(20, func() { _, _ = ei.Decode(data) }), tt.most, tt.name)
	}
}
