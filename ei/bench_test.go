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

func BenchmarkControlEncode(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, 128)
	for b.Loop() {
		buf, _ = appendControl(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkControlDecode(b *testing.B) {
	b.ReportAllocs()
	data, _ := appendControl(nil)
	b.SetBytes(int64(len(data)))
	atoms := ei.NewAtomTable(0)
	for b.Loop() {
		c := ei.NewCursor(data)
		c.Atoms = atoms
		if _, _, err := readControl(&c); err != nil {
			b.Fatal(err)
		}
	}
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

func BenchmarkDecode(b *testing.B) {
	for name, term := range benchTerms() {
		data, err := ei.Marshal(term)
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := ei.Decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/table", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			o := ei.DecodeOptions{Atoms: ei.NewAtomTable(0), Alias: true}
			for b.Loop() {
				if _, err := o.Decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSkip(b *testing.B) {
	for name, term := range benchTerms() {
		data, err := ei.Marshal(term)
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				c := ei.NewCursor(data[1:])
				if err := c.Skip(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendTerm(b *testing.B) {
	for name, term := range benchTerms() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf, _ = ei.AppendTerm(buf[:0], term)
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}

func BenchmarkText(b *testing.B) {
	term := benchTerms()["records"]
	text := ei.AppendText(nil, term)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		var buf []byte
		for b.Loop() {
			buf = ei.AppendText(buf[:0], term)
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := ei.Parse(string(text)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
