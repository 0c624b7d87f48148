package ei_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

func BenchmarkAppendResolved(b *testing.B) {
	tuple := make(ei.Tuple, 20)
	for i := range tuple {
		tuple[i] = ei.Atom(fmt.Sprintf("some_atom_%d", i))
	}
	ints := make(ei.List, 8<<10)
	for i := range ints {
		ints[i] = ei.Tuple{ei.Int(i), ei.Int(i % 200), ei.Float(1.5)}
	}
	for name, t := range map[string]ei.Term{
		"20 atoms":    tuple,
		"1 KB binary": ei.Tuple{ei.Atom("message"), ei.Binary(make([]byte, 1024))},
		"8192 tuples": ei.Tuple{ei.Atom("message"), ints},
	} {
		raw, err := ei.Append(nil, t)
		require.NoError(b, err)
		packed, refs := refsOf(b, raw)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			out := make([]byte, 0, len(raw))
			for b.Loop() {
				if _, err := packed.AppendResolved(out, refs, len(raw)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+", skip", func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				c := ei.NewCursor(raw)
				if err := c.Skip(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
