package elixir_test

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
)

// FuzzRead checks that no input makes a type panic, and that what was read is written, and then
// read as the same.
func FuzzRead(f *testing.F) {
	for _, v := range []any{
		leapDay, noon, leapDay.At(noon), elixir.DateTimeOf(time.Unix(0, 0).UTC()), elixir.Decimal{}, elixir.NewMapSet(1),
		elixir.Range{}, elixir.Keyword[int]{{Key: "a"}}, elixir.NewException("A", "b"),
	} {
		data := marshal(f, v)
		f.Add(data)
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(kinds)), func(name string) bool {
		return name == "order" // whose fields may stay empty, and no Date is
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range names {
			v := reflect.New(reflect.TypeOf(kinds[name]))
			if ei.Unmarshal(data, v.Interface()) != nil {
				continue
			}
			first := marshal(t, v.Elem().Interface())
			again := reflect.New(v.Type().Elem())
			require.NoError(t, ei.Unmarshal(first, again.Interface()), name)
			second := marshal(t, again.Elem().Interface())
			require.True(t, bytes.Equal(first, second), name)
			use(v.Elem().Interface())
		}
	})
}

// use calls what could be beyond the time or memory for a value that came from a peer.
func use(v any) {
	_ = textOf(v)
	switch v := v.(type) {
	case elixir.DateTime:
		_ = elixir.DateTimeOf(v.Instant())
	case elixir.NaiveDateTime:
		_ = v.In(time.UTC)
	case elixir.Decimal:
		if r, err := v.Rat(); err == nil {
			_, _ = elixir.DecimalOf(r)
		}
	case elixir.Range:
		for x := range v.All() {
			_ = v.Contains(x)
			break
		}
	}
}
