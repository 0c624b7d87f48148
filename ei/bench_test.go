package ei_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

var (
	benchPid = ei.Pid{Node: "bench@localhost", ID: 1234, Serial: 1, Creation: 1690000000}
	benchRef = ei.Ref{Node: "bench@localhost", Creation: 1690000000, Len: 3, ID: [5]uint32{1, 2, 3}}
)

// appendControl makes the control message {6, From, ”, rex}.
func appendControl(b []byte) ([]byte, error) {
	b = ei.AppendVersion(b)
	b = ei.AppendTupleHeader(b, 4)
	b = ei.AppendInt(b, 6)
	b, err := ei.AppendPid(b, benchPid)
	if err != nil {
		return b, err
	}
	if b, err = ei.AppendAtom(b, ""); err != nil {
		return b, err
	}
	return ei.AppendAtom(b, "rex")
}

// readControl reads what appendControl made.
func readControl(c *ei.Cursor) (from ei.Pid, to ei.Atom, err error) {
	if err = c.Version(); err != nil {
		return from, to, err
	}
	if _, err = c.Tuple(); err != nil {
		return from, to, err
	}
	if _, err = c.Int(); err != nil {
		return from, to, err
	}
	if from, err = c.Pid(); err != nil {
		return from, to, err
	}
	if _, err = c.Atom(); err != nil {
		return from, to, err
	}
	to, err = c.Atom()
	return from, to, err
}

func TestControlAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 128)
	atoms := ei.NewAtomTable(0)
	data, err := appendControl(nil)
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(100, func() { buf, _ = appendControl(buf[:0]) }), "encode")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		c := ei.NewCursor(data)
		c.Atoms = atoms
		_, _, _ = readControl(&c)
	}), "decode")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		c := ei.NewCursor(data[1:])
		_ = c.Skip()
	}), "skip")
}

// bench measures what makes, or reads, so many bytes.
func bench(b *testing.B, name string, bytes int, f func() error) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(bytes))
		for b.Loop() {
			if err := f(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkControl(b *testing.B) {
	data, err := appendControl(nil)
	require.NoError(b, err)
	buf, atoms := make([]byte, 0, 128), ei.NewAtomTable(0)
	bench(b, "encode", len(data), func() error { _, err := appendControl(buf); return err })
	bench(b, "decode", len(data), func() error {
		c := ei.NewCursor(data)
		c.Atoms = atoms
		_, _, err := readControl(&c)
		return err
	})
}

// benchTerms are the terms of the measurements with other implementations.
func benchTerms() map[string]ei.Term {
	ints := make(ei.List, 1000)
	for i := range ints {
		ints[i] = ei.Int(i * 1000)
	}
	m := make(ei.Map, 100)
	for i := range m {
		m[i] = ei.Pair{Key: ei.Atom("key_" + string(rune('a'+i%26)) + string(rune('a'+i/26))), Value: ei.Int(i)}
	}
	records := make(ei.List, 1000)
	for i := range records {
		records[i] = ei.Tuple{ei.Atom("person"), ei.Binary("name"), ei.Int(i), ei.List{ei.Atom("a"), ei.Atom("b")}, ei.Float(1.5), benchPid}
	}
	return map[string]ei.Term{
		"call": ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{benchPid, ei.ImproperList{Elems: []ei.Term{ei.Atom("alias")}, Tail: benchRef}},
			ei.Tuple{ei.Atom("get"), ei.Binary("key")}},
		"tuple":   ei.Tuple{ei.Atom("ok"), ei.Int(42), ei.Binary("hello")},
		"ints":    ints,
		"map":     m,
		"binary":  ei.Binary(make([]byte, 1<<20)),
		"records": records,
	}
}

func BenchmarkTerms(b *testing.B) {
	for name, term := range benchTerms() {
		data := marshal(b, term)
		bench(b, name+"/decode", len(data), func() error { _, err := ei.Decode(data); return err })
		o := ei.DecodeOptions{Atoms: ei.NewAtomTable(0), Alias: true}
		bench(b, name+"/decode with a table", len(data), func() error { _, err := o.Decode(data); return err })
		bench(b, name+"/skip", len(data), func() error { c := ei.NewCursor(data[1:]); return c.Skip() })
		buf := make([]byte, 0, len(data))
		bench(b, name+"/append", len(data), func() error { _, err := ei.AppendTerm(buf, term); return err })
		text := ei.AppendText(nil, term)
		bench(b, name+"/append text", len(text), func() error { _ = ei.AppendText(text[:0], term); return nil })
		bench(b, name+"/parse", len(text), func() error { _, err := ei.Parse(string(text)); return err })
		packed, refs := refsOf(b, data[1:])
		bench(b, name+"/resolve", len(data), func() error { _, err := packed.AppendResolved(buf, refs, len(data)); return err })
	}
}

// A benchRow is a tuple, and a benchItem a map with atoms as keys.
type (
	benchRow struct {
		_     struct{} `ei:"tuple=row"`
		ID    int
		Name  string
		State ei.Atom
		Price float64
		Open  bool
	}
	benchItem struct {
		SKU, Title string
		Qty        int
		Tags       []string
		Attributes map[string]string
	}
)

func BenchmarkMapping(b *testing.B) {
	row := benchRow{ID: 100_000, Name: "a name", State: "active", Price: 1.5, Open: true}
	item := benchItem{SKU: "A1", Title: "a title", Qty: 5, Tags: []string{"x", "y"}, Attributes: map[string]string{"k": "v", "l": "w"}}
	for name, v := range map[string]any{"rows": repeated(1000, row), "items": repeated(1000, item)} {
		data := marshal(b, v)
		buf := make([]byte, 0, len(data))
		bench(b, name+"/append", len(data), func() error { _, err := ei.Append(buf, v); return err })
		bench(b, name+"/unmarshal", len(data), func() error { return ei.Unmarshal(data, typedPointer(v)) })
	}
}
