package ei_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// A benchRow is one of the records of these benchmarks.
type benchRow struct {
	_     struct{} `ei:"tuple=row" json:"-"`
	ID    int
	Name  string
	State ei.Atom
	Price float64
	Qty   uint16
	Open  bool
}

func benchRows() []benchRow {
	rows := make([]benchRow, 1000)
	for i := range rows {
		rows[i] = benchRow{ID: 100_000 + i, Name: fmt.Sprint("name ", i), State: "active", Price: 1.5 * float64(i), Qty: uint16(i),
			Open: i%2 == 0}
	}
	return rows
}

func BenchmarkRecords(b *testing.B) {
	rows := benchRows()
	data, err := ei.Marshal(rows)
	require.NoError(b, err)
	text, err := json.Marshal(rows)
	require.NoError(b, err)
	b.Run("Unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v []benchRow
			_ = ei.Unmarshal(data, &v)
		}
	})
	b.Run("json.Unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v []benchRow
			_ = json.Unmarshal(text, &v)
		}
	})
	b.Run("Decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = ei.Decode(data)
		}
	})
	b.Run("Marshal", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, len(data))
		for b.Loop() {
			_, _ = ei.Append(buf[:0], rows)
		}
	})
	b.Run("json.Marshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = json.Marshal(rows)
		}
	})
}

// A benchItem is a map with atoms as keys.
type benchItem struct {
	SKU, Title string
	Qty        int
	Price      float64
	Tags       []string
	Attributes map[string]string
}

func BenchmarkMaps(b *testing.B) {
	items := make([]benchItem, 100)
	for i := range items {
		items[i] = benchItem{SKU: "A1", Title: "a title", Qty: i, Price: 2.5, Tags: []string{"x", "y"},
			Attributes: map[string]string{"k": "v", "l": "w"}}
	}
	data, err := ei.Marshal(items)
	require.NoError(b, err)
	text, err := json.Marshal(items)
	require.NoError(b, err)
	b.Run("Unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v []benchItem
			_ = ei.Unmarshal(data, &v)
		}
	})
	b.Run("json.Unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v []benchItem
			_ = json.Unmarshal(text, &v)
		}
	})
	b.Run("Marshal", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, len(data))
		for b.Loop() {
			_, _ = ei.Append(buf[:0], items)
		}
	})
	b.Run("json.Marshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = json.Marshal(items)
		}
	})
}
